package transformer

import (
	"context"
	"fmt"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A Cache keeps the keys and values of past positions, one entry per step, so
// a shared block keeps those of each of its runs. It grows with use.
type Cache struct {
	used      int // positions held
	capacity  int // positions that there is room for now
	limit     int // positions that there may be
	steps     []entry
	passing   bool // one entry serves all steps, each overwriting the last one's
	heads     int  // key and value heads
	headDim   int
	keyStride int // headDim padded to a multiple of 16
}

// An entry is one step's keys and values.
type entry struct {
	k []float32 // (KVHeads, capacity, keyStride), rotated
	v []float32 // (KVHeads, capacity, HeadDim)
}

// NewCache returns a cache for up to limit positions.
func (d *Decoder) NewCache(limit int) (*Cache, error) {
	s := d.spec
	if limit < 1 || limit > model.MaxLength {
		return nil, fmt.Errorf("a cache of %d positions is out of range, want 1 to %d", limit, model.MaxLength)
	}
	return &Cache{limit: limit, heads: s.KVHeads, headDim: s.HeadDim, keyStride: kernel.Padded(s.HeadDim), steps: make([]entry, len(s.Schedule))}, nil
}

// reserve makes room for n more positions.
func (c *Cache) reserve(n int) error {
	if c.used+n > c.limit {
		return fmt.Errorf("%d positions do not fit a cache of %d", c.used+n, c.limit)
	}
	if c.used+n <= c.capacity {
		return nil
	}
	capacity := min(c.limit, max(c.used+n, 2*c.capacity))
	grown := func(old []float32, width int) []float32 {
		x := make([]float32, c.heads*capacity*width)
		for h := range c.heads {
			copy(x[h*capacity*width:], old[h*c.capacity*width:][:c.used*width])
		}
		return x
	}
	for i, e := range c.steps {
		c.steps[i] = entry{grown(e.k, c.keyStride), grown(e.v, c.headDim)}
	}
	c.capacity = capacity
	return nil
}

// at returns the entry of a step.
func (c *Cache) at(step int) *entry {
	if c.passing {
		step = 0
	}
	return &c.steps[step]
}

// append rotates the keys k and stores them and the values v, both
// (n, KVHeads*HeadDim), at the positions from c.used on.
func (c *Cache) append(step int, r *rope, k, v rows) {
	e := c.at(step)
	for t := range k.n {
		pos := c.used + t
		for h := range c.heads {
			at := h * c.headDim
			key := e.k[(h*c.capacity+pos)*c.keyStride:][:c.headDim]
			copy(key, k.row(t)[at:])
			r.rotate(key, pos)
			copy(e.v[(h*c.capacity+pos)*c.headDim:][:c.headDim], v.row(t)[at:])
		}
	}
}

// queryRows is how many queries of one head are scored together.
const queryRows = 32

// attend replaces each query in q (n, Heads*HeadDim) by its attention output:
// softmax(q K^T * AttnScale) V over the positions up to its own (Attention
// Is All You Need, equation 1), with Heads/KVHeads queries to a key (arXiv
// 2305.13245). A window or chunk leaves the last of these positions; the cache
// keeps all.
func (d *Decoder) attend(ctx context.Context, c *Cache, step int, q rows) error {
	blocks := (q.n + queryRows - 1) / queryRows
	block := d.spec.Schedule[step]
	see, r := d.spec.AttentionOf(block), d.blocks[block].rope
	return parallel.Do(ctx, d.spec.Heads*blocks, func(worker, i int) error {
		// Late blocks see the most keys: hand them out first.
		d.lanes[worker].attendBlock(d, c, c.at(step), r, q, see, i%d.spec.Heads, (blocks-1-i/d.spec.Heads)*queryRows)
		return nil
	})
}

// attendBlock serves the queries [first, first+queryRows) of one head.
func (l *lane) attendBlock(d *Decoder, c *Cache, e *entry, r *rope, q rows, see model.Attention, head, first int) {
	var (
		n    = min(queryRows, q.n-first)
		from = see.First(c.used + first)
		keys = c.used + first + n - from // positions that some of the queries see
		kv   = head / (d.spec.Heads / d.spec.KVHeads)
		k    = e.k[(kv*c.capacity+from)*c.keyStride:]
		v    = e.v[(kv*c.capacity+from)*c.headDim:]
	)
	if len(l.query) < queryRows*c.keyStride {
		l.query = make([]float32, queryRows*c.keyStride)
	}
	if len(l.scores) < n*keys {
		l.scores = make([]float32, queryRows*c.capacity)
	}
	at := func(t int) []float32 { return q.row(first + t)[head*c.headDim:][:c.headDim] }
	for t := range n {
		query := l.query[t*c.keyStride:][:c.headDim]
		copy(query, at(t))
		r.rotate(query, c.used+first+t)
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
