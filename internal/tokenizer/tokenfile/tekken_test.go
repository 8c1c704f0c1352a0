package tokenfile

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
)

// smallTekken is a tekken.json of the tokens of smallRanks and one more, which the size leaves
// out. Mistral's own file gives the ids of mistral-common 1.13.1 (docs/TOKENIZERS.md).
func smallTekken(t testing.TB, version, specials string) []byte {
	t.Helper()
	tokens, _ := smallRanks()
	var vocab []map[string]any
	for rank, token := range append(tokens, "left out") {
		vocab = append(vocab, map[string]any{"rank": rank, "token_bytes": base64.StdEncoding.EncodeToString([]byte(token)), "token_str": nil})
	}
	list, err := json.Marshal(vocab)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"config": {"pattern": %q, "num_vocab_tokens": %d, "default_vocab_size": %d, "default_num_special_tokens": 30, "version": %q},
		"vocab": %s, "image": {"image_patch_size": 16}%s}`, `[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|[^\p{L}\p{N}]+`, len(vocab), 30+len(tokens), version, list, specials)
}

func TestParseTekken(t *testing.T) {
	tokens, _ := smallRanks()
	rank := map[string]int{}
	for i, token := range tokens {
		rank[token] = i
	}
	d, err := ParseTekken(smallTekken(t, "v3", ""), []byte(`{"chat_template": "x", "tokenizer_class": "PreTrainedTokenizerFast"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := [4]int{d.BOS, d.EOS, d.Pad, d.Unk}; got != [4]int{1, 2, 11, 0} || d.ChatTemplate != "x" || len(d.Tokens) != 30+len(tokens) {
		t.Errorf("roles %v, template %q, %d tokens", got, d.ChatTemplate, len(d.Tokens))
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	shifted := func(pieces ...string) (ids []int) {
		for _, p := range pieces {
			for _, id := range mergeByRank(rank, p) {
				ids = append(ids, 30+id)
			}
		}
		return ids
	}
	for text, want := range map[string][]int{
		"there the": shifted("there", " the"), "12": shifted("1", "2"), "[INST]aaaa[/INST]": slices.Concat([]int{3}, shifted("aaaa"), []int{4}), "<SPECIAL_29>": {29},
	} {
		if got := tok.Encode(text, true); !slices.Equal(got, append([]int{1}, want...)) {
			t.Errorf("%q: %v, want <s> and %v", text, got, want)
		}
		if got := string(tok.Decode(tok.Encode(text, false))); got != text {
			t.Errorf("%q is decoded as %q", text, got)
		}
	}
	if _, _, err := JSON(d, 512); err != nil {
		t.Errorf("as tokenizer.json: %v", err)
	}
	d, err = ParseTekken(smallTekken(t, "v11", `, "special_tokens": [{"rank": 1, "token_str": "<s>", "is_control": true}, {"rank": 0, "token_str": "[THINK]", "is_control": false}]`), nil)
	if err != nil || string(d.Tokens[0]) != "[THINK]" || d.Added[1].Special || d.BOS != 1 || d.EOS != -1 || string(d.Tokens[2]) != "<SPECIAL_2>" {
		t.Errorf("listed special tokens: %v", err)
	}
}

func TestParseTekkenErrors(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{`"version": "v3"`, `"version": "v11"`, "config.version: v11 without special_tokens"},
		{`"pattern"`, `"patterns"`, "config.pattern: want a string, found null"},
		{`"default_num_special_tokens": 30`, `"default_num_special_tokens": 9999`, "config.default_vocab_size: 297, want more than the 9999 special tokens"},
		{`"image"`, `"special_tokens": [{"rank": 40, "token_str": "x"}], "image"`, "special_tokens[0]: rank 40 is there twice or not below 30"},
		{`"default_vocab_size": 297`, `"default_vocab_size": 999`, "at most 298"},
		{`"default_vocab_size": 297`, `"default_vocab_size": 99`, "no token for byte 0x45"},
		{`"rank":5`, `"rank":6`, "vocab[5].rank: 6, want 5"},
		{`"token_bytes":"AA=="`, `"token_bytes":"?"`, "vocab[0].token_bytes: want 1 to 65536 bytes in base64"},
		{`\\p{L}+|`, `\\p{L}+(|`, "pattern"},
		{`"config"`, `"conf"`, "config or vocab is missing"},
		{`"config": {`, `"config": [{`, ""},
	} {
		b := strings.Replace(string(smallTekken(t, "v3", "")), c.from, c.to, 1)
		if _, err := ParseTekken([]byte(b), nil); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.to, err, c.want)
		}
	}
}

func FuzzParseTekken(f *testing.F) {
	f.Add(smallTekken(f, "v3", ""))
	f.Add([]byte(`{"config":{"pattern":".","default_vocab_size":2,"default_num_special_tokens":1,"version":"v3"},"vocab":[{"rank":0,"token_bytes":"AA=="}],"special_tokens":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseTekken(b, nil)
		useful(t, d, err)
	})
}
