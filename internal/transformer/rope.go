package transformer

import (
	"math"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// rope holds the rotary tables: row p has the cosines and sines of position p.
type rope struct {
	half     int       // half of the dimensions that turn
	invFreq  []float32 // (half) radians per position
	cos, sin []float32 // (positions, half)
	pairs    bool      // neighbours turn together, not halves
}

// newRope computes the frequencies Base^(-2i/Dims) and their scaling. Like
// the models' training code it rounds each to float32, which is part of what
// the model learned at long positions.
func newRope(spec *model.Rope, headDim int) *rope {
	dims := spec.Dims
	if dims == 0 {
		dims = headDim
	}
	r := &rope{pairs: spec.Pairs, half: dims / 2, invFreq: make([]float32, dims/2)}
	for i := range r.invFreq {
		exponent := float64(2*i) / float64(dims)
		f := 1 / kernel.Pow64(spec.Base, exponent)
		r.invFreq[i] = float32(scaled(spec, float64(float32(f))))
	}
	return r
}

// scaled stretches one frequency for a longer context: position interpolation
// (arXiv 2306.15595, equation 4), or Llama 3.1's rule, which leaves short
// wavelengths alone, divides long ones, and blends in between.
func scaled(r *model.Rope, f float64) float64 {
	switch r.Scaling {
	case model.RopeLinear:
		return f / r.Factor
	case model.RopeLlama3:
		turns := float64(r.Original) * f / (2 * math.Pi) // over the original context
		switch {
		case turns < r.LowFreq:
			return f / r.Factor
		case turns > r.HighFreq:
			return f
		}
		keep := (turns - r.LowFreq) / (r.HighFreq - r.LowFreq)
		return float64((1-keep)*(f/r.Factor)) + float64(keep*f)
	}
	return f
}

// extend makes the tables cover n positions.
func (r *rope) extend(n int) {
	for p := len(r.cos) / max(r.half, 1); p < n; p++ {
		for _, f := range r.invFreq {
			angle := float64(float32(p) * f)
			r.cos = append(r.cos, float32(kernel.Cos64(angle)))
			r.sin = append(r.sin, float32(kernel.Sin64(angle)))
		}
	}
}

// rotate turns one head's vector x (HeadDim) in place to position p: its first
// 2*half dimensions. A nil rope turns nothing.
func (r *rope) rotate(x []float32, p int) {
	if r == nil {
		return
	}
	turn := kernel.Rotate
	if r.pairs {
		turn = kernel.RotatePairs
	}
	turn(x[:2*r.half], r.cos[p*r.half:][:r.half], r.sin[p*r.half:][:r.half])
}
