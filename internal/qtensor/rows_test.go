package qtensor

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Rows has the values of Row, for schemes whose rows join and for others.
func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var rounder Rounder
	var reader Reader
	for _, text := range []string{"int8/g32", "int8/row", "int4/g32/asym", "int5/g16", "int4/g32", "int5/g16/s4", "int3/row", "f32", "f16", "bf16"} {
		s, err := ParseScheme(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, cols := range []int{64, 80, 5} {
			m, err := New(s, 9, cols)
			if err != nil {
				t.Fatal(err)
			}
			for row := range m.Rows {
				x := make([]float32, cols)
				for i := range x {
					x[i] = float32(r.NormFloat64())
				}
				if s.Kind == Int {
					err = rounder.Row(m, row, x)
				} else {
					err = m.SetFloats(row, x)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, stride := range []int{cols, cols + 3} {
				const from, n = 2, 5
				got, want := slices.Repeat([]float32{7}, n*stride), make([]float32, n*stride)
				for i := range n {
					reader.Row(want[i*stride:], m, from+i)
				}
				reader.Rows(got, stride, m, from, n)
				if !slices.Equal(got, want) {
					t.Errorf("%s, %d columns, stride %d: %v, want %v", text, cols, stride, got, want)
				}
			}
		}
	}
}
