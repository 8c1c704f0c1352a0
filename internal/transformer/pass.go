package transformer

import "context"

// A pass is activations on their way through the blocks: the rows of one text,
// or of several that do not see each other.
type pass struct {
	d         *Decoder
	sequences []sequence
	x         rows // residual stream
	h         rows // normalized x
	y         rows // what a layer adds to x
	q, k, v   rows // normalized and rotated in place; q becomes what attention gives
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

// hidden ends the pass, which has run every step.
func (p *pass) hidden() *Hidden {
	_ = finalNorm.run(p, context.Background(), 0)
	return &Hidden{p.d, p.x}
}

func (p *pass) block(step int) *block { return &p.d.blocks[p.d.spec.Schedule[step]] }

// normalizeStream computes h from x.
func (p *pass) normalizeStream(w norm) error {
	p.d.normalize(p.h, p.x, w)
	return nil
}

// project computes q = Q h, k = K h and v = V h.
func (p *pass) project(ctx context.Context, step int) error {
	w := p.block(step)
	return p.d.apply(ctx, p.h, product{p.q, w.q}, product{p.k, w.k}, product{p.v, w.v})
}

// normalizeHeads normalizes queries and keys, in the blocks that do.
func (p *pass) normalizeHeads(_ context.Context, step int) error {
	w := p.block(step)
	p.d.normalizeHeads(p.q, w.qNorm)
	p.d.normalizeHeads(p.k, w.kNorm)
	return nil
}

// rotate turns queries and keys to their positions.
func (p *pass) rotate(_ context.Context, step int) error {
	r := p.block(step).rope
	if r == nil {
		return nil
	}
	at := 0
	for _, s := range p.sequences {
		q, k := p.q.part(at, s.n), p.k.part(at, s.n)
		p.d.each(s.n, func(t int) {
			for _, x := range [][]float32{q.row(t), k.row(t)} {
				for ; len(x) > 0; x = x[p.d.spec.HeadDim:] {
					r.rotate(x, s.cache.used+t)
				}
			}
		})
		at += s.n
	}
	return nil
}

// attend adds keys and values to the caches and computes q = attend(q, k, v).
func (p *pass) attend(ctx context.Context, step int) error {
	at := 0
	for _, s := range p.sequences {
		if err := s.cache.append(step, p.k.part(at, s.n), p.v.part(at, s.n)); err != nil {
			return err
		}
		if err := p.d.attend(ctx, s.cache, step, p.q.part(at, s.n)); err != nil {
			return err
		}
		at += s.n
	}
	return nil
}

// leaveAttention computes y = O q.
func (p *pass) leaveAttention(ctx context.Context, step int) error {
	return p.d.apply(ctx, p.q, product{p.y, p.block(step).o})
}

// normalizeLayer normalizes what a layer adds to the stream.
func (p *pass) normalizeLayer(w norm) error {
	p.d.normalize(p.y, p.y, w)
	return nil
}

func (p *pass) addLayer(context.Context, int) error {
	p.x.add(p.y)
	return nil
}

// feed computes gate = Gate h and up = Up h.
func (p *pass) feed(ctx context.Context, step int) error {
	w := p.block(step)
	if p.d.spec.Ungated {
		return p.d.apply(ctx, p.h, product{p.up, w.up})
	}
	return p.d.apply(ctx, p.h, product{p.gate, w.gate}, product{p.up, w.up})
}

// activate computes gate = act(gate) * up, GLU Variants (arXiv 2002.05202),
// equation 6; without a gate, act(up) times one, which is exact.
func (p *pass) activate(context.Context, int) error {
	d := p.d
	d.each(p.x.n, func(t int) {
		if y := p.gate.row(t); d.spec.Ungated {
			d.function(y, p.up.row(t), d.ones)
		} else {
			d.function(y, y, p.up.row(t))
		}
	})
	return nil
}

// leaveFeed computes y = Down gate.
func (p *pass) leaveFeed(ctx context.Context, step int) error {
	return p.d.apply(ctx, p.gate, product{p.y, p.block(step).down})
}
