package gguf

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/gguf/vocab"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

// gemma is a tokenizer.json like Gemma's: no first space, and runs of spaces and of line
// feeds as added tokens, which merges would make too, in an order that scores cannot
// express.
func gemma() *tokenizer.Data {
	d := merged()
	d.Normalizer, d.Steps = d.Normalizer[1:], []tokenizer.Step{tokenizer.StepAfterSpace}
	for i, run := range []string{"▁▁", "▁▁▁", "\n", "\n\n", "<tag>"} {
		d.Tokens = append(d.Tokens, []byte(run))
		if run != "\n" {
			d.Added = append(d.Added, tokenizer.Added{ID: uint32(265 + i), Content: run})
		}
	}
	d.Merges = append([]uint32{265, 262, 262, 262, 262, 265, 267, 267}, d.Merges...)
	return d
}

func gemmaModel(t *testing.T, rows int) *model.Model {
	m := filled(t, func() model.Spec { s := specs()["llama"]; s.Vocab, s.BOS, s.EOS = rows, 1, []int{2}; return s }())
	d := gemma()
	m.Tokenizer = func() (*tokenizer.Data, error) { return d, nil }
	return m
}

// Files of llama.cpp's converter have no key of ours; it cuts user-defined tokens out of the
// raw text in either case.
func TestRunsOfSpaces(t *testing.T) {
	_, data := write(t, gemmaModel(t, 270))
	f := parse(t, data)
	tokens, types := f.keys["tokenizer.ggml.tokens"].([]any), f.keys["tokenizer.ggml.token_type"].([]any)
	if tokens[265] != "  " || tokens[268] != "\n\n" || types[265] != int32(vocab.User) {
		t.Errorf("runs are %q and %q, of type %v", tokens[265], tokens[268], types[265])
	}
	for name, foreign := range map[string]bool{"ours": false, "llama.cpp's": true} {
		g := draftOf(t, data)
		if foreign {
			g.set("thimble.tokenizer.cut", nil)
			g.set("thimble.tokenizer.tokens", nil)
		}
		m := opened(t, g.bytes())
		sameIDs(t, name, gemma(), m, "a  b", "a   b    a", "   ", "a\n\nb", "a<tag> b", "ab  ab<tag>  <tag>\n\n\n")
		back, err := m.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.New(back)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := tok.Encode("a  b", true), []int{1, 263, 265, 264}; !slices.Equal(got, want) {
			t.Errorf("%s: ids %v, want %v", name, got, want)
		}
		if got := string(tok.Decode([]int{263, 265, 264})); got != "a  b" {
			t.Errorf("%s: decodes to %q", name, got)
		}
	}
}

// A symbol of sentencepiece is spelled with spaces too, and comes back as a symbol.
func TestSymbolsOfSpaces(t *testing.T) {
	d := pieces()
	d.SentencePiece.DummyPrefix = false
	d.Tokens, d.Kinds, d.Scores = append(d.Tokens, []byte("▁▁")), append(d.Kinds, tokenizer.KindUserDefined), append(d.Scores, 0)
	_, data := write(t, withTokenizer(t, d))
	m := opened(t, data)
	if tokens := parse(t, data).keys["tokenizer.ggml.tokens"].([]any); tokens[265] != "  " {
		t.Errorf("the symbol is %q", tokens[265])
	}
	sameIDs(t, "symbols", d, m, "a  b", "a   b", "    ab  ")
	back, err := m.Tokenizer()
	if err != nil || string(back.Tokens[265]) != "▁▁" || back.Kinds[265] != tokenizer.KindUserDefined {
		t.Errorf("it comes back as %q, %v", back.Tokens[265], err)
	}
}

// llama.cpp assumes id 0 if nothing names the unknown token.
func TestUnknownTokenUnnamed(t *testing.T) {
	d := pieces()
	_, data := write(t, withTokenizer(t, d))
	f := draftOf(t, data)
	types := make([]int32, len(d.Kinds)+1)
	for id, kind := range d.Kinds {
		types[id] = int32(kind)
	}
	types[0], types[len(d.Kinds)] = vocab.Control, vocab.Unused
	f.set("tokenizer.ggml.token_type", types)
	f.set("tokenizer.ggml.unknown_token_id", nil)
	back, err := opened(t, f.bytes()).Tokenizer()
	if err != nil || back.Unk != 0 {
		t.Fatalf("unknown token %v, %v, want 0", back, err)
	}
}

// A token without a row is left out, with a note, if it is an added one.
func TestMoreTokensThanRows(t *testing.T) {
	m := gemmaModel(t, 269)
	e, data := write(t, m)
	if tokens := parse(t, data).keys["tokenizer.ggml.tokens"].([]any); len(tokens) != 269 {
		t.Errorf("%d tokens", len(tokens))
	}
	if !slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, "the last 1 tokens have no row") }) {
		t.Errorf("notes are %q", e.Notes)
	}
	if !slices.ContainsFunc(m.Remarks(), func(n string) bool { return strings.Contains(n, "270 tokens, the embedding 269 rows") }) {
		t.Errorf("remarks are %q", m.Remarks())
	}
	if _, err := exporter.Plan(gemmaModel(t, 268), export.Options{}); err != nil { // without the merge that makes token 268
		t.Error(err)
	}
	for rows, want := range map[int]string{266: "lacks that of token 267", 265: "lacks that of token 267"} {
		if _, err := exporter.Plan(gemmaModel(t, rows), export.Options{}); !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d rows: %v, want %q", rows, err, want)
		}
	}
}
