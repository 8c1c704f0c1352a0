package thimble

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"thimble/format"
	"thimble/internal/atomicfile"
	"thimble/internal/chat"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

// A Modelfile specifies the file that tells Ollama how to run a GGUF file: FROM, TEMPLATE
// and PARAMETER stop (docs/modelfile.md of Ollama).
type Modelfile struct {
	Path   string   // "" writes none
	Render []string // see Calibration.Render; without it there is no TEMPLATE
}

// check returns an error if f cannot be written, or if exporter, which may be nil, does
// not write what Ollama runs.
func (f *Modelfile) check(exporter format.Exporter, output string, overwrite bool, inputs []string) error {
	switch {
	case f.Path == "":
		return nil
	case exporter == nil || exporter.Format().Name != "gguf":
		return errors.New("--modelfile is for a GGUF file, which Ollama runs: use -o with a name such as model.gguf")
	case filepath.Clean(f.Path) == filepath.Clean(output):
		return errors.New("--modelfile is where -o writes to; name another file")
	}
	if err := checkOutput(f.Path, overwrite, inputs); err != nil {
		return fmt.Errorf("--modelfile %w", err)
	}
	return nil
}

// write writes the Modelfile for the GGUF file that was made from m.
func (f *Modelfile) write(ctx context.Context, m *model.Model, gguf string, overwrite bool) error {
	if f.Path == "" {
		return nil
	}
	text, err := f.text(ctx, m, gguf)
	if err != nil {
		return err
	}
	return forceHint(atomicfile.WriteFile(f.Path, []byte(text), atomicfile.Options{Overwrite: overwrite, Inputs: append(slices.Clone(m.Files), gguf)}))
}

func (f *Modelfile) text(ctx context.Context, m *model.Model, gguf string) (string, error) {
	from, err := filepath.Rel(filepath.Dir(f.Path), gguf)
	if err != nil {
		from = gguf
	} else if !strings.HasPrefix(from, "..") && !filepath.IsAbs(from) {
		from = "./" + filepath.ToSlash(from)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# ollama create NAME -f %s\nFROM %s\n", filepath.Base(f.Path), from)
	data, err := m.Tokenizer()
	if err != nil || data == nil {
		return b.String(), err
	}
	tok, err := tokenizer.New(data)
	if err != nil {
		return "", err
	}
	shape, err := f.shape(ctx, data)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case data.ChatTemplate == "":
		b.WriteString("# The model has no chat template: Ollama passes prompts on as they are.\n")
	case err != nil:
		b.WriteString("# The chat template cannot be written as a TEMPLATE, so there is none here. Ollama uses one of\n" +
			"# its own if the chat template in the GGUF file resembles that one's; ollama show NAME --template\n# shows which.\n")
	default:
		start := ""
		if id := tok.Start(); id >= 0 {
			start = chat.Specials(data)["bos_token"] // Ollama adds it
		}
		fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\n", goTemplate(&shape, start))
	}
	for _, stop := range stops(m, tok, &shape) {
		fmt.Fprintf(&b, "PARAMETER stop %q\n", stop)
	}
	return b.String(), nil
}

// shape returns the shape of the model's chat template.
func (f *Modelfile) shape(ctx context.Context, data *tokenizer.Data) (chat.Shape, error) {
	if data.ChatTemplate == "" || len(f.Render) == 0 {
		return chat.Shape{}, errors.New("nothing renders the template")
	}
	p, err := chat.Start(ctx, exec.CommandContext(ctx, f.Render[0], f.Render[1:]...), data.ChatTemplate, chat.Specials(data))
	if err != nil {
		return chat.Shape{}, err
	}
	defer p.Close()
	shape, err := chat.ShapeOf(func(messages []chat.Message) (string, error) { return p.Render(ctx, messages) })
	if text := fmt.Sprint(shape); err == nil && strings.Contains(text, `"""`) {
		err = errors.New("quotes would end TEMPLATE")
	}
	return shape, err
}

// goTemplate returns shape in the language of Ollama's TEMPLATE, without the token start
// at its beginning. The prompt for an answer follows each message of the user.
func goTemplate(shape *chat.Shape, start string) string {
	literal := func(text string) string { return strings.ReplaceAll(text, "{{", `{{ "{{" }}`) }
	before := literal(strings.TrimPrefix(shape.Default, start))
	if shape.System {
		with := literal(strings.TrimPrefix(shape.SystemPre, start)) + "{{ .System }}" + literal(shape.SystemPost)
		if before != "" {
			before = "{{ else }}" + before
		}
		before = "{{ if .System }}" + with + before + "{{ end }}"
	}
	return before + `{{ range .Messages }}{{ if eq .Role "user" }}` +
		literal(shape.UserPre) + "{{ .Content }}" + literal(shape.UserPost+shape.AssistantPre) +
		`{{ else if eq .Role "assistant" }}{{ .Content }}` + literal(shape.AssistantPost) + "{{ end }}{{ end }}"
}

// stops returns the texts at which an answer ends: the model's tokens that end a text, and
// the special token after an answer.
func stops(m *model.Model, tok *tokenizer.Tokenizer, shape *chat.Shape) (all []string) {
	for _, id := range m.Spec.EOS {
		if text, ok := tok.Token(id); ok {
			all = append(all, string(text))
		}
	}
	if after := strings.TrimSpace(shape.AssistantPost); after != "" {
		if ids := tok.Encode(after, false); len(ids) == 1 && tok.IsSpecial(ids[0]) && !slices.Contains(all, after) {
			all = append(all, after)
		}
	}
	return all
}
