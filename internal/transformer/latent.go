package transformer

import (
	"context"

	"thimble/internal/model"
)

// A latentAttention has what a block with model.Latent has besides Q, K, V and O.
type latentAttention struct {
	q, kv         linear
	qNorm, kvNorm norm
}

func latentAttentionOf(m *model.Model, b int) *latentAttention {
	w := &latentAttention{kv: linearOf(m, b, model.LatentKV), kvNorm: norm{gain: vector(m, model.Name(b, model.LatentKVNorm))}}
	if m.Spec.Latent.Query > 0 {
		w.q, w.qNorm = linearOf(m, b, model.LatentQ), norm{gain: vector(m, model.Name(b, model.LatentQNorm))}
	}
	return w
}

func (w *latentAttention) linears(all map[string]*linear) {
	all[model.LatentKV] = &w.kv
	if w.q.w != nil {
		all[model.LatentQ] = &w.q
	}
}

// A latentPass holds the activations of latent attention that others lack. It is empty in models
// without.
type latentPass struct {
	q, qNorm   rows // (positions, Latent.Query); empty if that is 0
	kv, kvNorm rows // (positions, Latent.KeyValue + Rope.Dims) and (positions, Latent.KeyValue)
	k          rows // (positions, KVHeads*KeyRows)
	out        rows // (positions, Heads*ValueDim), the output of attention, whose heads are not as wide as the queries'
}

func newLatentPass(s *model.Spec, n int) (p latentPass) {
	l := s.Latent
	if l.Query > 0 {
		p.q, p.qNorm = newRows(n, l.Query), newRows(n, l.Query)
	}
	p.kv, p.kvNorm = newRows(n, l.KeyValue+s.Rope.Dims), newRows(n, l.KeyValue)
	p.k, p.out = newRows(n, s.KVHeads*s.KeyRows()), newRows(n, s.Heads*s.ValueDim())
	return p
}

func (p *latentPass) all() []*rows {
	return []*rows{&p.q, &p.qNorm, &p.kv, &p.kvNorm, &p.k, &p.out}
}

// activations returns the rows that hold the activations called name.
func (p *latentPass) activations(name string) (rows, bool) {
	if len(p.out.data) == 0 {
		return rows{}, false
	}
	switch name {
	case model.LatentQ:
		return p.q, true
	case model.LatentQNorm:
		return p.qNorm, true
	case model.LatentKV:
		return p.kv, true
	case model.LatentKVNorm:
		return p.kvNorm, true
	case model.K:
		return p.k, true
	case model.Attended:
		return p.out, true
	}
	return rows{}, false
}

// latentOperations returns the operations of latent attention, whose input is called input.
func latentOperations(s *model.Spec, input string) (all []operation) {
	add := func(name string, layers, reads, writes []string, run func(*pass, context.Context, int) error) {
		all = append(all, operation{Operation{name, layers, reads, writes}, run})
	}
	first, norms := list(model.LatentQ, model.LatentKV), list(model.LatentQNorm, model.LatentKVNorm)
	read := first
	if s.Latent.Query == 0 {
		first, read, norms = list(model.Q, model.LatentKV), first[1:], norms[1:]
	}
	add(opLatents, first, list(input), first, (*pass).projectLatents)
	add(opLatentNorm, nil, read, norms, (*pass).normalizeLatents)
	if s.Latent.Query > 0 {
		add(model.Q, list(model.Q), list(model.LatentQNorm), list(model.Q), func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.latent.qNorm, product{p.q, p.block(step).q})
		})
	}
	kv := list(model.K, model.V)
	add(opKV, kv, list(model.LatentKVNorm), kv, func(p *pass, ctx context.Context, step int) error {
		w := p.block(step)
		return p.d.apply(ctx, p.latent.kvNorm, product{p.latent.k, w.k}, product{p.v, w.v})
	})
	add(opRope, nil, list(model.Q, model.K, model.LatentKV), list(model.QRope, model.KRope), func(p *pass, ctx context.Context, step int) error {
		p.joinKeys(p.block(step))
		return p.rotate(ctx, step)
	})
	return append(all, outputOperations(s, model.QRope, model.KRope, model.V)...)
}

// projectLatents computes the latents, and the queries if they have none.
func (p *pass) projectLatents(ctx context.Context, step int) error {
	w := p.block(step)
	q := product{p.q, w.q}
	if p.d.spec.Latent.Query > 0 {
		q = product{p.latent.q, w.latent.q}
	}
	return p.d.apply(ctx, p.input(), q, product{p.latent.kv, w.latent.kv})
}

// normalizeLatents normalizes the latents, of LatentKV those before the rotated dimensions.
func (p *pass) normalizeLatents(_ context.Context, step int) error {
	x, w, eps := &p.latent, p.block(step).latent, float32(p.d.spec.Latent.Eps)
	kv := x.kv
	kv.width = x.kvNorm.width
	p.d.normalizeWith(x.kvNorm, kv, w.kvNorm, eps)
	if len(x.q.data) > 0 {
		p.d.normalizeWith(x.qNorm, x.q, w.qNorm, eps)
	}
	return nil
}

// joinKeys makes the key of each head of its own dimensions and those that are rotated, which
// all heads share.
func (p *pass) joinKeys(w *block) {
	for t := range p.k.n {
		own, shared, key := p.latent.k.row(t), p.latent.kv.row(t)[p.latent.kvNorm.width:], p.k.row(t)
		for ; len(key) > 0; key = key[w.headDim:] {
			own = own[copy(key[:w.still], own):]
			copy(key[w.still:w.headDim], shared)
		}
	}
}
