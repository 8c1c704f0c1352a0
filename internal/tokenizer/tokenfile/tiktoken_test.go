package tokenfile

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
)

// smallRanks is a vocabulary of tiktoken: all bytes, and a few tokens of several.
func smallRanks() (tokens []string, file []byte) {
	for b := range 256 {
		tokens = append(tokens, string([]byte{byte(b)}))
	}
	tokens = append(tokens, "th", "he", " t", "the", " the", "aa", "aaa", "\u00e9", "12", "er", "there")
	var b strings.Builder
	for rank, t := range tokens {
		fmt.Fprintf(&b, "%s %d\n", base64.StdEncoding.EncodeToString([]byte(t)), rank)
	}
	return tokens, []byte(b.String())
}

// mergeByRank is tiktoken's byte_pair_merge, to the letter: of all adjacent parts it joins the
// two whose concatenation has the lowest rank, the leftmost first.
func mergeByRank(rank map[string]int, piece string) (ids []int) {
	if id, ok := rank[piece]; ok {
		return []int{id}
	}
	parts := strings.Split(piece, "")
	if !strings.ContainsFunc(piece, func(r rune) bool { return r >= 0x80 }) {
		for {
			best, at := 1<<30, -1
			for i := 0; i+1 < len(parts); i++ {
				if r, ok := rank[parts[i]+parts[i+1]]; ok && r < best {
					best, at = r, i
				}
			}
			if at < 0 {
				break
			}
			parts = slices.Replace(parts, at, at+2, parts[at]+parts[at+1])
		}
	}
	for _, p := range parts {
		ids = append(ids, rank[p])
	}
	return ids
}

func TestParseTiktoken(t *testing.T) {
	tokens, file := smallRanks()
	rank := map[string]int{}
	for i, token := range tokens {
		rank[token] = i
	}
	d, err := ParseModel(Files{Model: file, Config: []byte(`{"tokenizer_class": "QWenTokenizer"}`)})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	first := len(tokens)
	for text, want := range map[string][][]int{
		"the": {mergeByRank(rank, "the")}, "there": {mergeByRank(rank, "there")}, "aaaaaaa": {mergeByRank(rank, "aaaaaaa")}, "aaaa the": {mergeByRank(rank, "aaaa"), mergeByRank(rank, " the")},
		"1234": {{rank["1"]}, {rank["2"]}, {rank["3"]}, {rank["4"]}}, "e\u0301": {{rank["\u00e9"]}}, // composed
		"<|endoftext|>a<|im_end|>": {{first, rank["a"], first + 2}}, "<|extra_204|>": {{first + 207}}, "": nil,
	} {
		if got := tok.Encode(text, true); !slices.Equal(got, slices.Concat(want...)) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if d.EOS != first || string(tok.Decode(tok.Encode("there the<|im_end|>", false))) != "there the<|im_end|>" {
		t.Errorf("eos %d, text %q", d.EOS, tok.Decode(tok.Encode("there the<|im_end|>", false)))
	}
	// Kimi names its tokens in the configuration.
	d, err = ParseModel(Files{Model: file, Config: fmt.Appendf(nil,
		`{"tokenizer_class": "TikTokenTokenizer", "eos_token": "[EOS]", "added_tokens_decoder": {"%d": {"content": "[EOS]", "special": true}}}`, first+1)})
	if err != nil || d.EOS != first+1 || len(d.Tokens) != first+256 || string(d.Tokens[first]) != fmt.Sprintf("<|reserved_token_%d|>", first) {
		t.Errorf("%v: eos %d, %d tokens", err, d.EOS, len(d.Tokens))
	}
	for _, c := range []struct{ file, config, want string }{
		{string(file), "", `a vocabulary of tiktoken of 267 tokens and tokenizer_class "", whose pattern Thimble does not know, without tokenizer.json is not supported`},
		{string(file), `{"tokenizer_class": "OtherTokenizer"}`, `tokenizer_class "OtherTokenizer", whose pattern`},
		{string(file), `{"tokenizer_class": "QWenTokenizer", "added_tokens_decoder": {"5": {"content": "x"}}}`, "want an id from 267 to 474"},
		{string(file), `{"tokenizer_class": "QWenTokenizer", "added_tokens_decoder": {"267": 5}}`, "want an id from 267 to 474"},
		{"IQ== 1\n", "", "line 1: rank 1, want 0"},
		{"IQ== 0\nIQ== 1\n", "", "line 2: the token is there twice"},
		{"IQ== 0\n", "", "no token for byte 0x00"},
		{"? 0\n", "", "line 1: want a token in base64 and its rank"},
		{"= 0", "", "line 1: want a token"},
	} {
		var config []byte
		if c.config != "" {
			config = []byte(c.config)
		}
		if _, err := readTiktoken(Files{Model: []byte(c.file), Config: config}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q %s: %v, want %q", c.file, c.config, err, c.want)
		}
	}
	if !IsTiktoken(file) || IsTiktoken([]byte("\n\x0e\n\x05<unk>")) || IsTiktoken(nil) || IsTiktoken([]byte(`{"a": 1}`)) {
		t.Error("IsTiktoken")
	}
}

// A directory with a unigram model alone gives the ids of sentencepiece, and knows its special
// tokens.
func TestParseModelUnigram(t *testing.T) {
	var texts []string
	b, err := os.ReadFile("../testdata/strings.json")
	if err == nil {
		err = json.Unmarshal(b, &texts)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"sp-unigram.model", "sp-unigram-bytes.model", "sp-unigram-plain.model"} {
		b, err := os.ReadFile("../testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		bare, err := ParseSentencePiece(b)
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseModel(Files{Model: b, Config: []byte(`{"tokenizer_class": "T5Tokenizer", "added_tokens_decoder": {}}`)})
		if err != nil {
			t.Fatal(file, err)
		}
		d, err = decodeAgain(d)
		if err != nil {
			t.Fatal(file, err)
		}
		want, err := tokenizer.New(bare)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tokenizer.New(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts[:min(len(texts), 150)] {
			if strings.Contains(text, "<") { // could be a special token
				continue
			}
			if x, y := got.Encode(text, false), want.Encode(text, false); !slices.Equal(x, y) {
				t.Errorf("%s: %q: %v, want %v", file, text, x, y)
			}
			if x := got.Encode(text, true); x[len(x)-1] != d.EOS {
				t.Errorf("%s: %q ends with %d, want %d", file, text, x[len(x)-1], d.EOS)
			}
		}
		if x := got.Encode("a</s>", false); x[len(x)-1] != d.EOS || !got.IsSpecial(d.EOS) {
			t.Errorf("%s: </s> is %v", file, x)
		}
	}
}

// decodeAgain returns d as a container stores it.
func decodeAgain(d *tokenizer.Data) (*tokenizer.Data, error) {
	b, err := d.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return tokenizer.DecodeData(b)
}
