package kernel

import "math"

// stripes64 is stripes for Dot64.
type stripes64 = [width]float64

// Dot64 is Dot in float64, with the same stripes, fused products and tree. It
// panics unless a and b have the same length.
func Dot64(a, b []float64) float64 {
	check(len(a) == len(b), "Dot64")
	n := blocks(len(a))
	s := best.dot64(a[:n], b[:n])
	for i, x := range a[n:] {
		s[i] = math.FMA(x, b[n+i], s[i])
	}
	for i := range s[:8] {
		s[i] += s[i+8]
	}
	for i := range s[:4] {
		s[i] += s[i+4]
	}
	return (s[0] + s[2]) + (s[1] + s[3])
}

func dot64Portable(a, b []float64) (s stripes64) {
	for len(a) >= width && len(b) >= width {
		x, y := a[:width:width], b[:width:width]
		for i := range s {
			s[i] = math.FMA(x[i], y[i], s[i])
		}
		a, b = a[width:], b[width:]
	}
	return s
}
