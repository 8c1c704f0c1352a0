// Package rotary applies rotary position embeddings (RoFormer, arXiv 2104.09864) to vectors.
package rotary

import (
	"cmp"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A Table has the cosines and sines of position p in row p.
type Table struct {
	halfDims    int       // half the number of dimensions that are rotated
	invFreq     []float32 // (halfDims), radians per position
	cos, sin    []float32 // (positions, halfDims), times scale
	scale       float32
	interleaved bool // pairs are adjacent dimensions, rather than one of each half
}

// New computes the frequencies Base^(-2i/Dims) and scales them. Like the
// models' training code it rounds each to float32: the models were trained with
// that rounding, and at large positions it matters.
func New(spec *model.Rope, headDim int) *Table {
	dims := cmp.Or(spec.Dims, headDim)
	r := &Table{interleaved: spec.Pairs, halfDims: dims / 2, invFreq: make([]float32, dims/2), scale: float32(cmp.Or(spec.Scale, 1))}
	for i := range r.invFreq {
		r.invFreq[i] = float32(spec.Frequency(i, dims))
	}
	return r
}

// Extend grows the tables to n positions.
func (r *Table) Extend(n int) {
	for p := len(r.cos) / max(r.halfDims, 1); p < n; p++ {
		for _, f := range r.invFreq {
			angle := float64(float32(p) * f)
			r.cos = append(r.cos, float32(kernel.Cos64(angle))*r.scale)
			r.sin = append(r.sin, float32(kernel.Sin64(angle))*r.scale)
		}
	}
}

// Rotate applies the embedding of position p to the first 2*halfDims dimensions
// of one head's vector x (HeadDim), in place. A nil Table does nothing.
func (r *Table) Rotate(x []float32, p int) {
	if r == nil {
		return
	}
	rotate := kernel.Rotate
	if r.interleaved {
		rotate = kernel.RotatePairs
	}
	rotate(x[:2*r.halfDims], r.cos[p*r.halfDims:][:r.halfDims], r.sin[p*r.halfDims:][:r.halfDims])
}

// Unrotate multiplies one head's vector by the transpose of the matrix by which Rotate
// does, in place.
func (r *Table) Unrotate(x []float32, p int) {
	if r == nil {
		return
	}
	cos, sin := r.cos[p*r.halfDims:][:r.halfDims], r.sin[p*r.halfDims:][:r.halfDims]
	second, step := r.halfDims, 1
	if r.interleaved {
		second, step = 1, 2
	}
	for i, c := range cos {
		u, v := &x[i*step], &x[i*step+second]
		*u, *v = float32(*u*c)+float32(*v*sin[i]), float32(*v*c)-float32(*u*sin[i])
	}
}
