package transformer

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// queryRows is how many queries of one head are scored together.
const queryRows = 32

// attend replaces each rotated query in q (n, Heads*HeadDim) by its attention output:
// softmax(q K^T * AttnScale) V over the positions up to its own (Attention
// Is All You Need, equation 1), with Heads/KVHeads queries to a key (arXiv
// 2305.13245). A window or chunk leaves the last of these positions; the cache
// keeps all.
func (d *Decoder) attend(ctx context.Context, c *Cache, step int, q rows) error {
	blocks := (q.n + queryRows - 1) / queryRows
	block := d.spec.Schedule[step]
	see := d.spec.AttentionOf(block)
	return parallel.Do(ctx, d.spec.Heads*blocks, func(worker, i int) error {
		// Late blocks see the most keys: hand them out first.
		d.lanes[worker].attendBlock(d, c, c.at(step), q, see, i%d.spec.Heads, (blocks-1-i/d.spec.Heads)*queryRows)
		return nil
	})
}

// attendBlock serves the queries [first, first+queryRows) of one head.
func (l *lane) attendBlock(d *Decoder, c *Cache, e *entry, q rows, see model.Attention, head, first int) {
	var (
		n    = min(queryRows, q.n-first)
		from = see.First(c.used + first)
		keys = c.used + first + n - from // positions that some of the queries see
		kv   = head / (d.spec.Heads / d.spec.KVHeads)
		k    = e.k.read(&l.keys, &l.reader, kv*c.capacity+from, keys)
		v    = e.v.read(&l.values, &l.reader, kv*c.capacity+from, keys)
	)
	l.query = sized(l.query, queryRows*c.keyStride)
	if len(l.scores) < n*keys {
		l.scores = make([]float32, queryRows*c.capacity)
	}
	at := func(t int) []float32 { return q.row(first + t)[head*c.headDim:][:c.headDim] }
	for t := range n {
		copy(l.query[t*c.keyStride:][:c.headDim], at(t))
	}
	kernel.Gemm(l.scores, keys, l.query, c.keyStride, k, c.keyStride, n, keys, c.keyStride)
	for t := range n {
		pos := c.used + first + t
		skip := see.First(pos) - from
		p := l.scores[t*keys:][skip : pos+1-from]
		for j := range p {
			p[j] *= d.attnScale
		}
		kernel.Softmax(p)
		kernel.Mix(at(t), p, v[skip*c.headDim:], c.headDim)
	}
}
