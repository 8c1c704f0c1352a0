package transformer_test

import (
	"path/filepath"
	"slices"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// Gates of the outputs of attention work in blocks of different sizes, in those without keys of
// their own, and in those whose values are their keys. Gates of 0 halve the outputs, which O may
// double: the logits are then those without gates.
func TestGatesOfBlocks(t *testing.T) {
	for _, dir := range []string{"families/gemma4", "families/gemma4-dense"} {
		m, err := convert.Open(filepath.Join(fixtures, dir), convert.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		want := promptAndNext(t, m)
		m.Spec.AttnGate = true
		for _, slot := range m.Spec.Slots() {
			switch _, kind, _ := model.SplitName(slot.Name); kind {
			case model.O:
				m.Tensors[slot.Name] = times(t, slot, m.Tensors[slot.Name], 2)
			case model.AttnGate:
				m.Tensors[slot.Name] = times(t, slot, nil, 0)
			}
		}
		if !slices.Equal(promptAndNext(t, m), want) {
			t.Errorf("%s: gates of 0 and a doubled O change the logits", dir)
		}
	}
}

// promptAndNext returns the logits of four tokens fed at once and two fed one by one.
func promptAndNext(t *testing.T, m *model.Model) []float32 {
	t.Helper()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	ids, v := []int{5, 6, 7, 8, 9, 10}, m.Spec.Vocab
	c, err := d.NewCache(len(ids))
	if err != nil {
		t.Fatal(err)
	}
	h, err := d.Forward(t.Context(), c, ids[:4])
	if err != nil {
		t.Fatal(err)
	}
	logits := make([]float32, 6*v)
	if err := h.Logits(t.Context(), logits, 0, 4); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids[4:] {
		if err := d.Next(t.Context(), c, id, logits[(4+i)*v:]); err != nil {
			t.Fatal(err)
		}
	}
	return logits
}

// times returns a matrix for slot: w times a factor, or zeros without w.
func times(t *testing.T, slot model.Slot, w *qtensor.Matrix, factor float32) *qtensor.Matrix {
	t.Helper()
	out, err := qtensor.New(qtensor.Scheme{Kind: qtensor.F32}, slot.Rows, slot.Cols)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float32, slot.Cols)
	var read qtensor.Reader
	for r := range slot.Rows {
		if w != nil {
			read.Row(row, w, r)
		}
		for i := range row {
			row[i] *= factor
		}
		if err := out.SetFloats(r, row); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
