package kernel

import (
	"math"
	"testing"
)

// slowDot64 is the documented order of Dot64 in the simplest loops.
func slowDot64(a, b []float64) float64 {
	s := make([]float64, 16)
	for i := range a {
		s[i%16] = math.FMA(a[i], b[i], s[i%16])
	}
	for n := 8; n > 0; n /= 2 {
		for i := range n {
			s[i] += s[i+n]
		}
	}
	return s[0]
}

func TestDot64(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			a, b := make([]float64, n), make([]float64, n)
			for i := range a {
				a[i], b[i] = math.Ldexp(r.Float64()-0.5, r.IntN(60)-30), math.Ldexp(r.Float64()-0.5, r.IntN(60)-30)
			}
			if got, want := Dot64(a, b), slowDot64(a, b); got != want {
				t.Errorf("Dot64 of %d elements is %v, want %v", n, got, want)
			}
		}
	})
}
