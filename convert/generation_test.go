package convert

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/convert/config"
	"thimble/internal/checkpoint"
	"thimble/internal/model"
)

// Any generation_config.json is refused in one line, or read into values that can be stored.
func FuzzGeneration(f *testing.F) {
	for _, text := range []string{
		`{"do_sample":true,"temperature":0.7,"top_k":20,"top_p":0.8,"repetition_penalty":1.1,"eos_token_id":[1,2]}`,
		`{"temperature":1e308,"top_k":-5,"eos_token_id":99}`, `{"top_k":1e300,"temperature":1}`, `{"eos_token_id":[[]]}`, `[]`, `{"temperature":1,"temperature":2}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "generation_config.json"), text, 0o666); err != nil {
			t.Fatal(err)
		}
		d, err := checkpoint.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, s := &model.Model{}, &model.Spec{Vocab: 10, EOS: []int{1}}
		if err := readGeneration(m, s, &config.Config{}, d); err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("not one clean line: %q", err)
			}
			return
		}
		if err := m.Generation.Check(); err != nil {
			t.Error(err)
		}
		for _, id := range s.EOS {
			if id < 0 || id >= s.Vocab {
				t.Errorf("end token %d of %d", id, s.Vocab)
			}
		}
	})
}
