package rounding

import (
	"testing"

	"thimble/internal/qtensor"
)

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

func scheme(t testing.TB, text string) qtensor.Scheme {
	s, err := qtensor.ParseScheme(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// squaredError returns the weighted error of b, group by group of scheme s.
func squaredError(a, b [][]float32, s qtensor.Scheme, power []float32) []float64 {
	var sums []float64
	for r := range a {
		for g := range s.Groups(len(a[r])) {
			sum := 0.0
			lo, hi := s.Span(g, len(a[r]))
			for c := lo; c < hi; c++ {
				d := float64(a[r][c]) - float64(b[r][c])
				sum += float64(power[c]) * d * d
			}
			sums = append(sums, sum)
		}
	}
	return sums
}

// skipQuality skips, with -short, a test of how good the results are. They do not
// depend on the machine if the bytes do not.
func skipQuality(t *testing.T) {
	if testing.Short() {
		t.Skip("how good the results are does not depend on the machine")
	}
}
