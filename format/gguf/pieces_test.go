package gguf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/gguf/vocab"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

// pieces is a tokenizer of sentencepiece with byte fallback. "ab" and "▁ab" merge
// from a, b and "▁", the second in two ways.
func pieces() *tokenizer.Data {
	d := &tokenizer.Data{
		Model: tokenizer.SentencePieceBPE, BOS: 1, EOS: 2, Pad: -1, Unk: 0, Prefix: []uint32{1}, ByteFallback: true, Unknown: tokenizer.UnknownEach,
		SentencePiece: &tokenizer.SentencePiece{DummyPrefix: true},
	}
	add := func(token string, kind byte, score float64) {
		d.Tokens, d.Kinds, d.Scores = append(d.Tokens, []byte(token)), append(d.Kinds, kind), append(d.Scores, score)
	}
	add("<unk>", tokenizer.KindUnknown, 0)
	add("<s>", tokenizer.KindControl, 0)
	add("</s>", tokenizer.KindControl, 0)
	for b := range 256 {
		add(fmt.Sprintf("<0x%02X>", b), tokenizer.KindByte, 0)
	}
	for i, token := range []string{"ab", "▁ab", "▁a", "▁", "a", "b"} {
		add(token, tokenizer.KindNormal, -float64(i))
	}
	return d
}

// merged is the same tokenizer in the form of a tokenizer.json.
func merged() *tokenizer.Data {
	d := pieces()
	d.Model, d.SentencePiece, d.Kinds, d.Scores = tokenizer.BPE, nil, nil, nil
	d.Normalizer = []tokenizer.Rule{{Op: tokenizer.OpPrepend, New: "▁"}, {Op: tokenizer.OpReplace, Old: " ", New: "▁"}}
	d.Added = []tokenizer.Added{{ID: 0, Content: "<unk>", Special: true}, {ID: 1, Content: "<s>", Special: true}, {ID: 2, Content: "</s>", Special: true}}
	d.Merges = []uint32{263, 264, 262, 259, 261, 264, 262, 263} // a b, ▁ ab, ▁a b, ▁ a
	return d
}

func withTokenizer(t *testing.T, d *tokenizer.Data) *model.Model {
	m := filled(t, func() model.Spec { s := specs()["llama"]; s.Vocab, s.BOS, s.EOS = 266, 1, []int{2}; return s }())
	m.Tokenizer = func() (*tokenizer.Data, error) { return d, nil }
	return m
}

// Both forms of one tokenizer are llama.cpp's "llama", whose scores merge in the
// same order.
func TestPieces(t *testing.T) {
	for name, d := range map[string]*tokenizer.Data{"sentencepiece": pieces(), "json": merged()} {
		_, data := write(t, withTokenizer(t, d))
		f := parse(t, data)
		for key, want := range map[string]any{
			"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default", "tokenizer.ggml.add_space_prefix": true, "tokenizer.ggml.merges": nil,
			"tokenizer.ggml.bos_token_id": uint32(1), "tokenizer.ggml.unknown_token_id": uint32(0), "tokenizer.ggml.add_bos_token": true, "tokenizer.ggml.remove_extra_whitespaces": nil,
		} {
			if got := f.keys[key]; got != want {
				t.Errorf("%s: %s is %v, want %v", name, key, got, want)
			}
		}
		tokens, types, scores := f.keys["tokenizer.ggml.tokens"].([]any), f.keys["tokenizer.ggml.token_type"].([]any), f.keys["tokenizer.ggml.scores"].([]any)
		if len(tokens) != 266 || len(types) != 266 || len(scores) != 266 || tokens[13] != "<0x0A>" || tokens[260] != "▁ab" || tokens[265] != "[PAD265]" {
			t.Fatalf("%s: %d tokens, %d types, %d scores", name, len(tokens), len(types), len(scores))
		}
		for id, want := range map[int]int32{0: vocab.Unknown, 1: vocab.Control, 2: vocab.Control, 3: vocab.Byte, 258: vocab.Byte, 259: vocab.Normal, 264: vocab.Normal, 265: vocab.Unused} {
			if types[id] != want {
				t.Errorf("%s: type of token %d is %v, want %d", name, id, types[id], want)
			}
		}
		ab, low, lowest := scores[259].(float32), scores[260].(float32), scores[261].(float32)
		if !(ab > low && low > lowest) {
			t.Errorf("%s: scores are %v, %v, %v", name, ab, low, lowest)
		}
	}
}

