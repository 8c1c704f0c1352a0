package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

// useful requires that what a parser accepts survives encoding, and that its tokenizer turns any
// text into ids that exist.
func useful(t *testing.T, d *Data, err error) {
	t.Helper()
	if err != nil {
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("not one clean line: %q", err)
		}
		return
	}
	tok, err := New(d)
	if err != nil {
		return
	}
	for _, id := range tok.Encode("Hi, \u00e9\u0301 <s> \x00\xff", true) {
		if id < 0 || id >= len(d.Tokens) && !slices.ContainsFunc(d.Added, func(a Added) bool { return int(a.ID) == id }) {
			t.Errorf("id %d of %d", id, len(d.Tokens))
		}
	}
}

// A directory with a vocabulary of tiktoken.
func FuzzParseTiktoken(f *testing.F) {
	_, ranks := smallRanks()
	f.Add(ranks, []byte(`{"tokenizer_class":"QWenTokenizer"}`))
	f.Add(ranks, []byte(`{"tokenizer_class":"TikTokenTokenizer","added_tokens_decoder":{"267":{"content":"[BOS]"}}}`))
	f.Add([]byte("IQ== 0\nIQ== 1\n"), []byte(`{"tokenizer_class":"QWenTokenizer"}`))
	f.Add([]byte("IQ== 99999999999\n"), []byte(`{"added_tokens_decoder":{"-1":{}}}`))
	f.Fuzz(func(t *testing.T, ranks, config []byte) {
		_ = IsTiktoken(ranks)
		d, err := ParseTiktoken(LlamaFiles{Model: ranks, Config: config})
		useful(t, d, err)
	})
}

// The files that stand beside a tokenizer.model.
func FuzzParseLlama(f *testing.F) {
	pieces := read(f, "../../fixtures/mobilellm-facebook/tokenizer.model")
	f.Add([]byte(`{"tokenizer_class":"LlamaTokenizer","add_bos_token":true}`), []byte(`{"<x>":384}`), []byte(`{"bos_token":{"content":"<s>"}}`))
	f.Add([]byte(`{"tokenizer_class":"GemmaTokenizer","added_tokens_decoder":{"1":{"content":"<s>"}}}`), []byte(`{}`), []byte(`{"additional_special_tokens":["a","a"]}`))
	f.Add([]byte(`{"tokenizer_class":5}`), []byte(`{"a":-1}`), []byte(`[`))
	f.Fuzz(func(t *testing.T, config, added, specials []byte) {
		d, err := ParseLlama(LlamaFiles{Model: pieces, Config: config, Added: added, Specials: specials})
		useful(t, d, err)
	})
}

// Any precompiled_charsmap that is accepted replaces prefixes of any text.
func FuzzCharsmap(f *testing.F) {
	f.Add([]byte{}, "a")
	f.Add([]byte{4, 0, 0, 0, 0, 0, 0, 0, 0}, "a")
	f.Add([]byte{8, 0, 0, 0, 0, 4, 0, 0, 0xff, 0xff, 0xff, 0xff, 'x', 0}, "ab\u00e9")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		m, err := newCharsmap(b)
		if err != nil || m == nil {
			return
		}
		if n, replacement := m.longest(text); n > len(text) || len(replacement) > maxGrowth {
			t.Errorf("%d of %d bytes become %d", n, len(text), len(replacement))
		}
	})
}
