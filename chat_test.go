package thimble

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/internal/chat"
	"thimble/internal/texts"

	"github.com/google/go-cmp/cmp"
)

const renderName = "__render"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == renderName {
		if err := ServeTemplates(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A file of chats has the tokens of its rendered texts.
func TestChatTokens(t *testing.T) {
	const fixture = "fixtures/llama3-rope" // its tokenizer starts a text with <|begin|>
	dir := t.TempDir()
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} {
		text, err := os.ReadFile(filepath.Join(fixture, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const template = "{{ bos_token }}{% for m in messages %}\n{{ m.role + ': ' + m.content + eos_token }}\n{% endfor %}"
	if err := os.WriteFile(filepath.Join(dir, "chat_template.jinja"), []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tok, data, err := texts.Tokenizer(m)
	if err != nil {
		t.Fatal(err)
	}
	const chats = `{"messages":[{"role":"user","content":"Sort it."},{"role":"assistant","content":"sort.Ints(x)"}]}

{"text":"A slice."}` + "\r\n" + `{"conversations":[{"from":"human","value":"Hi"}]}`
	self, err := os.Executable() // TestMain renders
	if err != nil {
		t.Fatal(err)
	}
	encode := func(_ context.Context, text string, special bool) ([]int, error) {
		return tok.Encode(text, special), nil
	}
	file := chat.File{Path: "chats.jsonl", Text: chats, Model: dir, Data: data, Render: []string{self, renderName}, Encode: encode}
	got, err := file.Tokens(t.Context(), func(done, total int64) {})
	if err != nil {
		t.Fatal(err)
	}
	want := tok.Encode("<|begin|>user: Sort it.<|end|>\nassistant: sort.Ints(x)<|end|>\n", false)
	want = append(want, tok.Encode("A slice.", true)...)
	want = append(want, tok.Encode("<|begin|>user: Hi<|end|>\n", false)...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, special := range []int{tok.BOS(), tok.EOS()} {
		if n := strings.Count(string(tok.Decode(got)), string(tok.Decode([]int{special}))); n != 3 {
			t.Errorf("token %d occurs %d times, want 3", special, n)
		}
	}
}
