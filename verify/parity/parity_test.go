package parity_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/verify/parity"
)

// architectures lists a fixture of each family.
var architectures = []string{"llama-biases", "llama3-rope", "mobilellm", "mobilellm-ls", "ragged", "mistral", "qwen2", "qwen3", "phi", "gemma3", "llama4"}

func openFixture(t *testing.T, dir string) *model.Model {
	t.Helper()
	m, err := convert.Open(filepath.Join("../../fixtures", dir), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func someIDs(m *model.Model, n int) []int {
	r := rand.New(rand.NewPCG(2, 1))
	ids := make([]int, n)
	for i := range ids {
		ids[i] = r.IntN(m.Spec.Vocab)
	}
	return ids
}

// broken returns a copy of m with its tensors in float32, modified by change.
func broken(t *testing.T, m *model.Model, change func(c *model.Model)) *model.Model {
	t.Helper()
	c := *m
	c.Tensors = map[string]*qtensor.Matrix{}
	var reader qtensor.Reader
	for name, w := range m.Tensors {
		out, err := qtensor.New(qtensor.Scheme{}, w.Rows, w.Cols)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, w.Cols)
		for r := range w.Rows {
			reader.Row(x, w, r)
			if err := out.SetFloats(r, x); err != nil {
				t.Fatal(err)
			}
		}
		c.Tensors[name] = out
	}
	change(&c)
	return &c
}

func locate(t *testing.T, want, got *model.Model) *parity.Divergence {
	t.Helper()
	d, err := parity.Locate(t.Context(), want, got, someIDs(want, min(want.Spec.Context, 40)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A model does not diverge from itself, however its floats are stored.
func TestLocateNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	for _, dir := range architectures {
		m := openFixture(t, dir)
		for _, c := range []*model.Model{m, broken(t, m, func(*model.Model) {})} {
			if d := locate(t, m, c); d != nil {
				t.Errorf("%s diverges from itself: %+v", dir, d)
			}
		}
	}
}
