package transformer

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A convolution is a gated short convolution, which a block may have in place of attention.
type convolution struct {
	in, out linear
	factors []float32 // (length, Hidden), of the inputs from the earliest to the latest
	length  int
}

func convolutionOf(m *model.Model, b int) *convolution {
	s := &m.Spec
	w := &convolution{
		in: linear{w: m.Tensors[model.Name(b, model.ConvIn)]}, out: linear{w: m.Tensors[model.Name(b, model.ConvOut)]},
		length: s.AttentionOf(b).Conv,
	}
	stored := vector(m, model.Name(b, model.Conv))
	w.factors = make([]float32, len(stored))
	for i, v := range stored {
		w.factors[i%w.length*s.Hidden+i/w.length] = v
	}
	return w
}

// convOperations returns the operations between the norm and the residual.
func convOperations(input string) []operation {
	return []operation{
		{Operation{model.ConvIn, list(model.ConvIn), list(input), list(model.ConvIn)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.input(), product{p.conv, p.block(step).conv.in})
		}},
		{Operation{model.Conv, nil, list(model.ConvIn), list(model.Conv)}, (*pass).convolve},
		{Operation{model.ConvOut, list(model.ConvOut), list(model.Conv), list(model.ConvOut)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.convolved, product{p.y, p.block(step).conv.out})
		}},
	}
}

// convolve computes convolved = C * conv(B * x) and adds the inputs B * x to the caches.
func (p *pass) convolve(_ context.Context, step int) error {
	w, hidden, at := p.block(step).conv, p.d.spec.Hidden, 0
	for _, q := range p.sequences {
		e, first := q.cache.entry(step), q.cache.used
		e.inputsOf(first+q.n, hidden)
		for t := range q.n {
			parts := p.conv.row(at + t)
			input := e.inputs[(first+t)*hidden:][:hidden]
			copy(input, parts[:hidden])
			kernel.Mul(input, parts[2*hidden:])
			out := p.convolved.row(at + t)
			clear(out)
			for j := range w.length {
				from := first + t - (w.length - 1) + j
				if from < 0 {
					continue
				}
				x, factors := e.inputs[from*hidden:][:hidden], w.factors[j*hidden:][:hidden]
				for i, v := range x {
					out[i] += float32(v * factors[i])
				}
			}
			kernel.Mul(out, parts[hidden:2*hidden])
		}
		at += q.n
	}
	return nil
}
