package parity

import (
	"math/rand/v2"
	"testing"

	"thimble/internal/kernel"
)

// A rotation that is computed from few columns is inexact, and the doubt says by how much: those of
// a latent vector may be no more than one and a half times the width of a head.
func TestDoubt(t *testing.T) {
	const dim = 16
	random := rand.New(rand.NewPCG(1, 2))
	matrix := func(n, width int) submatrix {
		m := submatrix{n: n, width: width, stride: kernel.Padded(width)}
		m.data = make([]float32, n*m.stride)
		for i := range n {
			for j := range width {
				m.data[i*m.stride+j] = float32(random.NormFloat64())
			}
		}
		return m
	}
	for _, n := range []int{24, 64, 256} {
		var found, expected float64
		for range 20 {
			want, other := matrix(dim, n), matrix(dim, 100)
			got := submatrix{want.n, want.width, want.stride, append([]float32{}, want.data...), 0}
			for i := range dim {
				for j := range n {
					got.data[i*got.stride+j] += float32(0.01 * random.NormFloat64())
				}
			}
			r := solveRotation(got, want, 0)
			diff, whole := got.difference(want.rotated(r))
			expected += diff / whole * doubtOf(dim, n)
			diff, whole = other.rotated(r).difference(other)
			found += diff / whole
		}
		if ratio := found / expected; ratio < 0.7 || ratio > 1.4 {
			t.Errorf("%d columns: the error is %.2f of the expected one", n, ratio)
		}
	}
}
