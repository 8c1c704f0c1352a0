package transformer

import (
	"context"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/transformer/recurrence"
)

// A pass holds the activations of one forward pass over one text or over several
// independent texts.
type pass struct {
	d         *Decoder
	sequences []sequence
	x         rows        // (positions, Hidden), the residual stream
	h         rows        // (positions, Hidden), normalized x
	h2        rows        // (positions, Hidden), x normalized for the feed-forward layer; empty unless TwoNorms
	y         rows        // (positions, Hidden), what a layer adds to x
	q, k, v   rows        // normalized and rotated in place; attention overwrites q with its output
	gate, up  rows        // the activation overwrites gate with act(gate) * up
	shapes    []*shape    // of each block; nil if all have the same
	experts   *expertPass // nil without experts
	layer     *layerPass  // nil without Layer
	altUp     *altUpPass  // nil with a single stream
	laurel    rows        // (positions, Laurel); empty without
	conv      rows        // (positions, 3*Hidden), of a convolution; empty if there is none
	convolved rows        // (positions, Hidden)
	attnGate  rows        // (positions, Heads*HeadDim); empty unless AttnGate
	latent    latentPass
	delta     *deltaPass // nil without blocks with the delta rule
	scan      *scanPass  // nil without state spaces
	advance   recurrence.Advance
}

// A sequence is the next n positions of one text, after those in its cache.
type sequence struct {
	cache *Cache
	n     int
}

func (d *Decoder) newPass(sequences []sequence) *pass {
	s, n := d.spec, 0
	for _, q := range sequences {
		n += q.n
	}
	p := &pass{
		d: d, sequences: sequences, x: newRows(n, s.Hidden), h: newRows(n, s.Hidden), y: newRows(n, s.Hidden),
		q: newRows(n, s.Heads*s.HeadDim), k: newRows(n, s.KVHeads*s.HeadDim), v: newRows(n, s.KVHeads*s.ValueDim()),
	}
	if s.IsLatent() {
		p.latent = newLatentPass(s, n)
	}
	p.shapes = shapesOf(s, n)
	if s.Layer.Width > 0 {
		p.layer = newLayerPass(s, n)
	}
	if s.AltUp.Streams > 0 {
		p.altUp = newAltUpPass(s, n)
	}
	if s.Laurel > 0 {
		p.laurel = newRows(n, s.Laurel)
	}
	if s.HasFFN() {
		p.gate, p.up = newRows(n, s.FFN), newRows(n, s.FFN)
	}
	if s.Experts.Count > 0 {
		p.experts = newExpertPass(s, n)
	}
	if s.TwoNorms {
		p.h2 = newRows(n, s.Hidden)
	}
	if slices.ContainsFunc(s.Attention, func(a model.Attention) bool { return a.Conv > 0 }) {
		p.conv, p.convolved = newRows(n, 3*s.Hidden), newRows(n, s.Hidden)
	}
	if s.AttnGate {
		p.attnGate = newRows(n, s.Heads*s.HeadDim)
	}
	if slices.ContainsFunc(s.Attention, func(a model.Attention) bool { return a.Delta > 0 }) {
		p.delta = newDeltaPass(s, n)
	}
	if s.Scan.Heads > 0 {
		p.scan = newScanPass(s, n, p.y)
	}
	p.extendRopes()
	return p
}

// residuals returns the residual stream, or all of them.
func (p *pass) residuals() []rows {
	if p.altUp == nil {
		return []rows{p.x}
	}
	return append([]rows{p.x}, p.altUp.streams...)
}

// ffnInput returns the rows that hold the input of the feed-forward layer.
func (p *pass) ffnInput() rows {
	if p.d.spec.TwoNorms {
		return p.h2
	}
	return p.input()
}

// extendRopes computes the angles and temperatures of all positions of p.
func (p *pass) extendRopes() {
	for _, q := range p.sequences {
		for _, r := range p.d.ropes {
			r.Extend(q.cache.used + q.n)
		}
		p.d.extendTemperatures(q.cache.used + q.n)
	}
}

// finish applies the final norm, after all steps have run.
func (p *pass) finish() *Hidden {
	_ = finalNorm.run(p, context.Background(), 0)
	return &Hidden{p.d, p.x}
}

func (p *pass) block(step int) *block { return &p.d.blocks[p.d.spec.Schedule[step]] }

// normalizeStream computes h = norm(x).
func (p *pass) normalizeStream(h rows, w norm) error {
	p.d.normalize(h, p.x, w)
	return nil
}

// input returns what attention and the feed-forward layer read.
func (p *pass) input() rows {
	if p.d.spec.NoPreNorm {
		return p.x
	}
	return p.h
}

// projectQKV computes q = Q h, k = K h and v = V h, of those that the block has, and the gates
// of AttnGate. Without V, v = k.
func (p *pass) projectQKV(ctx context.Context, step int) error {
	p.reshape(step)
	w := p.block(step)
	products, n := [4]product{{p.q, w.q}}, 1
	for _, one := range [3]product{{p.k, w.k}, {p.v, w.v}, {p.attnGate, w.attnGate}} {
		if one.w != nil {
			products[n] = one
			n++
		}
	}
	if err := p.d.apply(ctx, p.input(), products[:n]...); err != nil {
		return err
	}
	if w.k.w != nil && w.v.w == nil {
		copy(p.v.data, p.k.data)
	}
	return nil
}

