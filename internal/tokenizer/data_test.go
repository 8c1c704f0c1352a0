package tokenizer

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func parsed(t testing.TB, name string) *Data {
	t.Helper()
	d, err := ParseJSON(read(t, testdata(name+".json")))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDataRoundTrip(t *testing.T) {
	for _, name := range variants {
		d := parsed(t, name)
		d.ChatTemplate = "{{ messages }}"
		b, err := d.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeData(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, d) {
			t.Errorf("%s: decoding gives different Data", name)
		}
		if again, err := got.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: the decoded Data has a different encoding: %v", name, err)
		}
		step := 1 // every length of a small file
		if len(b) > 6000 {
			step = 31
		}
		for n := 0; n < len(b); n += step {
			if _, err := DecodeData(b[:n]); err == nil {
				t.Fatalf("%s: DecodeData accepts the first %d of %d bytes", name, n, len(b))
			}
		}
	}
}

func TestDecodeDataErrors(t *testing.T) {
	d := parsed(t, "gpt2")
	good, err := d.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := cbor.Marshal(map[int]any{1: ByteLevelBPE, 99: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		b    []byte
	}{
		{"nothing", nil},
		{"a byte more", append(slices.Clone(good), 0)},
		{"unknown field", unknown},
		{"duplicate key", []byte{0xa2, 1, 0x60, 1, 0x60}},
		{"indefinite length", []byte{0xbf, 1, 0x60, 0xff}},
		{"a tag", []byte{0xa1, 1, 0xc0, 0x60}},
		{"2^40 tokens", []byte{0xa1, 2, 0x9b, 0, 0, 1, 0, 0, 0, 0, 0}},
		{"nested deep", append([]byte{0xa1, 2}, bytes.Repeat([]byte{0x81}, 99)...)},
		{"not UTF-8", []byte{0xa1, 1, 0x61, 0xff}},
		{"an id of 2^32", []byte{0xa1, 4, 0x81, 0x1b, 0, 0, 0, 1, 0, 0, 0, 0}},
		{"too long", make([]byte, maxFile+1)},
	} {
		_, err := DecodeData(c.b)
		if err == nil {
			t.Errorf("%s: DecodeData returns no error", c.name)
			continue
		}
		checkError(t, err, false, "tokenizer: ")
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		name        string
		change      func(d *Data)
		unsupported bool
		want        string
	}{
		{"model", func(d *Data) { d.Model = "wordpiece" }, true, `model "wordpiece"`},
		{"step", func(d *Data) { d.Steps = append(d.Steps, "sing") }, true, `step "sing"`},
		{"steps", func(d *Data) { d.Steps = slices.Repeat([]Step{StepDigit}, 99) }, false, `99 steps`},
		{"no tokens", func(d *Data) { d.Tokens = nil }, false, `0 tokens`},
		{"same tokens", func(d *Data) { d.Tokens[7] = d.Tokens[9] }, false, `token 9, "'", is a duplicate`},
		{"literal", func(d *Data) { d.Literal = []uint32{5, 5} }, false, `literal: id 5`},
		{"literal large", func(d *Data) { d.Literal = []uint32{400} }, false, `literal: id 400`},
		{"odd merges", func(d *Data) { d.Merges = d.Merges[1:] }, false, `want pairs`},
		{"merge id", func(d *Data) { d.Merges[0] = 400 }, false, `merge 0: id 400 is not below 400`},
		{"merge literal", func(d *Data) { d.Literal = []uint32{d.Merges[0]} }, false, `not in the model's vocabulary`},
		{"added id", func(d *Data) { d.Added[0].ID = 400 }, false, `added token 400: id is not below 400`},
		{"added twice", func(d *Data) { d.Added[1].Content = d.Added[0].Content }, false, `is listed twice`},
		{"added same id", func(d *Data) { d.Added[1].ID = d.Added[0].ID }, false, `is listed twice`},
		{"added many", func(d *Data) { d.Added = make([]Added, maxAdded+1) }, false, `65537 entries`},
		{"bos", func(d *Data) { d.BOS = 400 }, false, `bos: id 400`},
		{"unk", func(d *Data) { d.Unk = -2 }, false, `unk: id -2`},
		{"prefix", func(d *Data) { d.Prefix = []uint32{400} }, false, `template: id 400`},
		{"suffix", func(d *Data) { d.Suffix = make([]uint32, 99) }, false, `more than 16 ids`},
		{"chat", func(d *Data) { d.ChatTemplate = strings.Repeat("x", maxTemplate+1) }, false, `chat_template`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := parsed(t, "gpt2")
			c.change(d)
			_, err := New(d)
			checkError(t, err, c.unsupported, c.want)
		})
	}
}

