package transformer

import (
	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A norm is one normalization of the residual stream.
type norm struct {
	gain []float32 // (Hidden)
	bias []float32 // (Hidden), or nil
}

func normOf(m *model.Model, name string) norm {
	n := norm{gain: gain(m, name)}
	if m.Spec.Norm.Biased() {
		n.bias = vector(m, name+model.BiasSuffix)
	}
	return n
}

// gain returns the factors of a norm, which may be 1 more than the stored ones.
func gain(m *model.Model, name string) []float32 {
	x := vector(m, name)
	if m.Spec.Norm.CountsFrom1() {
		for i := range x {
			x[i]++
		}
	}
	return x
}

// normalize applies the model's kind of norm to x and writes the result to h,
// which may be x.
func (d *Decoder) normalize(h, x rows, w norm) { d.normalizeWith(h, x, w, float32(d.spec.NormEps)) }

// normalizeWith is normalize with another epsilon.
func (d *Decoder) normalizeWith(h, x rows, w norm, eps float32) {
	if x.n == 1 {
		d.normalizeRows(h, x, w, eps, 0, 1)
		return
	}
	d.ranges(x.n, func(from, to int) { d.normalizeRows(h, x, w, eps, from, to) })
}

// normalizeRows is normalize for the rows [from, to).
func (d *Decoder) normalizeRows(h, x rows, w norm, eps float32, from, to int) {
	for t := from; t < to; t++ {
		if d.spec.Centers() {
			kernel.LayerNorm(h.row(t), x.row(t), w.gain, w.bias, eps)
		} else {
			kernel.RMSNorm(h.row(t), x.row(t), w.gain, eps)
		}
	}
}
