package transformer_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"thimble/convert"
	"thimble/internal/transformer"
)

const familiesGolden = "testdata/families.sha256"

// TestFamilies is TestReference for the smallest fixtures, one of each architecture that is
// not Llama's kin.
func TestFamilies(t *testing.T) {
	golden, got := readGolden(t, familiesGolden), map[string]string{}
	folders, err := os.ReadDir(filepath.Join(fixtures, "families"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	var names []string
	for _, f := range folders {
		names = append(names, f.Name())
		t.Run(f.Name(), func(t *testing.T) {
			dir := filepath.Join(fixtures, "families", f.Name())
			m, err := convert.Open(dir, convert.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			want, prompts := referenceLogits(t, filepath.Join(dir, "reference.safetensors"), m.Spec.Vocab)
			h := sha256.New()
			for i, p := range prompts {
				logits := runEveryWay(t, m, transformer.Arithmetic{}, p)
				compare(t, i, logits, want[i], m.Spec.Vocab)
				if err := binary.Write(h, binary.LittleEndian, logits); err != nil {
					t.Fatal(err)
				}
			}
			got[f.Name()] = fmt.Sprintf("%x", h.Sum(nil))
			if !*update && got[f.Name()] != golden[f.Name()] {
				t.Errorf("logits hash to %s, want %s: the arithmetic changed, or differs on this machine", got[f.Name()], golden[f.Name()])
			}
		})
	}
	if *update {
		writeGolden(t, familiesGolden, names, got)
	}
}
