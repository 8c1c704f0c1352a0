package transformer

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// queryRows is the number of queries of one head that are scored together.
const queryRows = 32

// attend replaces each rotated query in q, (n, Heads*HeadDim), by its attention
// output softmax(q K^T * scale) V over the positions up to its own (equation 1 of
// Attention Is All You Need). Each key serves Heads/KVHeads queries (arXiv
// 2305.13245). A window or chunk restricts a query to the most recent of these
// positions, but the cache keeps all of them.
func (d *Decoder) attend(ctx context.Context, c *Cache, step int, q rows) error {
	d.attention = attention{
		cache: c, entry: c.entry(step), q: q, of: d.spec.AttentionOf(d.spec.Schedule[step]),
		temper: d.blocks[d.spec.Schedule[step]].temper, blocks: (q.n + queryRows - 1) / queryRows,
	}
	err := parallel.Do(ctx, d.spec.Heads*d.attention.blocks, d.attendTask)
	d.attention = attention{}
	return err
}

// An attention holds the arguments of attend for its tasks.
type attention struct {
	cache  *Cache
	entry  *entry
	q      rows
	of     model.Attention
	temper bool
	blocks int
}

// extendTemperatures grows the temperatures to n positions.
func (d *Decoder) extendTemperatures(n int) {
	t := &d.spec.Temperature
	for p := len(d.temperatures); t.Length > 0 && p < n; p++ {
		d.temperatures = append(d.temperatures, float32(t.At(p)))
	}
}

// attendHead is a task of attend. The last blocks attend to the most keys, so they come
// first.
func (d *Decoder) attendHead(worker, i int) error {
	a := &d.attention
	d.workers[worker].attendBlock(d, a.cache, a.entry, a.q, a.of, a.temper, i%d.spec.Heads, (a.blocks-1-i/d.spec.Heads)*queryRows)
	return nil
}

// attendBlock computes the attention of the queries [first, first+queryRows) of
// one head.
func (w *worker) attendBlock(d *Decoder, c *Cache, e *entry, q rows, attention model.Attention, temper bool, head, first int) {
	var (
		n    = min(queryRows, q.n-first)
		from = attention.First(c.used + first)
		keys = c.used + first + n - from // positions that at least one of the queries attends to
		kv   = head / (d.spec.Heads / d.spec.KVHeads)
		k    = e.k.read(&w.keys, &w.reader, kv*c.capacity+from, keys)
		v    = e.v.read(&w.values, &w.reader, kv*c.capacity+from, keys)
	)
	w.query = sized(w.query, queryRows*c.keyStride)
	if len(w.scores) < n*keys {
		w.scores = make([]float32, queryRows*c.capacity)
	}
	at := func(t int) []float32 { return q.row(first + t)[head*c.headDim:][:c.headDim] }
	for t := range n {
		copy(w.query[t*c.keyStride:][:c.headDim], at(t))
	}
	kernel.Gemm(w.scores, keys, w.query, c.keyStride, k, c.keyStride, n, keys, c.keyStride)
	for t := range n {
		pos := c.used + first + t
		skip := attention.First(pos) - from
		p := w.scores[t*keys:][skip : pos+1-from]
		scale := d.attnScale
		if temper {
			scale *= d.temperatures[pos]
		}
		for j := range p {
			p[j] *= scale
		}
		if d.spec.AttnCap != 0 {
			kernel.Softcap(p, float32(d.spec.AttnCap))
		}
		if d.slopes != nil {
			lowerByDistance(p, d.slopes[head])
		}
		kernel.Softmax(p)
		kernel.Mix(at(t), p, v[skip*c.headDim:], c.headDim)
	}
}
