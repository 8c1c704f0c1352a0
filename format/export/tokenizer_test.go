package export

import (
	"os"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/tokenfile"
)

// A model of sentencepiece becomes the two files; one that they cannot express is refused, and a
// model without a tokenizer has a note and no files.
func TestTokenizerFiles(t *testing.T) {
	s := &model.Spec{Vocab: 700, Context: 32}
	for name, want := range map[string]string{"llama": "", "unigram-bytes": "by graphemes", "bpe-suffix": "a space that it adds after a text"} {
		text, err := os.ReadFile("../../internal/tokenizer/testdata/sp-" + name + ".model")
		if err != nil {
			t.Fatal(err)
		}
		m := &model.Model{Path: "m", Tokenizer: func() (*tokenizer.Data, error) { return tokenfile.ParseSentencePiece(text) }}
		d, notes, err := Tokenizer(m, "x")
		if err != nil || len(notes) > 0 {
			t.Fatal(notes, err)
		}
		parts, notes, err := TokenizerFiles(m, d, s)
		if said := strings.Join(notes, "\n"); err == nil && (len(parts) != 2 || parts[0].Name != TokenizerFile || !strings.Contains(said, want)) {
			t.Errorf("%s: %d files, notes %q, want %q", name, len(parts), said, want)
		} else if err != nil && (want == "" || !strings.HasPrefix(err.Error(), "m: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	d, notes, err := Tokenizer(&model.Model{}, "the program can run these files")
	if d != nil || err != nil || len(notes) != 1 || notes[0] != "there is no tokenizer: the program can run these files" {
		t.Errorf("%v, %q, %v", d, notes, err)
	}
	if parts, notes, err := TokenizerFiles(&model.Model{}, nil, s); parts != nil || notes != nil || err != nil {
		t.Errorf("%v, %q, %v; want nothing", parts, notes, err)
	}
}

func TestPad(t *testing.T) {
	s := &model.Spec{Vocab: 10}
	for _, c := range []struct {
		d    *tokenizer.Data
		want int
	}{{nil, -1}, {&tokenizer.Data{Pad: -1}, -1}, {&tokenizer.Data{Pad: 9}, 9}, {&tokenizer.Data{Pad: 10}, -1}} {
		if got := Pad(c.d, s); got != c.want {
			t.Errorf("%d, want %d", got, c.want)
		}
	}
}
