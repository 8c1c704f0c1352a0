package transformer

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/transformer/recurrence"
)

// A convolution is a gated short convolution, which a block may have in place of attention.
type convolution struct {
	in, out               linear
	recurrence.CausalConv // of Hidden channels
}

func convolutionOf(m *model.Model, b int) *convolution {
	return &convolution{
		in: linear{w: m.Tensors[model.Name(b, model.ConvIn)]}, out: linear{w: m.Tensors[model.Name(b, model.ConvOut)]},
		CausalConv: recurrence.NewCausalConv(vector(m, model.Name(b, model.Conv)), nil, m.Spec.AttentionOf(b).Conv),
	}
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
		from := q.cache.used
		inputs, first := q.cache.entry(step).past.Extend(from, q.n)
		for t := range q.n {
			parts, row := p.conv.row(at+t), from-first+t
			input := inputs[row*hidden:][:hidden]
			copy(input, parts[:hidden])
			kernel.Mul(input, parts[2*hidden:])
			out := p.convolved.row(at + t)
			w.At(out, inputs, hidden, row)
			kernel.Mul(out, parts[hidden:2*hidden])
		}
		at += q.n
	}
	return nil
}
