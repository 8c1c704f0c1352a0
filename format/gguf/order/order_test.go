package order

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"thimble/internal/qtensor"
)

// turnedBack returns m, whose heads of dim rows, or values of a vector, are interleaved, in the
// model's order.
func turnedBack(m *qtensor.Matrix, dim int, vector bool) *qtensor.Matrix {
	return Order{Rows: Swap{Outer: 2, Inner: dim / 2, Unit: 1}}.Matrix(m, m.Codes, vector)
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
		turned := turnedBack(m, dim, false)
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
		turned := turnedBack(m, 4, true)
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

// Rows of two tensors that take turns, and columns that move with their blocks, or without them
// as float32, are those of the model.
func TestMixedRowsAndColumns(t *testing.T) {
	m, err := qtensor.New(qtensor.Q8_0.Foreign(), 8, 128)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Codes {
		m.Codes[i] = byte(i % 61)
	}
	var d qtensor.Reader
	a, b := make([]float32, 128), make([]float32, 128)
	second := &qtensor.Matrix{Scheme: m.Scheme, Rows: 4, Cols: 128, Codes: m.Codes[len(m.Codes)/2:]}
	turns := Order{Mixed: Swap{Outer: 2, Inner: 2, Unit: 2}, First: 4}.Matrix(second, m.Codes, false)
	for r, stored := range []int{2, 3, 6, 7} {
		d.Row(a, turns, r)
		if d.Row(b, m, stored); !slices.Equal(a, b) {
			t.Errorf("row %d is not row %d of the file", r, stored)
		}
	}
	for unit, kind := range map[int]qtensor.Kind{32: qtensor.Foreign, 16: qtensor.F32} {
		cols := Order{Cols: Swap{Outer: 2, Inner: 2, Unit: unit}}
		moved := cols.Matrix(m, m.Codes, false)
		if err := moved.Check(); err != nil || moved.Scheme.Kind != kind {
			t.Errorf("units of %d: %v, %v", unit, moved.Scheme, err)
		}
		d.Row(a, moved, 5)
		d.Row(b, m, 5)
		for c, x := range a {
			if y := b[c/unit/4*4*unit+[]int{0, 2, 1, 3}[c/unit%4]*unit+c%unit]; x != y {
				t.Fatalf("units of %d: column %d is %v, want %v", unit, c, x, y)
			}
		}
	}
}
