package quantizetest

import (
	"maps"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Rounded returns m with its matrices and its vectors rounded to nearest in the given schemes;
// "" keeps them. It shares the tensors that it keeps.
func Rounded(t *testing.T, m *model.Model, matrices, vectors string) *model.Model {
	t.Helper()
	q := *m
	q.Tensors = maps.Clone(m.Tensors)
	var rounder qtensor.Rounder
	var reader qtensor.Reader
	for _, slot := range m.Spec.Slots() {
		name := matrices
		if slot.Role == model.Vector {
			name = vectors
		}
		if name == "" {
			continue
		}
		s, err := qtensor.ParseScheme(name)
		if err != nil {
			t.Fatal(err)
		}
		w, err := qtensor.New(s, slot.Rows, slot.Cols)
		if err != nil {
			t.Fatal(err)
		}
		row := make([]float32, slot.Cols)
		for r := range slot.Rows {
			reader.Row(row, m.Tensors[slot.Name], r)
			if err := rounder.Row(w, r, row); err != nil {
				t.Fatal(err)
			}
		}
		q.Tensors[slot.Name] = w
	}
	return &q
}
