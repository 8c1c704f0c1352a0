package gguf

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// turnedBack returns m, whose heads of dim rows, or values of a vector, are interleaved, in the
// model's order.
func turnedBack(m *qtensor.Matrix, dim int, role model.Role) *qtensor.Matrix {
	t := &tensorInfo{data: m.Codes, kind: ggmlType{scheme: m.Scheme}, rows: m.Rows, cols: m.Cols}
	return t.arranged(model.Slot{Rows: m.Rows, Cols: m.Cols, Role: role}, place{}, order{rows: swap{outer: 2, inner: dim / 2, unit: 1}})
}

// Interleaved heads are read in order, whatever stores them.
func TestHeads(t *testing.T) {
	const dim, n, cols = 6, 2, 32
	for _, s := range []qtensor.Scheme{{Kind: qtensor.F32}, {Kind: qtensor.BF16}, qtensor.Q4_1.Foreign()} {
		m, err := qtensor.New(s, dim*n, cols)
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Codes {
			m.Codes[i] = byte(i % 61)
		}
		turned := turnedBack(m, dim, model.Linear)
		if err := turned.Check(); err != nil {
			t.Fatal(err)
		}
		var d qtensor.Reader
		a, b := make([]float32, cols), make([]float32, cols)
		for h := range n {
			for j := range 2 {
				for i := range dim / 2 {
					r := h*dim + j*dim/2 + i
					d.Row(a, turned, r)
					if d.Row(b, m, h*dim+2*i+j); !slices.Equal(a, b) {
						t.Fatalf("%v: row %d is %v, stored %v", s, r, a, b)
					}
				}
			}
		}
	}
}

func TestHeadsOfBias(t *testing.T) {
	for _, kind := range []qtensor.Kind{qtensor.F32, qtensor.F16} {
		m, err := qtensor.New(qtensor.Scheme{Kind: kind}, 1, 8)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.SetFloats(0, []float32{0, 2, 1, 3, 4, 6, 5, 7}); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, 8)
		turned := turnedBack(m, 4, model.Vector)
		new(qtensor.Reader).Row(got, turned, 0)
		for i, v := range got {
			if v != float32(i) {
				t.Errorf("%v: value %d is %v", m.Scheme, i, v)
			}
		}
		if kind == qtensor.F32 {
			binary.LittleEndian.PutUint32(m.Codes[4*5:], math.Float32bits(float32(math.Inf(1))))
			if c := new(qtensor.Reader).NonFinite(turned, 0); c != 6 {
				t.Errorf("column %d is not finite, want 6", c)
			}
		}
	}
}
