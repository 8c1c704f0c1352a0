package rounding

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"thimble/quantize/quantizetest"
)

// If both models have the same inputs, there is nothing to correct; if x~ = A x, the
// correction gives W A^-1, which undoes A.
func TestCorrect(t *testing.T) {
	const rows, d, n = 50, 40, 3000
	x, xq := correlated(n, d, 1), make([][]float32, n)
	r := rand.New(rand.NewPCG(5, 5))
	a := make([]float64, d*d)
	for i := range a {
		a[i] = 0.05 * r.NormFloat64()
	}
	for i := range d {
		a[i*d+i]++
	}
	for t, row := range x {
		xq[t] = make([]float32, d)
		for i := range d {
			sum := 0.0
			for j, v := range row {
				sum += a[i*d+j] * float64(v)
			}
			xq[t][i] = float32(sum)
		}
	}
	corrected := func(coarse [][]float32, damp float64) (w, out []float32) {
		m := &Moments{Width: d}
		if err := m.Add(t.Context(), rowsAt(coarse), rowsAt(x), ones(n)); err != nil {
			t.Fatal(err)
		}
		m.Close()
		in, err := NewInput(t.Context(), m, damp)
		if err != nil {
			t.Fatal(err)
		}
		w, err = rowsOf(t.Context(), quantizetest.Weights(rows, d, 6))
		if err != nil {
			t.Fatal(err)
		}
		out = slices.Clone(w)
		if err := correct(t.Context(), out, in); err != nil {
			t.Fatal(err)
		}
		return w, out
	}
	distance := func(a []float32, b func(i int) float64) float64 {
		sum, all := 0.0, 0.0
		for i, v := range a {
			sum += (float64(v) - b(i)) * (float64(v) - b(i))
			all += b(i) * b(i)
		}
		return math.Sqrt(sum / all)
	}
	w, same := corrected(x, Damping)
	if off := distance(same, func(i int) float64 { return float64(w[i]) }); off > 1e-4 {
		t.Errorf("alike: W moves by %v of itself", off)
	}
	w, moved := corrected(xq, 1e-7)
	inv := invert(a, d)
	want := func(i int) (sum float64) {
		row := i / d * d
		for k := range d {
			sum += float64(w[row+k]) * inv[k*d+i%d]
		}
		return sum
	}
	if off := distance(moved, want); off > 0.002 {
		t.Errorf("x~ = A x: W' is %v of W A^-1 away from it", off)
	}
	if off := distance(w, want); off < 0.1 {
		t.Errorf("A does too little to be seen: %v", off)
	}
}

// A position that is a massive activation in the float model, and an ordinary one in the quantized
// model, says little about all others. It must not decide the correction.
func TestCorrectOneLoud(t *testing.T) {
	const rows, d, n = 20, 40, 2000
	xq := correlated(n, d, 1)
	x := slices.Clone(xq)
	x[7] = make([]float32, d)
	for i, v := range correlated(1, d, 2)[0] {
		x[7][i] = 500 * v
	}
	moved := func(weights []float32) float64 {
		m := &Moments{Width: d}
		if err := m.Add(t.Context(), rowsAt(xq), rowsAt(x), weights); err != nil {
			t.Fatal(err)
		}
		m.Close()
		in, err := NewInput(t.Context(), m, Damping)
		if err != nil {
			t.Fatal(err)
		}
		w, err := rowsOf(t.Context(), quantizetest.Weights(rows, d, 6))
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Clone(w)
		if err := correct(t.Context(), w, in); err != nil {
			t.Fatal(err)
		}
		off, all := 0.0, 0.0
		for i, v := range w {
			off += float64((v - before[i]) * (v - before[i]))
			all += float64(before[i] * before[i])
		}
		return math.Sqrt(off / all)
	}
	squares := rowsAt(xq).Squares(nil)
	if off := moved(Weights(slices.Clone(squares))); off < 0.5 {
		t.Errorf("the position does too little to be seen: %v", off)
	}
	rowsAt(x).Louder(squares)
	if off := moved(Weights(squares)); off > 0.02 {
		t.Errorf("one position of %d moves W by %v of itself", n, off)
	}
}
