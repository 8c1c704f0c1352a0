package tokenfile

import (
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
)

// OpenAI's tokenizers leave ids out: no text gives them, and they decode to nothing.
func TestIDsLeftOut(t *testing.T) {
	d, err := ParseJSON(edit(t, "gpt2.json", "added_tokens", added(`"<new>"`, "")), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := len(d.Tokens)
	b := edit(t, "gpt2.json", "model.vocab.<|far|>", "450")
	b = []byte(strings.Replace(string(b), `"added_tokens":[`, `"added_tokens":[{"id":450,"content":"<|far|>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true},`, 1))
	if d, err = ParseJSON(b, nil); err != nil {
		t.Fatal(err)
	}
	if len(d.Tokens) != 451 || n >= 450 || len(d.Tokens[449]) != 0 || !slices.Contains(d.Literal, 449) {
		t.Fatalf("%d tokens, that at 449 is %q", len(d.Tokens), d.Tokens[449])
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("<|far|>!", false); len(got) != 2 || got[0] != 450 {
		t.Errorf("ids %v", got)
	}
	if got := string(tok.Decode([]int{449})); got != "" {
		t.Errorf("an id without a token decodes to %q", got)
	}
}

// A Replace after Fuse decodes as one before it, and one of several characters is refused.
func TestReplaceAfterFuse(t *testing.T) {
	decoder := func(text string) string {
		return `{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Replace","pattern":{"String":"` + text + `"},"content":" "},{"type":"Strip","content":" ","start":1,"stop":0}]}`
	}
	d, err := ParseJSON(edit(t, "llama2.json", "decoder", decoder(spelling.Mark)), nil)
	if want := parsed(t, "llama2").Decoder; err != nil || !slices.Equal(d.Decoder, want) {
		t.Errorf("decoder %v, %v, want %v", d, err, want)
	}
	_, err = ParseJSON(edit(t, "llama2.json", "decoder", decoder("ab")), nil)
	checkError(t, err, true, "Replace of more than a character after Fuse")
}

func TestPrecompiledErrors(t *testing.T) {
	d := parsed(t, "gpt2")
	for _, old := range []string{"AAAA", "*", ""} {
		d.Normalizer = []tokenizer.Rule{{Op: tokenizer.OpCharsmap, Old: old}}
		if _, err := tokenizer.New(d); (err == nil) != (old == "") {
			t.Errorf("%q: %v", old, err)
		}
	}
}