func TestNewPiecesErrors(t *testing.T) {
	for _, c := range []struct {
		name        string
		change      func(d *Data)
		unsupported bool
		want        string
	}{
		{"merges", func(d *Data) { d.Merges = []uint32{0, 0} }, false, `merges: a sentencepiece-bpe model has none`},
		{"no scores", func(d *Data) { d.Scores = nil }, false, `scores: a sentencepiece-bpe model needs them`},
		{"scores", func(d *Data) { d.Scores = d.Scores[1:] }, false, `scores: 699 scores for 700 tokens`},
		{"infinite", func(d *Data) { d.Scores[9] = math.Inf(1) }, false, `score +Inf of token 9 is not finite`},
		{"precise", func(d *Data) { d.Scores[9] = 0.1 }, false, `score 0.1 of token 9 is not a float32`},
		{"no kinds", func(d *Data) { d.Kinds = nil }, false, `kinds: a sentencepiece-bpe model needs them`},
		{"kinds", func(d *Data) { d.Kinds = d.Kinds[1:] }, false, `kinds: 699 kinds for 700 tokens`},
		{"kind", func(d *Data) { d.Kinds[5] = 7 }, true, `kind 7 of token 5`},
		{"normalizer", func(d *Data) { d.SentencePiece = nil }, false, `needs them, and a normalizer of its own`},
		{"another model", func(d *Data) { d.Model, d.Scores = BPE, nil }, false, `sentencepiece: a bpe model has no such normalizer`},
		{"unknown", func(d *Data) { d.Unknown = "guess" }, true, `unknown tokens "guess"`},
		{"no unknown", func(d *Data) { d.Unk = -1 }, false, `unk: the model needs an unknown token`},
		{"byte fallback", func(d *Data) { *d = *parsed(t, "gpt2"); d.ByteFallback = true }, false, `byte_fallback: a byte-level-bpe model has none`},
		{"charsmap", func(d *Data) { d.SentencePiece.Charsmap = make([]byte, maxCharsmap+1) }, false, `charsmap: 4194305 bytes`},
		{"bad charsmap", func(d *Data) { d.SentencePiece.Charsmap = []byte{1} }, false, `charsmap: 1 bytes, want at least 4`},
		{"unk surface", func(d *Data) { d.SentencePiece.UnkSurface = strings.Repeat("?", 2000) }, false, `unk_surface: 2000 bytes`},
		{"rules", func(d *Data) { d.Normalizer = []Rule{{Op: OpNFC}} }, false, `sentencepiece: normalizer and decoder must have no rules`},
		{"long token", func(d *Data) { d.Tokens[9] = make([]byte, maxPiece+1) }, false, `token 9 has 65537 bytes`},
		{"empty token", func(d *Data) { d.Tokens[9] = nil }, false, `token 9 has 0 bytes`},
	} {
		d := parsePieces(t, "llama")
		c.change(d)
		_, err := New(d)
		t.Run(c.name, func(t *testing.T) { checkError(t, err, c.unsupported, c.want) })
	}
	for _, c := range []struct {
		name        string
		change      func(d *Data)
		unsupported bool
		want        string
	}{
		{"rule", func(d *Data) { d.Normalizer = []Rule{{Op: "rot13"}} }, true, `rule "rot13" of the normalizer`},
		{"rule of the decoder", func(d *Data) { d.Normalizer = []Rule{{Op: OpBytes}} }, true, `rule "bytes" of the normalizer`},
		{"order", func(d *Data) { slices.Reverse(d.Decoder) }, true, `rule bytes of the decoder after strip`},
		{"many", func(d *Data) { d.Decoder = make([]Rule, 17) }, false, `decoder: 17 rules`},
		{"long", func(d *Data) { d.Normalizer[0].New = strings.Repeat("x", 2000) }, false, `a rule has texts of 0 and 2000 bytes`},
		{"growth", func(d *Data) { d.Normalizer[1].New = strings.Repeat("x", 257) }, false, `normalizer: the rules can make a text more than 256 times as long`},
		{"growth twice", func(d *Data) {
			d.Normalizer = slices.Repeat([]Rule{{Op: OpReplace, Old: "x", New: strings.Repeat("x", 17)}}, 2)
		}, false, `256 times as long`},
		{"nothing", func(d *Data) { d.Normalizer[1].Old = "" }, false, `rule replace has no text to replace`},
	} {
		d := parsed(t, "llama2")
		c.change(d)
		_, err := New(d)
		t.Run(c.name, func(t *testing.T) { checkError(t, err, c.unsupported, c.want) })
	}
}

