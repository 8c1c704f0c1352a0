package transformer

import (
	"context"

	"thimble/internal/model"
)

// A pass is activations on their way through the blocks: the rows of one text,
// or of several that do not see each other.
type pass struct {
	d         *Decoder
	sequences []sequence
	x         rows // residual stream
	h         rows // normalized x
	y         rows // what a layer adds to x
	q, k, v   rows // q becomes what attention gives
	gate, up  rows // gate becomes act(gate) * up
}

// A sequence is n rows at the positions that follow what its cache holds.
type sequence struct {
	cache *Cache
	n     int
}

func (d *Decoder) newPass(sequences []sequence) *pass {
	s, n := d.spec, 0
	for _, q := range sequences {
		n += q.n
		for _, r := range d.ropes {
			r.extend(q.cache.used + q.n)
		}
	}
	return &pass{
		d: d, sequences: sequences, x: newRows(n, s.Hidden), h: newRows(n, s.Hidden), y: newRows(n, s.Hidden),
		q: newRows(n, s.Heads*s.HeadDim), k: newRows(n, s.KVHeads*s.HeadDim), v: newRows(n, s.KVHeads*s.HeadDim),
		gate: newRows(n, s.FFN), up: newRows(n, s.FFN),
	}
}

// hidden ends the pass.
func (p *pass) hidden() *Hidden {
	p.d.normalize(p.x, p.x, p.d.norm)
	return &Hidden{p.d, p.x}
}

// A stage of a block is the linear layers that read one input, and what is
// computed from their outputs up to the next stage.
type stage struct {
	kinds []string                                           // of the linear layers
	input func(p *pass, step int) rows                       // computes it
	run   func(p *pass, ctx context.Context, step int) error // after input
}

// stagesOf lists the stages of every block of a model.
func stagesOf(s *model.Spec) []stage {
	into := []string{model.Gate, model.Up}
	if s.Ungated {
		into = into[1:]
	}
	return []stage{
		{[]string{model.Q, model.K, model.V}, (*pass).attentionInput, (*pass).attend},
		{[]string{model.O}, func(p *pass, _ int) rows { return p.q }, (*pass).leaveAttention},
		{into, (*pass).feedInput, (*pass).feed},
		{[]string{model.Down}, func(p *pass, _ int) rows { return p.gate }, (*pass).leaveFeed},
	}
}

func (p *pass) block(step int) *block { return &p.d.blocks[p.d.spec.Schedule[step]] }

func (p *pass) attentionInput(step int) rows {
	p.d.normalize(p.h, p.x, p.block(step).attnNorm)
	return p.h
}

// attend computes q = attend(Q h, K h, V h) and adds the keys and values to the
// caches.
func (p *pass) attend(ctx context.Context, step int) error {
	d, w := p.d, p.block(step)
	if err := d.apply(ctx, p.h, product{p.q, w.q}, product{p.k, w.k}, product{p.v, w.v}); err != nil {
		return err
	}
	d.normalizeHeads(p.q, w.qNorm)
	d.normalizeHeads(p.k, w.kNorm)
	at := 0
	for _, s := range p.sequences {
		if err := s.cache.append(step, w.rope, p.k.part(at, s.n), p.v.part(at, s.n)); err != nil {
			return err
		}
		if err := d.attend(ctx, s.cache, step, p.q.part(at, s.n)); err != nil {
			return err
		}
		at += s.n
	}
	return nil
}

// leaveAttention adds O q to the stream.
func (p *pass) leaveAttention(ctx context.Context, step int) error {
	w := p.block(step)
	return p.add(ctx, product{p.y, w.o}, p.q, w.attnPost)
}

// add adds a layer's output, normalized by post where there is such a norm, to
// the stream.
func (p *pass) add(ctx context.Context, out product, in rows, post norm) error {
	if err := p.d.apply(ctx, in, out); err != nil {
		return err
	}
	if p.d.spec.PostNorm {
		p.d.normalize(p.y, p.y, post)
	}
	p.x.add(p.y)
	return nil
}

// feedInput leaves h as attention read it in a Parallel model.
func (p *pass) feedInput(step int) rows {
	if !p.d.spec.Parallel {
		p.d.normalize(p.h, p.x, p.block(step).ffnNorm)
	}
	return p.h
}

// feed computes gate = act(Gate h) * Up h, GLU Variants (arXiv 2002.05202),
// equation 6; without a gate, act(Up h).
func (p *pass) feed(ctx context.Context, step int) error {
	d, w := p.d, p.block(step)
	ps := []product{{p.gate, w.gate}, {p.up, w.up}}
	if d.spec.Ungated {
		ps = []product{{p.gate, w.up}}
		for i := range p.up.data {
			p.up.data[i] = 1 // and so times one, which is exact
		}
	}
	if err := d.apply(ctx, p.h, ps...); err != nil {
		return err
	}
	d.each(p.h.n, func(t int) { d.activate(p.gate.row(t), p.gate.row(t), p.up.row(t)) })
	return nil
}

// leaveFeed adds Down gate to the stream.
func (p *pass) leaveFeed(ctx context.Context, step int) error {
	w := p.block(step)
	return p.add(ctx, product{p.y, w.down}, p.gate, w.ffnPost)
}
