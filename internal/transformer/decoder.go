// Package transformer is the forward pass: one decoder for every model, driven
// by the features in model.Spec.
//
// All arithmetic is float32 by the loops of package kernel, whose results do
// not depend on the machine. Every output of a linear layer is one kernel.Dot
// of an input row and a weight row, whatever the batch, so a prompt fed at once
// and a prompt fed token by token give the same bits, on any number of cores.
package transformer

import (
	"context"
	"fmt"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Decoder runs one model. Weights stay as stored and are widened a few rows
// at a time. A Decoder serves one goroutine, which it spreads over all cores.
type Decoder struct {
	spec   *model.Spec
	embed  *qtensor.Matrix // (Vocab, Hidden)
	head   *qtensor.Matrix // (Vocab, Hidden); embed itself when tied
	norm   []float32       // (Hidden)
	blocks []block
	rope   rope
	lanes  []lane // scratch, one per worker
}

// A block is one stored layer.
type block struct {
	attnNorm, ffnNorm []float32 // (Hidden)
	qNorm, kNorm      []float32 // (HeadDim), or nil
	q                 linear    // (Heads*HeadDim, Hidden)
	k, v              linear    // (KVHeads*HeadDim, Hidden)
	o                 linear    // (Hidden, Heads*HeadDim)
	gate, up          linear    // (FFN, Hidden)
	down              linear    // (Hidden, FFN)
}

// A lane is one worker's scratch.
type lane struct {
	reader qtensor.Reader
	panel  []float32 // widened weight rows, (panelRows, stride)
	query  []float32 // rotated queries of one head, (queryRows, stride)
	scores []float32 // (queryRows, positions)
}

// New prepares a Decoder for m, which must have passed Check. It widens only
// the norm gains and biases.
func New(m *model.Model) (*Decoder, error) {
	s := &m.Spec
	d := &Decoder{
		spec: s, embed: m.Tensors[model.Embed], head: m.Tensors[m.HeadName()],
		blocks: make([]block, s.Blocks), rope: newRope(s), lanes: make([]lane, parallel.Workers()),
	}
	err := parallel.Guard(func() error {
		d.norm = vector(m, model.Norm)
		for b := range d.blocks {
			name := func(kind string) string { return model.Name(b, kind) }
			lin := func(kind string, biased bool) linear {
				l := linear{w: m.Tensors[name(kind)]}
				if biased {
					l.bias = vector(m, name(kind+model.BiasSuffix))
				}
				return l
			}
			d.blocks[b] = block{
				attnNorm: vector(m, name(model.AttnNorm)), ffnNorm: vector(m, name(model.FFNNorm)),
				q: lin(model.Q, s.Bias.QKV), k: lin(model.K, s.Bias.QKV), v: lin(model.V, s.Bias.QKV),
				o:    lin(model.O, s.Bias.O),
				gate: lin(model.Gate, s.Bias.FFN), up: lin(model.Up, s.Bias.FFN), down: lin(model.Down, s.Bias.FFN),
			}
			if s.QKNorm == model.QKGain {
				d.blocks[b].qNorm, d.blocks[b].kNorm = vector(m, name(model.QNorm)), vector(m, name(model.KNorm))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", model.Printable(m.Path), err)
	}
	return d, nil
}

func vector(m *model.Model, name string) []float32 {
	t := m.Tensors[name]
	x := make([]float32, t.Cols)
	new(qtensor.Reader).Row(x, t, 0)
	return x
}

// Forward runs ids at the positions that follow what c holds, adds them to c,
// and returns the final hidden states, normalized for the head.
func (d *Decoder) Forward(ctx context.Context, c *Cache, ids []int) (*Hidden, error) {
	s, n := d.spec, len(ids)
	if err := c.reserve(n); err != nil {
		return nil, err
	}
	x := newRows(n, s.Hidden) // residual stream
	if err := d.lookup(x, ids); err != nil {
		return nil, err
	}
	d.rope.extend(c.used + n)
	var (
		h    = newRows(n, s.Hidden)          // normalized x, and what a layer adds to it
		q    = newRows(n, s.Heads*s.HeadDim) // queries, then attention output
		k    = newRows(n, s.KVHeads*s.HeadDim)
		v    = newRows(n, s.KVHeads*s.HeadDim)
		gate = newRows(n, s.FFN)
		up   = newRows(n, s.FFN)
	)
	for step, b := range s.Schedule {
		w := &d.blocks[b]

		// x += O attend(Q norm(x), K norm(x), V norm(x))
		d.normalize(h, x, w.attnNorm)
		if err := d.apply(ctx, h, product{q, w.q}, product{k, w.k}, product{v, w.v}); err != nil {
			return nil, err
		}
		d.normalizeHeads(q, w.qNorm)
		d.normalizeHeads(k, w.kNorm)
		c.append(step, &d.rope, k, v)
		if err := d.attend(ctx, c, step, q); err != nil {
			return nil, err
		}
		if err := d.apply(ctx, q, product{h, w.o}); err != nil {
			return nil, err
		}
		x.add(h)

		// x += Down(silu(Gate norm(x)) * Up norm(x)), GLU Variants (arXiv 2002.05202), equation 6
		d.normalize(h, x, w.ffnNorm)
		if err := d.apply(ctx, h, product{gate, w.gate}, product{up, w.up}); err != nil {
			return nil, err
		}
		d.each(n, func(t int) { kernel.SiLUMul(gate.row(t), gate.row(t), up.row(t)) })
		if err := d.apply(ctx, gate, product{h, w.down}); err != nil {
			return nil, err
		}
		x.add(h)
	}
	c.used += n
	d.normalize(x, x, d.norm)
	return &Hidden{d, x}, nil
}

// lookup writes the embedding of each id to x.
func (d *Decoder) lookup(x rows, ids []int) error {
	return parallel.Guard(func() error {
		for t, id := range ids {
			if id < 0 || id >= d.spec.Vocab {
				return fmt.Errorf("token id %d is outside the vocabulary of %d", id, d.spec.Vocab)
			}
			d.lanes[0].reader.Row(x.row(t), d.embed, id)
		}
		return nil
	})
}

// normalize writes RMSNorm(x) with gains w to h (arXiv 1910.07467, equation 4).
func (d *Decoder) normalize(h, x rows, w []float32) {
	d.each(x.n, func(t int) { kernel.RMSNorm(h.row(t), x.row(t), w, float32(d.spec.NormEps)) })
}

// normalizeHeads normalizes each head of x in place with gains w (HeadDim), if
// there are any.
func (d *Decoder) normalizeHeads(x rows, w []float32) {
	if w == nil {
		return
	}
	d.each(x.n, func(t int) {
		for at := 0; at < x.width; at += len(w) {
			head := x.row(t)[at:][:len(w)]
			kernel.RMSNorm(head, head, w, float32(d.spec.NormEps))
		}
	})
}

// each calls f for every position on all cores.
func (d *Decoder) each(n int, f func(t int)) {
	const chunk = 16 // positions per task, so that short prompts stay on one core
	_ = parallel.Do(context.Background(), (n+chunk-1)/chunk, func(_, i int) error {
		for t := i * chunk; t < min(n, (i+1)*chunk); t++ {
			f(t)
		}
		return nil
	})
}

// Hidden holds the final hidden states of the positions of one Forward.
type Hidden struct {
	d *Decoder
	x rows // (positions, Hidden)
}

// Len is the number of positions.
func (h *Hidden) Len() int { return h.x.n }

// Logits writes the scores of the token after each of the positions
// [from, from+n) to dst, (n, Vocab).
func (h *Hidden) Logits(ctx context.Context, dst []float32, from, n int) error {
	if from < 0 || n < 0 || from+n > h.x.n {
		return fmt.Errorf("positions [%d, %d) are outside a prompt of %d", from, from+n, h.x.n)
	}
	v := h.d.spec.Vocab
	y := rows{n: n, width: v, stride: v, data: dst[:n*v]}
	x := rows{n: n, width: h.x.width, stride: h.x.stride, data: h.x.data[from*h.x.stride:]}
	return h.d.apply(ctx, x, product{y, linear{w: h.d.head}})
}
