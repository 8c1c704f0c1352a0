package power

import (
	"slices"

	"thimble/internal/model"
)

// startStreams computes the streams besides the active one, which have its magnitude.
func (p *powers) startStreams() error {
	return p.transform(0, p.m.Spec.OtherStreams(model.AltUpIn), func(int) []float64 { return p.stream }, func(out []float64) {
		p.streams = append(p.streams, out)
	})
}

// correctStreams adds to the other streams what a block has added to the active one, given that
// before the block. Predictions and coefficients, about 0 and 1, are left out.
func (p *powers) correctStreams(before []float64) {
	for _, y := range p.streams {
		for i, v := range p.stream {
			y[i] += max(v-before[i], 0)
		}
	}
}

// mergeStreams computes the mean of all streams, after the last block.
func (p *powers) mergeStreams() error {
	n := len(p.streams)
	if n == 0 {
		return nil
	}
	sum := slices.Clone(p.stream)
	err := p.transform(p.m.Spec.Blocks-1, p.m.Spec.OtherStreams(model.AltUpOut), func(i int) []float64 { return p.streams[i] }, func(out []float64) {
		for i, v := range out {
			sum[i] += v
		}
	})
	for i, v := range sum {
		p.stream[i] = v / float64((1+n)*(1+n))
	}
	return err
}

// transform feeds stream i to the i-th of a block's matrices of the given kinds, and calls use
// with the outputs, scaled to the power of the active stream.
func (p *powers) transform(block int, kinds []string, stream func(i int) []float64, use func(out []float64)) error {
	total := 0.0
	for _, v := range p.stream {
		total += v
	}
	for i, kind := range kinds {
		name := model.Name(block, kind)
		p.feeds(stream(i), name)
		out, err := p.outputs(name, stream(i))
		if err != nil {
			return err
		}
		normalize(out)
		for j := range out {
			out[j] *= total / float64(len(out))
		}
		use(out)
	}
	return nil
}

// scaled returns the power of the stream times the factors with which block b reads it for its
// input for the tokens.
func (p *powers) scaled(b int) []float64 {
	out := slices.Clone(p.stream)
	if p.m.Spec.AltUp.Scaled {
		for i, v := range p.vector(model.Name(b, model.AltUpScale)) {
			out[i] *= float64(v) * float64(v)
		}
	}
	return out
}

// laurel computes the stream after the learned residual of block b, in models that have one. h is
// the input of attention.
func (p *powers) laurel(b int, h []float64) error {
	if p.m.Spec.Laurel == 0 {
		return nil
	}
	left, right := model.Name(b, model.LaurelLeft), model.Name(b, model.LaurelRight)
	p.feeds(h, left)
	inner, err := p.outputs(left, h)
	if err != nil {
		return err
	}
	p.feeds(inner, right)
	out, err := p.outputs(right, inner)
	if err != nil {
		return err
	}
	for i, v := range p.norm(model.Name(b, model.LaurelNorm), out) {
		p.stream[i] = (p.stream[i] + h[i] + v) / 2
	}
	return nil
}
