package transformer

import (
	"context"
	"math"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A laurel is a block's learned residual of attention, see model.LaurelLeft. It is zero in models
// without.
type laurel struct {
	left, right linear
	norm        norm
}

// laurelOperations returns the operations after the residual of attention.
func laurelOperations() []operation {
	return []operation{
		{Operation{model.LaurelLeft, list(model.LaurelLeft), list(model.AttnNorm), list(model.LaurelLeft)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.h, product{p.laurel, p.block(step).laurel.left})
		}},
		{Operation{model.LaurelRight, list(model.LaurelRight), list(model.LaurelLeft), list(model.LaurelRight)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.laurel, product{p.y, p.block(step).laurel.right})
		}},
		{Operation{model.LaurelNorm, nil, list(model.LaurelRight), list(model.LaurelNorm)}, func(p *pass, _ context.Context, step int) error {
			return p.normalizeLayer(p.block(step).laurel.norm)
		}},
		{Operation{model.LaurelSum, nil, list(model.AttnResidual, model.AttnNorm, model.LaurelNorm), list(model.LaurelSum)}, func(p *pass, _ context.Context, _ int) error {
			for t := range p.x.n {
				x, y := p.x.row(t), p.y.row(t)
				kernel.Add(y, p.h.row(t))
				kernel.Add(x, y)
				multiply(x, float32(1/math.Sqrt2))
			}
			return nil
		}},
	}
}
