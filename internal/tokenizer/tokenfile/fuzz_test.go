package tokenfile

import (
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
)

// useful requires that what a parser accepts survives encoding, and that its tokenizer turns any
// text into ids that exist.
func useful(t *testing.T, d *tokenizer.Data, err error) {
	t.Helper()
	if err != nil {
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("not one clean line: %q", err)
		}
		return
	}
	tok, err := tokenizer.New(d)
	if err != nil {
		return
	}
	for _, id := range tok.Encode("Hi, \u00e9\u0301 <s> \x00\xff", true) {
		if id < 0 || id >= len(d.Tokens) && !slices.ContainsFunc(d.Added, func(a tokenizer.Added) bool { return int(a.ID) == id }) {
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
		d, err := ParseModel(Files{Model: ranks, Config: config})
		useful(t, d, err)
	})
}

// The files that stand beside a tokenizer.model.
func FuzzParseModel(f *testing.F) {
	pieces := read(f, "../../../fixtures/mobilellm-facebook/tokenizer.model")
	f.Add([]byte(`{"tokenizer_class":"LlamaTokenizer","add_bos_token":true}`), []byte(`{"<x>":384}`), []byte(`{"bos_token":{"content":"<s>"}}`))
	f.Add([]byte(`{"tokenizer_class":"GemmaTokenizer","added_tokens_decoder":{"1":{"content":"<s>"}}}`), []byte(`{}`), []byte(`{"additional_special_tokens":["a","a"]}`))
	f.Add([]byte(`{"tokenizer_class":5}`), []byte(`{"a":-1}`), []byte(`[`))
	f.Fuzz(func(t *testing.T, config, added, specials []byte) {
		d, err := ParseModel(Files{Model: pieces, Config: config, Added: added, Specials: specials})
		useful(t, d, err)
	})
}

// seeds returns complete tokenizers of a few hundred bytes. Fuzzing would be too slow with
// those of testdata.
func seeds(f *testing.F) [][]byte {
	var all [][]byte
	for _, pre := range []string{byteLevel, `{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},` +
		`{"type":"Split","pattern":{"Regex":` + string(quote(tokenizer.StepQwen2.Pattern())) + `},"behavior":"Isolated","invert":false},` +
		byteLevel + `]}`} {
		for _, post := range []string{`null`, `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}},` +
			`{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"x":{"id":"x","ids":[3],"tokens":["x"]}}}`} {
			for _, merges := range []string{`["a b"]`, `[["a","b"]]`} {
				b := []byte(`{"version":"1.0","added_tokens":[{"id":4,"content":"x","single_word":true,"lstrip":true,"rstrip":true,"normalized":false,"special":true}],` +
					`"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"\u0120":3},"merges":` + merges + `,"ignore_merges":true},` +
					`"decoder":` + byteLevel + `,"pre_tokenizer":` + pre + `,"post_processor":` + post + `}`)
				if _, err := ParseJSON(b, nil); err != nil {
					f.Fatalf("%s: %v", b, err)
				}
				all = append(all, b)
			}
		}
	}
	for _, model := range []string{`"type":"BPE","byte_fallback":true,"fuse_unk":true,"unk_token":"u","vocab":{"u":0,"a":1,"▁":2,"<0x0A>":3,"▁a":4},"merges":[["▁","a"]]`,
		`"type":"Unigram","unk_id":0,"vocab":[["u",0],["a",-1.5],["▁",-2],["▁a",-2.25]]`} {
		b := []byte(`{"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},` +
			`"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false},"model":{` + model + `},` +
			`"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}}`)
		if _, err := ParseJSON(b, nil); err != nil {
			f.Fatalf("%s: %v", b, err)
		}
		all = append(all, b)
	}
	return all
}

func FuzzParseJSON(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseJSON(b, nil)
		if err != nil {
			return
		}
		enc, err := d.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		back, err := tokenizer.DecodeData(enc)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.New(d)
		tok2, err2 := tokenizer.New(back)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("New returns %v, after a round trip %v", err, err2)
		}
		const text = "Hello  world 123\r\n<|end|> ab"
		if err == nil && !slices.Equal(tok.Encode(text, true), tok2.Encode(text, true)) {
			t.Fatal("ids change in a round trip")
		}
	})
}

// A config gives a one-line error, or Data that New rejects or whose Tokenizer
// does not panic.
func FuzzParseConfig(f *testing.F) {
	bases := seeds(f)
	for i, text := range []string{
		`{"bos_token":"<|begin|>","eos_token":{"content":"<|end|>","lstrip":false},"pad_token":null,"chat_template":"x"}`,
		`{"bos_token":"a","unk_token":"!","add_prefix_space":false,"split_special_tokens":false}`,
		`{"added_tokens_decoder":{"1":{"content":"<|begin|>","special":true}}}`,
		`{"chat_template":[{"name":"tool","template":"no"},{"name":"default","template":"yes"}]}`,
		`{"added_tokens_decoder":{"99999999999":{}},"chat_template":[[]]}`, "[]", "",
	} {
		f.Add(uint8(i), []byte(text))
	}
	f.Fuzz(func(t *testing.T, base uint8, text []byte) {
		d, err := ParseJSON(bases[int(base)%len(bases)], text)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("error has control characters: %q", err)
			}
			return
		}
		if tok, err := tokenizer.New(d); err == nil {
			tok.Decode(tok.Encode("Hello  world 123\r\n<|end|> ab", true))
		}
	})
}
