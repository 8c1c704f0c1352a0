package transformer

import (
	"math"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A rope holds the rotary tables: row p has the cosines and sines of position p.
type rope struct {
	halfDims    int       // half the number of dimensions that are rotated
	invFreq     []float32 // (halfDims), radians per position
	cos, sin    []float32 // (positions, halfDims)
	interleaved bool      // pairs are adjacent dimensions, rather than one of each half
}

// newRope computes the frequencies Base^(-2i/Dims) and scales them. Like the
// models' training code it rounds each to float32: the models were trained with
// that rounding, and at large positions it matters.
func newRope(spec *model.Rope, headDim int) *rope {
	dims := spec.Dims
	if dims == 0 {
		dims = headDim
	}
	r := &rope{interleaved: spec.Pairs, halfDims: dims / 2, invFreq: make([]float32, dims/2)}
	for i := range r.invFreq {
		exponent := float64(2*i) / float64(dims)
		f := 1 / kernel.Pow64(spec.Base, exponent)
		r.invFreq[i] = float32(scaleFrequency(spec, float64(float32(f))))
	}
	return r
}

// scaleFrequency scales one frequency for a longer context, either by position
// interpolation (arXiv 2306.15595, equation 4) or by Llama 3.1's rule, which keeps
// high frequencies, divides low ones, and interpolates in between.
func scaleFrequency(r *model.Rope, f float64) float64 {
	switch r.Scaling {
	case model.RopeLinear:
		return f / r.Factor
	case model.RopeLlama3:
		turns := float64(r.Original) * f / (2 * math.Pi) // full rotations over the original context
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

// extend grows the tables to n positions.
func (r *rope) extend(n int) {
	for p := len(r.cos) / max(r.halfDims, 1); p < n; p++ {
		for _, f := range r.invFreq {
			angle := float64(float32(p) * f)
			r.cos = append(r.cos, float32(kernel.Cos64(angle)))
			r.sin = append(r.sin, float32(kernel.Sin64(angle)))
		}
	}
}

// rotate applies the embedding of position p to the first 2*halfDims dimensions
// of one head's vector x (HeadDim), in place. A nil rope does nothing.
func (r *rope) rotate(x []float32, p int) {
	if r == nil {
		return
	}
	rotate := kernel.Rotate
	if r.interleaved {
		rotate = kernel.RotatePairs
	}
	rotate(x[:2*r.halfDims], r.cos[p*r.halfDims:][:r.halfDims], r.sin[p*r.halfDims:][:r.halfDims])
}
