package gguf

import (
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
)

// A byte-level vocabulary without the key of merges would spell every text in single bytes, so
// llama.cpp refuses it.
func TestMergesMissing(t *testing.T) {
	d := byteLevel(t)
	_, err := opened(t, d.bytes()).Tokenizer()
	if want := "tokenizer.ggml.merges: is missing, and without it every text would be spelled in single characters"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// byteLevel is a file of another program with GPT-2's kind of vocabulary.
func byteLevel(t *testing.T) *draft {
	_, data := write(t, withTokenizer(t, merged()))
	d := draftOf(t, data)
	foreign(d)
	d.set("tokenizer.ggml.token_type", nil)
	d.set("tokenizer.ggml.model", "gpt2")
	d.set("tokenizer.ggml.pre", "gpt-2")
	return d
}

// foreign makes d a file of another program, as far as its tokenizer goes.
func foreign(d *draft) {
	d.keys = slices.DeleteFunc(d.keys, func(k draftKey) bool { return strings.HasPrefix(k.name, "thimble.tokenizer.") })
}

// llama.cpp lets the special tokens of a model called Phi-3 take the white space after them.
func TestPhi3Strips(t *testing.T) {
	for name, want := range map[string][]int{"Phi 2": {2, 262, 264}, "Phi-3-mini": {2, 264}} {
		_, data := write(t, withTokenizer(t, pieces()))
		d := draftOf(t, data)
		foreign(d)
		d.set("tokenizer.ggml.add_space_prefix", false)
		d.set("general.name", name)
		data2, err := opened(t, d.bytes()).Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.New(data2)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Encode("</s> b", false); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