// normalizeHeads normalizes queries and keys, in blocks with QK norms.
func (p *pass) normalizeHeads(_ context.Context, step int) error {
	w := p.block(step)
	p.d.normalizeHeads(p.q, w.qNorm)
	p.d.normalizeHeads(p.k, w.kNorm)
	return nil
}

// normalizeValues normalizes values, in models with VNorm.
func (p *pass) normalizeValues(_ context.Context, step int) error {
	p.d.normalizeHeads(p.v, p.block(step).vNorm)
	return nil
}

// rotate applies the rotary embedding to queries and keys.
func (p *pass) rotate(_ context.Context, step int) error {
	w := p.block(step)
	if w.rope == nil {
		return nil
	}
	at := 0
	for _, s := range p.sequences {
		q, k, first := p.q.slice(at, s.n), p.k.slice(at, s.n), s.cache.used
		at += s.n
		if s.n == 1 {
			p.rotateRows(w, q, k, first, 0, 1)
			continue
		}
		p.d.ranges(s.n, func(from, to int) { p.rotateRows(w, q, k, first, from, to) })
	}
	return nil
}

// rotateRows rotates the rows [from, to) of q, and of k if the block w has keys of its own.
// Row 0 has the given position.
func (p *pass) rotateRows(w *block, q, k rows, position, from, to int) {
	for t := from; t < to; t++ {
		for i, x := range [2][]float32{q.row(t), k.row(t)} {
			for ; len(x) > 0 && (i == 0 || w.k.w != nil); x = x[w.headDim:] {
				w.rope.Rotate(x[w.still:], position+t)
			}
		}
	}
}

// attend appends keys and values to the caches and computes attention(q, k, v), in place of q if
// its heads are as wide as those of the values.
func (p *pass) attend(ctx context.Context, step int) error {
	at, out := 0, p.activations(model.Attended)
	for _, s := range p.sequences {
		if err := s.cache.append(step, p.k.slice(at, s.n), p.v.slice(at, s.n)); err != nil {
			return err
		}
		if err := p.d.attend(ctx, s.cache, step, p.q.slice(at, s.n), out.slice(at, s.n)); err != nil {
			return err
		}
		at += s.n
	}
	return nil
}

// gateAttention computes q = q * sigmoid(gate).
func (p *pass) gateAttention(context.Context, int) error {
	for t := range p.q.n {
		gates := p.attnGate.row(t)
		for i, x := range p.q.row(t) {
			p.q.row(t)[i] = x / (1 + kernel.Exp(-gates[i]))
		}
	}
	return nil
}

// projectOutput computes y = O x, where x is the output of attention.
func (p *pass) projectOutput(ctx context.Context, step int) error {
	return p.d.apply(ctx, p.activations(model.Attended), product{p.y, p.block(step).o})
}

// normalizeLayer normalizes y, the output of a layer, in place.
func (p *pass) normalizeLayer(w norm) error {
	p.d.normalize(p.y, p.y, w)
	return nil
}

func (p *pass) addLayer(context.Context, int) error {
	if scale := p.d.residScale; scale != 0 {
		for t := range p.y.n {
			multiply(p.y.row(t), scale)
		}
	}
	p.x.add(p.y)
	return nil
}

// projectGateUp computes gate = Gate h and up = Up h.
func (p *pass) projectGateUp(ctx context.Context, step int) error {
	w, h := p.block(step), p.ffnInput()
	if p.d.spec.Ungated {
		return p.d.apply(ctx, h, product{p.up, w.up})
	}
	return p.d.apply(ctx, h, product{p.gate, w.gate}, product{p.up, w.up})
}

// activate computes gate = act(gate) * up, equation 6 of GLU Variants (arXiv
// 2002.05202). Without a gate it computes act(up) * 1; the multiplication is exact.
func (p *pass) activate(_ context.Context, step int) error {
	p.d.activate(p.block(step).activation, p.gate, p.up)
	return nil
}

// activate computes gate = act(gate) * up, or act(up) if the model is Ungated.
func (d *Decoder) activate(act func(dst, gate, up []float32), gate, up rows) {
	if gate.n == 1 {
		d.activateRows(act, gate, up, 0, 1)
	} else {
		d.ranges(gate.n, func(from, to int) { d.activateRows(act, gate, up, from, to) })
	}
}

// activateRows is activate for the rows [from, to).
func (d *Decoder) activateRows(act func(dst, gate, up []float32), gate, up rows, from, to int) {
	for t := from; t < to; t++ {
		if y := gate.row(t); d.spec.Ungated {
			act(y, up.row(t), d.ones)
		} else {
			act(y, y, up.row(t))
		}
	}
}

// projectDown computes y = Down gate.
func (p *pass) projectDown(ctx context.Context, step int) error {
	return p.d.apply(ctx, p.gate, product{p.y, p.block(step).down})
}
