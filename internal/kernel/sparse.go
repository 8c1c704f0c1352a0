package kernel

import "math"

// CutGates replaces each gate g by max(g-c, 0), where c is the mean of the gates plus so many of
// their standard deviations (Spark Transformer, arXiv 2506.06644). The mean is Sum(x)/len(x)
// and the variance Dot(d, d)/len(x) of the differences d from it; both are computed in float64,
// and the mean and c minus the mean are rounded to float32.
func CutGates(x []float32, deviations float64) {
	mean := float32(float64(Sum(x)) / float64(len(x)))
	for i := range x {
		x[i] -= mean
	}
	cut := float32(deviations * math.Sqrt(float64(Dot(x, x))/float64(len(x))))
	for i, d := range x {
		x[i] = relu(d - cut)
	}
}

// NormalQuantile returns the number below which a share p of the standard normal distribution is,
// for p between 0 and 1. Bisection ends when no number is left between the bounds.
func NormalQuantile(p float64) float64 {
	low, high := -40.0, 40.0
	for {
		middle := (low + high) / 2
		switch {
		case middle <= low || middle >= high:
			return high
		case erfcMinus(middle/sqrt2)/2 < p:
			low = middle
		default:
			high = middle
		}
	}
}
