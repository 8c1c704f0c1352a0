package convert

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/internal/defect"
)

func TestTokenizer(t *testing.T) {
	good, err := os.ReadFile(filepath.Join("..", "fixtures", "mobilellm", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	unigram, err := os.ReadFile(filepath.Join("..", "internal", "tokenizer", "testdata", "sp-unigram-plain.model"))
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := os.ReadFile(filepath.Join("..", "fixtures", "mobilellm-facebook", "tokenizer.model"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // after the directory; empty for no error
	}{
		{"none", nil, ""},
		{"sentencepiece", map[string]string{"tokenizer.model": "x"},
			": tokenizer.model: field 15 of ModelProto is not supported; a copy of the checkpoint without its tokenizer converts without one"},
		{"tiktoken", map[string]string{"tokenizer.model": "IQ== 0\n"}, ": tokenizer.model: no token for byte 0x00"},
		{"truncated", map[string]string{"tokenizer.model": string(unigram[:9])}, ": tokenizer.model: byte 0: ModelProto: field of 14 bytes, 7 are left"},
		{"of another class", map[string]string{"tokenizer.model": string(pieces), "tokenizer_config.json": `{"tokenizer_class":"XGLMTokenizer"}`},
			": tokenizer_config.json: tokenizer_class XGLMTokenizer without tokenizer.json is not supported; a copy of the checkpoint without its tokenizer converts without one"},
		{"added with a gap", map[string]string{"tokenizer.model": string(pieces), "added_tokens.json": `{"<pad>":385}`},
			": added_tokens.json: <pad>: listed as id 385, but the vocabulary and the order of the list give it 384"},
		{"GPT-2's files", map[string]string{"vocab.json": "x", "merges.txt": "x"},
			": vocab.json: a tokenizer of tokenizer_class \"\" without tokenizer.json (want GPT2Tokenizer or Qwen2Tokenizer) is not supported; load it with transformers' AutoTokenizer and save_pretrained writes tokenizer.json"},
		{"GPT-2's files without merges", map[string]string{"vocab.json": "x"},
			": vocab.json: a tokenizer without tokenizer.json or merges.txt is not supported; load it with transformers' AutoTokenizer and save_pretrained writes tokenizer.json"},
		{"not UTF-8", map[string]string{"tokenizer.json": string(good), "chat_template.jinja": "\xff"}, "/chat_template.jinja: not UTF-8"},
	} {
		f := tiny()
		maps.Copy(f.files, c.files)
		dir := f.write(t)
		m, err := Open(dir, Options{})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		d, err := m.Tokenizer()
		switch {
		case c.want == "" && (d != nil || err != nil):
			t.Errorf("%s: %v, %v, want neither", c.name, d, err)
		case c.want != "" && (err == nil || err.Error() != dir+c.want):
			t.Errorf("%s: got  %v\nwant %s%s", c.name, err, dir, c.want)
		}
		m.Close()
	}

	f := tiny()
	f.files["tokenizer.json"], f.files["chat_template.jinja"] = `{"model":`, "{{ x }}"
	m, err := Open(f.write(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var corrupt *defect.CorruptError
	if _, err := m.Tokenizer(); !errors.As(err, &corrupt) || corrupt.File != "tokenizer.json" {
		t.Errorf("truncated tokenizer: %v", err)
	}
	if got := len(m.Files); got != 4 {
		t.Errorf("files %q, want the checkpoint, the config, the tokenizer and its template", m.Files)
	}
}

// A template in its own file takes precedence.
func TestChatTemplate(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "fixtures", "mobilellm"))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"chat_template.jinja": "own", "tokenizer_config.json": `{"chat_template":"config's"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if d, err := m.Tokenizer(); err != nil || d.ChatTemplate != "own" {
		t.Errorf("%v, %v", d, err)
	}

	// As transformers 5 saves several, and reads them: without those in the config.
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write("additional_chat_templates/tool_use.jinja", "tools")
	write("additional_chat_templates/rag.jinja", "rag")
	write("tokenizer_config.json", `{"chat_template":[{"name":"default","template":"config's"},{"name":"tool_use","template":"config's"}]}`)
	for _, want := range []string{"own", ""} { // with chat_template.jinja, without it
		m, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		d, err := m.Tokenizer()
		if err != nil || d.ChatTemplate != want || d.ToolTemplate != "tools" || !slices.ContainsFunc(d.Notes, func(n string) bool { return strings.Contains(n, `"rag" is left out`) }) {
			t.Errorf("want %q: %q, %q, %v; notes %q", want, d.ChatTemplate, d.ToolTemplate, err, d.Notes)
		}
		if !slices.Contains(m.Files, filepath.Join(dir, "additional_chat_templates", "tool_use.jinja")) {
			t.Errorf("files %q lack the template for tools", m.Files)
		}
		os.Remove(filepath.Join(dir, "chat_template.jinja"))
	}
}
