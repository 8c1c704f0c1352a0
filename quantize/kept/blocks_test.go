package kept

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/journal"
	"thimble/quantize"
)

// Any head of a journal is read or refused in one line, and never makes a run continue that has
// other facts.
func FuzzReadHead(f *testing.F) {
	for _, v := range []any{runHead{Recipe: "scheme: int4/g32"}, 5, map[string]any{"facts": []any{}, "x": 1}, map[string]any{"facts": map[string]any{"a": []any{[]any{}}}}} {
		text, err := cbor.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "out"+Suffix)
		j := journal.New(path, false, func() ([]byte, error) { return text, nil })
		if err := j.Append([]byte("part")); err != nil {
			t.Fatal(err)
		}
		j.Close()
		j, err := journal.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		h, err := readHead(j)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("not one clean line: %q", err)
			}
			return
		}
		if _, err := quantize.ParseRecipe([]byte(h.Recipe)); err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("not one clean line: %q", err)
		}
	})
}
