package chat

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"thimble/internal/tokenizer"
)

// A Modelfile tells Ollama how to run a GGUF file: FROM, TEMPLATE and PARAMETER stop
// (docs/modelfile.md of Ollama).
type Modelfile struct {
	Path      string          // where the text will be, to which FROM is relative
	GGUF      string          // path of the GGUF file
	Tokenizer *tokenizer.Data // nil for a model without one: the text is FROM alone
	EOS       []int           // tokens that end a text
	Render    []string        // command that runs Serve; without it there is no TEMPLATE
}

// Text returns the contents of the file.
func (f *Modelfile) Text(ctx context.Context) (string, error) {
	from, err := filepath.Rel(filepath.Dir(f.Path), f.GGUF)
	if err != nil {
		from = f.GGUF
	} else if !strings.HasPrefix(from, "..") && !filepath.IsAbs(from) {
		from = "./" + filepath.ToSlash(from)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# ollama create NAME -f %s\nFROM %s\n", filepath.Base(f.Path), from)
	data := f.Tokenizer
	if data == nil {
		return b.String(), nil
	}
	tok, err := tokenizer.New(data)
	if err != nil {
		return "", err
	}
	shape, err := f.shape(ctx)
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
			start = Specials(data)["bos_token"] // Ollama adds it
		}
		fmt.Fprintf(&b, "TEMPLATE \"\"\"%s\"\"\"\n", goTemplate(&shape, start))
	}
	for _, stop := range stops(f.EOS, tok, &shape) {
		fmt.Fprintf(&b, "PARAMETER stop %q\n", stop)
	}
	return b.String(), nil
}

// shape returns the shape of the model's chat template.
func (f *Modelfile) shape(ctx context.Context) (Shape, error) {
	data := f.Tokenizer
	if data.ChatTemplate == "" || len(f.Render) == 0 {
		return Shape{}, errors.New("nothing renders the template")
	}
	p, err := Start(ctx, exec.CommandContext(ctx, f.Render[0], f.Render[1:]...), data.ChatTemplate, Specials(data))
	if err != nil {
		return Shape{}, err
	}
	defer p.Close()
	shape, err := ShapeOf(func(messages []Message) (string, error) {
		return p.Render(ctx, Conversation{Messages: messages})
	})
	if text := fmt.Sprint(shape); err == nil && strings.Contains(text, `"""`) {
		err = errors.New("quotes would end TEMPLATE")
	}
	return shape, err
}

// goTemplate returns shape in the language of Ollama's TEMPLATE, without the token start
// at its beginning. The prompt for an answer follows each message of the user.
func goTemplate(shape *Shape, start string) string {
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

// stops returns the texts at which an answer ends: eos, the tokens that end a text, and
// the special token after an answer.
func stops(eos []int, tok *tokenizer.Tokenizer, shape *Shape) (all []string) {
	for _, id := range eos {
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
