package kernel

import (
	"math"
	"testing"
)

func TestClamped(t *testing.T) {
	a := Clamped{Alpha: 1.702, Limit: 7}
	values := []float32{-100, -7.5, -7, -1, -0.25, 0, 0.5, 3, 7, 7.5, 100}
	for _, g := range values {
		for _, u := range values {
			gate, up := math.Min(float64(g), 7), math.Min(math.Max(float64(u), -7), 7)
			want := gate / (1 + math.Exp(-1.702*gate)) * (up + 1)
			got := []float32{g}
			a.Mul(got, got, []float32{u})
			if math.Abs(float64(got[0])-want) > 1e-5*math.Max(math.Abs(want), 1) {
				t.Errorf("gate %g, up %g: %g, want %g", g, u, got[0], want)
			}
		}
	}
}