func TestApplyConfig(t *testing.T) {
	d := parsed(t, "added")
	err := d.ApplyConfig([]byte(`{"bos_token":"<|begin|>","eos_token":{"__type":"AddedToken","content":"<|end|>","lstrip":false,"normalized":false},
		"pad_token":null,"unk_token":"!","add_prefix_space":false,"add_bos_token":true,"clean_up_tokenization_spaces":true,
		"added_tokens_decoder":{"1":{"content":"<|begin|>","lstrip":false,"special":true}},
		"chat_template":[{"name":"tool","template":"no"},{"name":"default","template":"yes"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d.BOS != 1 || d.EOS != 2 || d.Pad != -1 || d.Unk != 3 || d.ChatTemplate != "yes" || len(d.Prefix) > 0 {
		t.Errorf("bos %d eos %d pad %d unk %d template %q prefix %v", d.BOS, d.EOS, d.Pad, d.Unk, d.ChatTemplate, d.Prefix)
	}
	tok, err := New(d)
	if err != nil {
		t.Fatal(err)
	}
	if !tok.IsSpecial(3) || !slices.Equal(tok.Encode("!", false), []int{3}) {
		t.Error("the unk_token of the config is not special")
	}
	if err := d.ApplyConfig([]byte(`{"chat_template":"plain"}`)); err != nil || d.ChatTemplate != "plain" || d.BOS != 1 {
		t.Errorf("second config: %v, template %q, bos %d", err, d.ChatTemplate, d.BOS)
	}
}

func TestApplyConfigErrors(t *testing.T) {
	for _, c := range []struct {
		in          string
		unsupported bool
		want        string
	}{
		{`[]`, false, `found an array, want an object`},
		{`{"a":1,"a":1}`, false, `key "a" occurs twice`},
		{`{"bos_token":"<nowhere>"}`, false, `bos_token: "<nowhere>" is not in the vocabulary`},
		{`{"bos_token":7}`, false, `bos_token: want a token`},
		{`{"bos_token":{"content":"<mask>","lstrip":false}}`, false, `bos_token.lstrip: false contradicts tokenizer.json`},
		{`{"add_prefix_space":true}`, false, `add_prefix_space: true contradicts`},
		{`{"split_special_tokens":true}`, true, `split_special_tokens: true`},
		{`{"fix_mistral_regex":true}`, true, `fix_mistral_regex: true`},
		{`{"chat_template":7}`, false, `chat_template: want a string or a list, found a number`},
		{`{"chat_template":[{"name":"default"}]}`, false, `template: want a string, found null`},
		{`{"added_tokens_decoder":{"1":{"content":"<other>"}}}`, false, `added_tokens_decoder.1: <other> contradicts`},
		{`{"added_tokens_decoder":{"999":{"content":"<|begin|>"}}}`, false, `added_tokens_decoder.999`},
		{`{"added_tokens_decoder":{"400":{"content":"<mask>","lstrip":false}}}`, false, `added_tokens_decoder.400.lstrip`},
		{`{"added_tokens_decoder":[]}`, false, `want an object, found an array`},
	} {
		checkError(t, parsed(t, "added").ApplyConfig([]byte(c.in)), c.unsupported, c.want)
	}
}

// seeds returns complete tokenizers of a few hundred bytes. Fuzzing would be too slow with
// those of testdata.
func seeds(f *testing.F) [][]byte {
	var all [][]byte
	for _, pre := range []string{byteLevel, `{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},` +
		`{"type":"Split","pattern":{"Regex":` + string(quote(llama3Head+`\p{N}`+llama3Tail)) + `},"behavior":"Isolated","invert":false},` +
		byteLevel + `]}`} {
		for _, post := range []string{`null`, `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}},` +
			`{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"x":{"id":"x","ids":[3],"tokens":["x"]}}}`} {
			for _, merges := range []string{`["a b"]`, `[["a","b"]]`} {
				b := []byte(`{"version":"1.0","added_tokens":[{"id":4,"content":"x","single_word":true,"lstrip":true,"rstrip":true,"normalized":false,"special":true}],` +
					`"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"\u0120":3},"merges":` + merges + `,"ignore_merges":true},` +
					`"decoder":` + byteLevel + `,"pre_tokenizer":` + pre + `,"post_processor":` + post + `}`)
				if _, err := ParseJSON(b); err != nil {
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
		if _, err := ParseJSON(b); err != nil {
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
		d, err := ParseJSON(b)
		if err != nil {
			return
		}
		enc, err := d.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeData(enc)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := New(d)
		tok2, err2 := New(back)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("New returns %v, after a round trip %v", err, err2)
		}
		const text = "Hello  world 123\r\n<|end|> ab"
		if err == nil && !slices.Equal(tok.Encode(text, true), tok2.Encode(text, true)) {
			t.Fatal("ids change in a round trip")
		}
	})
}

