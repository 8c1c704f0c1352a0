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
		ids, v := []int{5, 6, 7, 8, 9, 10}, m.Spec.Vocab
		run := func() []float32 {
			t.Helper()
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			d, err := transformer.New(m)
			if err != nil {
				t.Fatal(err)
			}
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
		want := run()
		m.Spec.AttnGate = true
		var read qtensor.Reader
		for _, slot := range m.Spec.Slots() {
			_, kind, _ := model.SplitName(slot.Name)
			if kind != model.AttnGate && kind != model.O {
				continue
			}
			w, err := qtensor.New(qtensor.Scheme{Kind: qtensor.F32}, slot.Rows, slot.Cols)
			if err != nil {
				t.Fatal(err)
			}
			row := make([]float32, slot.Cols)
			for r := range slot.Rows {
				if kind == model.O {
					read.Row(row, m.Tensors[slot.Name], r)
				}
				for i := range row {
					row[i] *= 2
				}
				if err := w.SetFloats(r, row); err != nil {
					t.Fatal(err)
				}
			}
			m.Tensors[slot.Name] = w
		}
		if !slices.Equal(run(), want) {
			t.Errorf("%s: gates of 0 and a doubled O change the logits", dir)
		}
	}
}
