package model

import (
	"math"

	"thimble/internal/kernel"
)

// Frequency returns the i-th of dims/2 frequencies, in radians per position:
// Base^(-2i/dims), rounded to float32 as in training code, then scaled.
func (r *Rope) Frequency(i, dims int) float64 {
	f := float64(float32(1 / kernel.Pow64(r.Base, float64(2*i)/float64(dims))))
	keep := 1.0 // share of f itself; the rest is f/Factor
	switch r.Scaling {
	case RopePlain:
		return f
	case RopeLinear:
		return f / r.Factor // arXiv 2306.15595, equation 4
	case RopeFactors:
		return f / r.Factors[i]
	case RopeLlama3:
		turns := float64(r.Original) * f / (2 * math.Pi) // full rotations over the original context
		switch {
		case turns < r.LowFreq:
			return f / r.Factor
		case turns > r.HighFreq:
			return f
		}
		keep = (turns - r.LowFreq) / (r.HighFreq - r.LowFreq)
	case RopeYarn:
		low, high := r.yarnRange(dims)
		keep = 1 - min(max((float64(i)-low)/(high-low), 0), 1)
	}
	return float64((1-keep)*(f/r.Factor)) + float64(keep*f)
}

// yarnRange returns the indices between which RopeYarn interpolates, as transformers
// computes them: those of the frequencies with HighFreq and LowFreq rotations over the
// original context.
func (r *Rope) yarnRange(dims int) (low, high float64) {
	index := func(rotations float64) float64 {
		return float64(dims) * kernel.Log64(float64(r.Original)/(rotations*2*math.Pi)) / (2 * kernel.Log64(r.Base))
	}
	low, high = index(r.HighFreq), index(r.LowFreq)
	if !r.Fractional {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(dims-1))
	if low == high {
		high += 0.001
	}
	return low, high
}

// YarnScale returns the factor of the queries and keys in YaRN with the given Factor, which m
// weighs (transformers, _compute_yarn_parameters, get_mscale).
func YarnScale(factor, m float64) float64 {
	if factor <= 1 {
		return 1
	}
	return float64(0.1*m*kernel.Log64(factor)) + 1
}
