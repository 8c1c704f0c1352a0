package transformer

import (
	"context"
	"fmt"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// Forward runs ids at the positions after those in c, adds these positions to c,
// and returns their final hidden states, after the final norm.
func (d *Decoder) Forward(ctx context.Context, c *Cache, ids []int) (*Hidden, error) {
	if err := c.reserve(len(ids)); err != nil {
		return nil, err
	}
	p := d.newPass([]sequence{{c, len(ids)}})
	if err := p.run(ctx, c, ids); err != nil {
		return nil, err
	}
	return p.finish(), nil
}

// ForwardEach runs one token of each of several texts, at the position after those in its cache,
// which it adds to the cache. It returns the final hidden states, in the order of the texts. They
// are those of Forward for each text alone.
func (d *Decoder) ForwardEach(ctx context.Context, caches []*Cache, ids []int) (*Hidden, error) {
	sequences := make([]sequence, len(caches))
	for i, c := range caches {
		if err := c.reserve(1); err != nil {
			return nil, err
		}
		sequences[i] = sequence{c, 1}
	}
	p := d.newPass(sequences)
	for i, c := range caches {
		if err := p.embed(ids[i:i+1], i, c.used); err != nil {
			return nil, err
		}
	}
	if err := p.steps(ctx); err != nil {
		return nil, err
	}
	return p.finish(), nil
}

// run runs ids, the only sequence of p, up to the final norm.
func (p *pass) run(ctx context.Context, c *Cache, ids []int) error {
	if err := p.embed(ids, 0, c.used); err != nil {
		return err
	}
	return p.steps(ctx)
}

// steps runs all steps on the embeddings, and adds the positions to the caches.
func (p *pass) steps(ctx context.Context) error {
	for step, operations := range p.d.operations {
		for i := range operations {
			if err := operations[i].run(p, ctx, step); err != nil {
				return err
			}
		}
	}
	for _, s := range p.sequences {
		s.cache.used += s.n
	}
	return nil
}

// Next runs one token as Forward does, and writes the logits of the token after it to
// dst, (Vocab). It allocates only when c grows or its positions are new to d.
func (d *Decoder) Next(ctx context.Context, c *Cache, id int, dst []float32) error {
	if err := c.reserve(1); err != nil {
		return err
	}
	if d.single == nil {
		d.single = d.newPass([]sequence{{c, 1}})
	}
	p := d.single
	p.sequences[0].cache = c
	p.extendRopes()
	d.id[0] = id
	err := p.run(ctx, c, d.id[:])
	p.sequences[0].cache = nil
	if err != nil {
		return err
	}
	if err := finalNorm.run(p, ctx, 0); err != nil {
		return err
	}
	v := d.spec.Vocab
	return d.logits(ctx, p.x, rows{1, v, v, dst[:v]})
}

// AtOnce is the number of tokens that Feed runs at a time if its caller does not say.
const AtOnce = 512

// Feed is Forward in chunks of atOnce tokens, or AtOnce if atOnce is 0, which bounds
// the memory of activations. It returns the final hidden states of all positions.
func (d *Decoder) Feed(ctx context.Context, c *Cache, ids []int, atOnce int) (*Hidden, error) {
	if atOnce <= 0 {
		atOnce = AtOnce
	}
	if len(ids) <= atOnce {
		return d.Forward(ctx, c, ids)
	}
	var parts []*Hidden
	for part := range slices.Chunk(ids, atOnce) {
		h, err := d.Forward(ctx, c, part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, h)
	}
	return Join(parts), nil
}

// lookup writes the embedding of each id to x, with that of its position if the model has
// one. The first id is at position first.
func (d *Decoder) lookup(x rows, ids []int, first int) error {
	if d.bounded {
		defer d.embed.Release()
	}
	if d.positions != nil && first+len(ids) > d.positions.Rows {
		return fmt.Errorf("a text of %d tokens is longer than the %d positions that the model has learned", first+len(ids), d.positions.Rows)
	}
	return parallel.Guard(func() error {
		for t, id := range ids {
			if id < 0 || id >= d.spec.Vocab {
				return fmt.Errorf("token id %d is outside the vocabulary of %d", id, d.spec.Vocab)
			}
			row := x.row(t)
			d.workers[0].reader.Row(row, d.embed, id)
			if d.embedScale != 0 {
				multiply(row, d.embedScale)
			}
			if d.positions != nil {
				d.position = sized(d.position, x.width)
				d.workers[0].reader.Row(d.position, d.positions, first+t)
				kernel.Add(row, d.position)
			}
		}
		return nil
	})
}
