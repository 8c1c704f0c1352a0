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
		d.ChatTemplate, d.ToolTemplate = "{{ messages }}", "{{ tools }}"
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
		{"too long", make([]byte, MaxFile+1)},
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
		{"added many", func(d *Data) { d.Added = make([]Added, MaxAdded+1) }, false, `65537 entries`},
		{"bos", func(d *Data) { d.BOS = 400 }, false, `bos: id 400`},
		{"unk", func(d *Data) { d.Unk = -2 }, false, `unk: id -2`},
		{"prefix", func(d *Data) { d.Prefix = []uint32{400} }, false, `template: id 400`},
		{"suffix", func(d *Data) { d.Suffix = make([]uint32, 99) }, false, `more than 16 ids`},
		{"tools", func(d *Data) { d.ToolTemplate = strings.Repeat("x", maxTemplate+1) }, false, `tool_template`},
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
		{"long token", func(d *Data) { d.Tokens[9] = make([]byte, MaxPiece+1) }, false, `token 9 has 65537 bytes`},
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

func FuzzDecodeData(f *testing.F) {
	tokens := [][]byte{[]byte("a"), []byte("b"), []byte("ab"), []byte("\u2581"), []byte("x")}
	for _, d := range []*Data{
		{Model: ByteLevelBPE, Tokens: tokens, Merges: []uint32{0, 1}, IgnoreMerges: true, Steps: []Step{StepDigit, StepQwen2},
			Added: []Added{{ID: 4, Content: "x", Special: true, SingleWord: true, LStrip: true}}, Literal: []uint32{4}, Prefix: []uint32{3}},
		{Model: BPE, Tokens: tokens, Merges: []uint32{0, 1}, Unknown: UnknownRun, Normalizer: []Rule{{Op: OpNFKC}, {Op: OpPrepend, New: mark}},
			Steps: []Step{StepEscape, StepMarkFirst}, Decoder: []Rule{{Op: OpReplace, Old: mark, New: " "}, {Op: OpBytes}, {Op: OpStrip, Old: " "}}},
		{Model: Unigram, Tokens: tokens, Scores: []float64{-1, -2, -2.5, -3, -9}, Unknown: UnknownRun, ByteFallback: true},
	} {
		b, err := d.MarshalBinary()
		if err != nil {
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
