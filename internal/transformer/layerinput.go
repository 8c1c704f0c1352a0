package transformer

import (
	"context"
	"math"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A layerInput is what a block adds to the stream for the tokens, see model.LayerInput. It is
// zero in models without.
type layerInput struct {
	in, gate, out linear
	post          norm
}

// A layerPass holds the activations of the layerInput of one block.
type layerPass struct {
	ids      []int // of all positions
	embedded rows  // (positions, Hidden), the stream before the first step
	inner    rows  // (positions, Width), the output of LayerIn and what becomes of it
	gated    rows  // (positions, Width)
	token    []float32
}

func newLayerPass(s *model.Spec, n int) *layerPass {
	w := s.Layer.Width
	return &layerPass{embedded: newRows(n, s.Hidden), inner: newRows(n, w), gated: newRows(n, w), token: make([]float32, s.Blocks*w)}
}

// embed writes the embeddings of ids, the first of which is at position first, to the rows of
// the stream from row at on.
func (p *pass) embed(ids []int, at, first int) error {
	x := p.x.slice(at, len(ids))
	if err := p.d.lookup(x, ids, first); err != nil || p.layer == nil {
		return err
	}
	p.layer.ids = append(p.layer.ids[:at], ids...)
	copy(p.layer.embedded.slice(at, len(ids)).data, x.data)
	return nil
}

// layerOperations returns the operations between the feed-forward layer's residual and the
// end of the block. They read the stream by the given name.
func layerOperations(s *model.Spec, stream string) []operation {
	act := activations[s.Activation]
	return []operation{
		{Operation{model.LayerIn, list(model.LayerIn), list(model.Embed), list(model.LayerIn)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.layer.embedded, product{p.layer.inner, p.block(step).layer.in})
		}},
		{Operation{model.LayerInner, nil, list(model.LayerIn), list(model.LayerInner)}, (*pass).addToken},
		{Operation{model.LayerGate, list(model.LayerGate), list(stream), list(model.LayerGate)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.activations(stream), product{p.layer.gated, p.block(step).layer.gate})
		}},
		{Operation{model.LayerMixed, nil, list(model.LayerGate, model.LayerInner), list(model.LayerMixed)}, func(p *pass, _ context.Context, _ int) error {
			for t := range p.x.n {
				act(p.layer.gated.row(t), p.layer.gated.row(t), p.layer.inner.row(t))
			}
			return nil
		}},
		{Operation{model.LayerOut, list(model.LayerOut), list(model.LayerMixed), list(model.LayerOut)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.layer.gated, product{p.y, p.block(step).layer.out})
		}},
		{Operation{model.LayerPost, nil, list(model.LayerOut), list(model.LayerPost)}, func(p *pass, _ context.Context, step int) error {
			return p.normalizeLayer(p.block(step).layer.post)
		}},
	}
}

// addToken normalizes the output of LayerIn and adds what the block has for the token.
func (p *pass) addToken(_ context.Context, step int) error {
	d, l := p.d, p.layer
	width := d.spec.Layer.Width
	b := d.spec.Schedule[step]
	var (
		share = float32(1 / math.Sqrt(float64(d.spec.Hidden)))
		scale = float32(math.Sqrt(float64(width)))
		half  = float32(1 / math.Sqrt2)
		eps   = float32(d.spec.NormEps)
	)
	return parallel.Guard(func() error {
		if d.bounded {
			defer d.layerEmbed.Release()
		}
		for t, id := range l.ids {
			x := l.inner.row(t)
			multiply(x, share)
			kernel.RMSNorm(x, x, d.layerNorm, eps)
			if id >= d.layerEmbed.Rows {
				id = 0
			}
			d.workers[0].reader.Row(l.token, d.layerEmbed, id)
			for i, v := range l.token[b*width:][:width] {
				x[i] = (x[i] + float32(v*scale)) * half
			}
		}
		return nil
	})
}

// endBlock adds a layer's output, and scales the stream if the model does. With several streams
// it adds the output to those that are not active.
func (p *pass) endBlock(ctx context.Context, step int) error {
	if p.altUp != nil {
		for _, x := range p.altUp.streams {
			x.add(p.y)
		}
		return nil
	}
	if err := p.addLayer(ctx, step); err != nil || !p.d.spec.OutScale {
		return err
	}
	scale := p.block(step).outScale
	for t := range p.x.n {
		multiply(p.x.row(t), scale)
	}
	return nil
}
