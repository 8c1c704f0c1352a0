package transformer

import (
	"context"

	"thimble/internal/transformer/recurrence"
)

// recur adds inputs to the caches, the parts of each position one after the other, and moves the
// states on. It writes the outputs of a layer to mixed.
func (p *pass) recur(ctx context.Context, step int, layer recurrence.Layer, parts []rows, mixed rows) error {
	at, width := 0, layer.Inputs()
	for _, q := range p.sequences {
		past, from := &q.cache.entry(step).past, q.cache.used
		inputs, first := past.Extend(from, q.n)
		for t := range q.n {
			x := inputs[(from-first+t)*width:][:width]
			for _, part := range parts {
				x = x[copy(x, part.row(at+t)):]
			}
		}
		a := &p.advance
		out := mixed.slice(at, q.n)
		a.Layer, a.State, a.Inputs, a.First, a.Out, a.N, a.Stride = layer, &past.State, inputs, first, out.data, q.n, out.stride
		a.Start(from)
		if err := a.Run(ctx); err != nil {
			return err
		}
		at += q.n
	}
	p.advance.State, p.advance.Inputs = nil, nil // as of caches that may be gone
	return nil
}
