package rounding

import (
	"math"
	"testing"
)

// The rotation is orthogonal: it keeps lengths and mixes all channels.
func TestHadamard(t *testing.T) {
	const n = 16
	for from := range n {
		x := make([][]float32, n)
		for i := range x {
			x[i] = []float32{0}
		}
		x[from][0] = 1
		hadamard(n, func(i int) []float32 { return x[i] })
		for i, v := range x {
			if math.Abs(math.Abs(float64(v[0]))-0.25) > 1e-6 {
				t.Errorf("channel %d gives %v to %d, want a quarter", from, v[0], i)
			}
		}
	}
}
