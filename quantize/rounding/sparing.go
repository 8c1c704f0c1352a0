package rounding

import (
	"thimble/internal/qtensor"
)

// Sparing returns q, of the shape of src, with the smallest change that gives the output of src
// at the input x, (Cols), not all zero. It makes rows on demand, in float32.
func Sparing(q, src *qtensor.Matrix, x []float32) *qtensor.Matrix {
	square := 0.0
	for _, v := range x {
		square += float64(float64(v) * float64(v))
	}
	return onDemand(src, &sparedRows{q, src, x, square})
}

type sparedRows struct {
	q, src *qtensor.Matrix
	x      []float32
	square float64 // of x
}

func (s *sparedRows) Row(dst []byte, r int) {
	var reader qtensor.Reader
	want, got := make([]float32, len(s.x)), make([]float32, len(s.x))
	reader.Row(want, s.src, r)
	reader.Row(got, s.q, r)
	off := 0.0
	for i, v := range s.x {
		off += float64((float64(got[i]) - float64(want[i])) * float64(v))
	}
	off /= s.square
	for i, v := range s.x {
		got[i] -= float32(off * float64(v))
	}
	putFloats(dst, got)
}

func (s *sparedRows) Release() { s.src.Release() }
