package transformer

import (
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A headNorm normalizes queries or keys. The zero value does nothing.
type headNorm struct {
	gain  []float32 // a multiple of width; one width serves all heads
	bias  []float32 // likewise, or nil
	width int       // values that are normalized together
	bare  bool      // by RMSNorm, whatever the model's norms are
}

// headNormOf returns the norm of kind QNorm or KNorm of block b.
func headNormOf(m *model.Model, b int, kind string) headNorm {
	sized := m.Spec.Of(b)
	s := &sized
	switch {
	case s.QKNorm == model.QKBare && s.AttentionOf(b).Rope != model.NoRope:
		return headNorm{gain: slices.Repeat([]float32{1}, s.HeadDim), width: s.HeadDim}
	case !s.QKGains():
		return headNorm{}
	}
	n := headNorm{gain: gain(m, model.Name(b, kind)), width: s.HeadDim}
	switch s.QKNorm {
	case model.QKLayer:
		n.bias = vector(m, model.Name(b, kind+model.BiasSuffix))
	case model.QKWide:
		n.width = len(n.gain)
	}
	return n
}

// normalizeHeads applies n to each position of x, in place.
func (d *Decoder) normalizeHeads(x rows, n headNorm) {
	if n.width == 0 {
		return
	}
	if x.n == 1 {
		d.normalizeHeadRows(x, n, 0, 1)
		return
	}
	d.ranges(x.n, func(from, to int) { d.normalizeHeadRows(x, n, from, to) })
}

// normalizeHeadRows is normalizeHeads for the rows [from, to).
func (d *Decoder) normalizeHeadRows(x rows, n headNorm, from, to int) {
	eps := float32(d.spec.NormEps)
	centered := !n.bare && (n.bias != nil || d.spec.Centers() && d.spec.QKNorm != model.QKBare)
	for t := from; t < to; t++ {
		for at := 0; at < x.width; at += n.width {
			head, gain := x.row(t)[at:][:n.width], n.gain[at%len(n.gain):][:n.width]
			if centered {
				kernel.LayerNorm(head, head, gain, n.bias, eps)
			} else {
				kernel.RMSNorm(head, head, gain, eps)
			}
		}
	}
}
