package tokenizer

import (
	"fmt"
	"strings"
	"testing"
)

// Each limit of docs/SECURITY.md is where it says: the largest value passes, and the next is refused
// with a text that names the limit.
func TestLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("makes large tokenizers")
	}
	gpt2, llama, llama2 := parsed(t, "gpt2"), parsePieces(t, "llama"), parsed(t, "llama2")
	with := func(base *Data, change func(d *Data)) error {
		d := *base
		if base.SentencePiece != nil {
			p := *base.SentencePiece
			d.SentencePiece = &p
		}
		d.Tokens = append([][]byte(nil), base.Tokens...)
		change(&d)
		_, err := New(&d)
		return err
	}
	for _, c := range []struct {
		name  string
		limit int
		try   func(n int) error
		want  string
	}{
		{"file", MaxFile, func(n int) error { _, err := DecodeData(make([]byte, n)); return err }, "exceed the limit of"},
		{"tokens", MaxTokens, func(n int) error {
			return with(gpt2, func(d *Data) { d.Tokens = make([][]byte, n) })
		}, "tokens, want 1 to 4194304"},
		{"added", MaxAdded, func(n int) error { return with(gpt2, func(d *Data) { d.Added = make([]Added, n) }) }, "entries, want at most 65536"},
		{"content", maxContent, func(n int) error {
			return with(gpt2, func(d *Data) { d.Added = []Added{{ID: 0, Content: strings.Repeat("x", n)}} })
		}, "bytes long, want 1 to 1024"},
		{"template", maxTemplate, func(n int) error { return with(gpt2, func(d *Data) { d.ChatTemplate = strings.Repeat("x", n) }) }, "exceed the limit of 1048576"},
		{"steps", maxSteps, func(n int) error { return with(gpt2, func(d *Data) { d.Steps = make([]Step, n) }) }, "steps, want at most 16"},
		{"rules", maxSteps, func(n int) error { return with(llama2, func(d *Data) { d.Decoder = make([]Rule, n) }) }, "rules, want at most 16"},
		{"specials", maxSpecials, func(n int) error { return with(gpt2, func(d *Data) { d.Suffix = make([]uint32, n) }) }, "more than 16 ids"},
		{"charsmap", maxCharsmap, func(n int) error {
			return with(llama, func(d *Data) { d.SentencePiece.Charsmap = make([]byte, n) })
		}, "exceed the limit of 4194304"},
		{"growth", maxGrowth, func(n int) error {
			return with(llama2, func(d *Data) { d.Normalizer = []Rule{{Op: OpReplace, Old: "x", New: strings.Repeat("x", n)}} })
		}, "more than 256 times as long"},
		{"piece", MaxPiece, func(n int) error { return with(llama, func(d *Data) { d.Tokens[9] = make([]byte, n) }) }, "want 1 to 65536"},
	} {
		if err := c.try(c.limit); err != nil && strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the limit itself is refused: %v", c.name, err)
		}
		if err := c.try(c.limit + 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: more than the limit gives %v, want ... %s", c.name, err, c.want)
		}
	}
	// A trie of as many bytes as are allowed takes a gigabyte, so only the other side is tried.
	long := &vocabulary{ids: newTexts([][]byte{make([]byte, maxTrie+1)})}
	long.ids.add(0)
	if _, err := newUnigram(&Data{Model: Unigram, Scores: []float64{0}}, long); err == nil || !strings.Contains(err.Error(), fmt.Sprint("more than ", maxTrie, " bytes of text")) {
		t.Errorf("trie: %v", err)
	}
}
