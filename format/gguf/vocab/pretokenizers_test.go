package vocab

import (
	"slices"
	"testing"

	"thimble/internal/tokenizer"
)

// Every entry is valid, its names are its own, and it comes back from a file.
func TestPreTokenizers(t *testing.T) {
	seen := map[string]bool{}
	for i, p := range preTokenizers {
		for _, name := range p.Names {
			if seen[name] || PreTokenizerNamed(name) != &preTokenizers[i] {
				t.Errorf("%q is listed twice", name)
			}
			seen[name] = true
		}
		d := &tokenizer.Data{Model: tokenizer.ByteLevelBPE, Tokens: [][]byte{[]byte("a")}, Steps: p.Steps, IgnoreMerges: p.IgnoreMerges, BOS: -1, EOS: -1, Pad: -1, Unk: -1}
		if _, err := tokenizer.New(d); err != nil {
			t.Errorf("%s: %v", p.Names[0], err)
		}
		if found := PreTokenizerOf(d); found == nil || found.IgnoreMerges != p.IgnoreMerges || !slices.Equal(found.Steps, p.Steps) {
			t.Errorf("%s: export finds %v", p.Names[0], found)
		}
	}
	if len(seen) < 75 {
		t.Errorf("%d names", len(seen))
	}
}