// ApplyConfig returns a one-line error, or leaves Data that New rejects or whose Tokenizer
// does not panic.
func FuzzApplyConfig(f *testing.F) {
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
		d, err := ParseJSON(bases[int(base)%len(bases)])
		if err != nil {
			t.Fatal(err)
		}
		if err := d.ApplyConfig(text); err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("error has control characters: %q", err)
			}
			return
		}
		if tok, err := New(d); err == nil {
			tok.Decode(tok.Encode("Hello  world 123\r\n<|end|> ab", true))
		}
	})
}

func FuzzDecodeData(f *testing.F) {
	for _, b := range seeds(f) {
		d, err := ParseJSON(b)
		if err != nil {
			f.Fatal(err)
		}
		if b, err = d.MarshalBinary(); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeData(b)
		if err != nil {
			return
		}
		if tok, err := New(d); err == nil {
			tok.Decode(tok.Encode("Hello  world 123\r\n<|end|>\xff", true))
		}
	})
}

func FuzzEncode(f *testing.F) {
	var texts []string
	readJSON(f, testdata("strings.json"), &texts)
	for _, s := range texts {
		f.Add(s)
	}
	var all []*Tokenizer
	for _, name := range lossless {
		all = append(all, open(f, testdata(name+".json")))
	}
	others := []*Tokenizer{open(f, testdata("added.json"))}
	for _, name := range []string{"llama2", "metaspace", "unfused", "nfc", "unigram", "unigram-bytes"} {
		others = append(others, open(f, testdata(name+".json")))
	}
	for _, name := range pieceModels {
		others = append(others, openPieces(f, name))
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, tok := range others {
			tok.Decode(tok.Encode(s, true))
		}
		for i, tok := range all {
			ids := tok.Encode(s, false)
			if got := string(tok.Decode(ids)); got != s {
				t.Fatalf("%s: %q is decoded as %q", lossless[i], s, got)
			}
		}
	})
}
