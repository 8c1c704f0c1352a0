package chat

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/tokenfile"
)

// tokenizerWith returns the data of a tokenizer that starts a text with <|begin|> and ends
// it with <|end|>, with a chat template.
func tokenizerWith(t *testing.T, template string) *tokenizer.Data {
	t.Helper()
	text, err := os.ReadFile("../../fixtures/llama3-rope/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	data, err := tokenfile.ParseJSON(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	data.BOS, data.EOS, data.ChatTemplate = 1, 2, template
	return data
}

func TestModelfile(t *testing.T) {
	const (
		roles = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>{% endfor %}"
		stops = "PARAMETER stop \"<|end|>\"\n"
		none  = "# The chat template cannot be written as a TEMPLATE, so there is none here. Ollama uses one of\n" +
			"# its own if the chat template in the GGUF file resembles that one's; ollama show NAME --template\n# shows which.\n"
	)
	render := server(t).Args
	for name, test := range map[string]struct {
		file Modelfile
		want string // without the first line
	}{
		"a shape": { // Ollama adds <|begin|>; an answer may also end with the template's token
			Modelfile{Tokenizer: tokenizerWith(t, roles), Render: render},
			`TEMPLATE """{{ if .System }}<system>{{ .System }}<|endoftext|>{{ end }}{{ range .Messages }}{{ if eq .Role "user" }}<user>{{ .Content }}<|endoftext|><assistant>{{ else if eq .Role "assistant" }}{{ .Content }}<|endoftext|>{{ end }}{{ end }}"""` + "\n" +
				stops + "PARAMETER stop \"<|endoftext|>\"\n",
		},
		"no shape":             {Modelfile{Tokenizer: tokenizerWith(t, "{{ messages | length }}"), Render: render}, none + stops},
		"quotes":               {Modelfile{Tokenizer: tokenizerWith(t, `{% for m in messages %}"""{{ m.role }} {{ m.content }};{% endfor %}`), Render: render}, none + stops},
		"nothing to render it": {Modelfile{Tokenizer: tokenizerWith(t, roles)}, none + stops},
		"no template":          {Modelfile{Tokenizer: tokenizerWith(t, ""), Render: render}, "# The model has no chat template: Ollama passes prompts on as they are.\n" + stops},
		"no tokenizer":         {Modelfile{}, ""},
	} {
		f := test.file
		f.Path, f.GGUF, f.EOS = filepath.Join("out", "Modelfile"), filepath.Join("out", "m.gguf"), []int{2}
		want := "# ollama create NAME -f Modelfile\nFROM ./m.gguf\n" + test.want
		got, err := f.Text(t.Context())
		if got != want || err != nil {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
}

// FROM is relative to the Modelfile's folder.
func TestModelfileFrom(t *testing.T) {
	for gguf, want := range map[string]string{
		filepath.Join("out", "sub", "m.gguf"): "./sub/m.gguf",
		"m.gguf":                              filepath.Join("..", "m.gguf"),
	} {
		f := Modelfile{Path: filepath.Join("out", "f"), GGUF: gguf}
		if got, err := f.Text(t.Context()); got != "# ollama create NAME -f f\nFROM "+want+"\n" || err != nil {
			t.Errorf("%s: %s, %v", gguf, got, err)
		}
	}
}

func TestModelfileInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := Modelfile{Path: "f", GGUF: "m.gguf", Tokenizer: tokenizerWith(t, "{{ messages }}"), Render: server(t).Args}
	if text, err := f.Text(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%q, %v", text, err)
	}
}

// A template's own braces are literal, and a default takes the place of a system message.
func TestGoTemplate(t *testing.T) {
	const messages = `{{ range .Messages }}{{ if eq .Role "user" }}U{{ "{{" }}{{ .Content }}uA{{ else if eq .Role "assistant" }}{{ .Content }}a{{ end }}{{ end }}`
	shape := Shape{Default: "<s>D", UserPre: "U{{", UserPost: "u", AssistantPre: "A", AssistantPost: "a"}
	if got, want := goTemplate(&shape, "<s>"), "D"+messages; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	shape.System, shape.SystemPre, shape.SystemPost = true, "<s>S", "s"
	if got, want := goTemplate(&shape, "<s>"), "{{ if .System }}S{{ .System }}s{{ else }}D{{ end }}"+messages; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := goTemplate(&shape, ""), "{{ if .System }}<s>S{{ .System }}s{{ else }}<s>D{{ end }}"+messages; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