// llama.cpp's converter writes the <unk> of Mistral's directories as a control token, without
// the key of its id: llama.cpp then takes token 0.
func TestNoUnknownID(t *testing.T) {
	_, data := write(t, withTokenizer(t, pieces()))
	d := draftOf(t, data)
	types := slices.Repeat([]int32{vocab.Normal}, 266)
	copy(types, []int32{vocab.Control, vocab.Control, vocab.Control})
	for b := range 256 {
		types[3+b] = vocab.Byte
	}
	types[265] = vocab.Unused
	d.set("tokenizer.ggml.token_type", types)
	d.set("tokenizer.ggml.unknown_token_id", nil)
	got, err := opened(t, d.bytes()).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if got.Unk != 0 {
		t.Errorf("the unknown token is %d, want 0", got.Unk)
	}
}

// Gemma adds no first space; unigram models are "t5".
func TestPiecesOfOthers(t *testing.T) {
	d := merged()
	d.Normalizer, d.Steps = d.Normalizer[1:], []tokenizer.Step{tokenizer.StepAfterSpace}
	_, data := write(t, withTokenizer(t, d))
	if f := parse(t, data); f.keys["tokenizer.ggml.add_space_prefix"] != false {
		t.Error("a first space")
	}
	d = pieces()
	d.Model, d.ByteFallback = tokenizer.SentencePieceUnigram, false
	for id := range d.Kinds {
		if d.Kinds[id] == tokenizer.KindByte {
			d.Kinds[id] = tokenizer.KindNormal
		}
	}
	e, data := write(t, withTokenizer(t, d))
	if f := parse(t, data); f.keys["tokenizer.ggml.model"] != "t5" || f.keys["tokenizer.ggml.remove_extra_whitespaces"] != false {
		t.Error("not t5, or it removes spaces")
	}
	if !slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, "consists of spaces") }) {
		t.Errorf("notes are %q", e.Notes)
	}
}

func TestPiecesRefused(t *testing.T) {
	for want, change := range map[string]func() *tokenizer.Data{
		"removes white space in GGUF":        func() *tokenizer.Data { d := pieces(); d.SentencePiece.RemoveExtra = true; return d },
		"keeps spaces or appends one":        func() *tokenizer.Data { d := pieces(); d.SentencePiece.Suffix = true; return d },
		"a unigram tokenizer with byte f":    func() *tokenizer.Data { d := pieces(); d.Model = tokenizer.SentencePieceUnigram; return d },
		`"bpe" without byte fallback`:        func() *tokenizer.Data { d := merged(); d.ByteFallback = false; return d },
		"merge 2, whose order scores cannot": func() *tokenizer.Data { d := merged(); d.Merges = []uint32{263, 264, 262, 263, 263, 264}; return d },
		"token 260, which 1 of 2 pairs":      func() *tokenizer.Data { d := merged(); d.Merges = []uint32{263, 264, 262, 259, 262, 263}; return d },
		`"bpe" with ignore_merges`:           func() *tokenizer.Data { d := merged(); d.IgnoreMerges = true; return d },
		"with normalizer [nfc] and steps": func() *tokenizer.Data {
			d := merged()
			d.Normalizer = []tokenizer.Rule{{Op: tokenizer.OpNFC}}
			return d
		},
		`added token "<s>", which strips white`: func() *tokenizer.Data { d := merged(); d.Added[1].LStrip = true; return d },
	} {
		if _, err := exporter.Plan(withTokenizer(t, change()), export.Options{}); !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Qwen's tokenizer composes characters, which llama.cpp does not: a note.
func TestNFC(t *testing.T) {
	m := tiny(t, "f32")
	d, _ := m.Tokenizer()
	d.Normalizer = []tokenizer.Rule{{Op: tokenizer.OpNFC}}
	e, err := exporter.Plan(m, export.Options{})
	if err != nil || !slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, "NFC") }) {
		t.Errorf("notes are %q, %v", e.Notes, err)
	}
}
