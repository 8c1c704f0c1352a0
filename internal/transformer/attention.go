package transformer

import (
	"context"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// queryRows is the number of queries of one head that are scored together.
const queryRows = 32

// attend sets out, (n, Heads*ValueDim), to the attention of each rotated query in q, (n,
// Heads*HeadDim), which may be the same memory: softmax(q K^T * scale) V over the positions up to its own (equation 1 of
// Attention Is All You Need). Each key serves Heads/KVHeads queries (arXiv
// 2305.13245). A window or chunk restricts a query to the most recent of these
// positions, but the cache keeps all of them.
func (d *Decoder) attend(ctx context.Context, c *Cache, step int, q, out rows) error {
	of, e := d.spec.AttentionOf(d.spec.Schedule[step]), c.entry(step)
	from := of.First(c.used)
	d.attention = attention{
		cache: c, entry: e, q: q, out: out, of: of, block: &d.blocks[d.spec.Schedule[step]], blocks: (q.n + queryRows - 1) / queryRows,
		from: from, keys: newSpan(&e.k, c, e.heads, &d.widened[0], from, q.n), values: newSpan(&e.v, c, e.heads, &d.widened[1], from, q.n),
	}
	a := &d.attention
	var err error
	if a.keys.store != nil || a.values.store != nil {
		err = parallel.Do(ctx, 2*e.heads*a.widenBlocks(), d.widenTask)
	}
	if err == nil {
		err = parallel.Do(ctx, d.spec.Heads*a.blocks, d.attendTask)
	}
	d.attention = attention{}
	return err
}

// A span is the vectors of an entry's store from some position on, as float32. Those of
// each head follow each other.
type span struct {
	x      []float32
	head   int    // elements from one head to the next
	stride int    // of a vector
	store  *store // from which to widen, or nil
}

// newSpan returns the span from a position to the last of n new ones. Vectors that are not
// stored as float32 get room in scratch.
func newSpan(s *store, c *Cache, heads int, scratch *[]float32, from, n int) span {
	if s.matrix == nil {
		return span{s.floats[from*s.stride:], c.capacity * s.stride, s.stride, nil}
	}
	head := (c.used + n - from) * s.stride
	if len(*scratch) < heads*head {
		*scratch = make([]float32, max(heads*head, 2*len(*scratch)))
	}
	return span{*scratch, head, s.stride, s}
}

// widenRows is the number of positions of one head that a task widens.
const widenRows = 128

func (a *attention) widenBlocks() int {
	return (a.cache.used + a.q.n - a.from + widenRows - 1) / widenRows
}

// widenBlock is a task of attend: it widens a block of keys or values of one head.
func (d *Decoder) widenBlock(worker, i int) error {
	a := &d.attention
	blocks := a.widenBlocks()
	first, head, s := i%blocks*widenRows, i/blocks/2, &a.keys
	if i/blocks%2 == 1 {
		s = &a.values
	}
	if s.store != nil {
		c := a.cache
		n := min(widenRows, c.used+a.q.n-a.from-first)
		s.store.read(s.x[head*s.head+first*s.stride:], &d.workers[worker].reader, head*c.capacity+a.from+first, n)
	}
	return nil
}

// An attention holds the arguments of attend for its tasks.
type attention struct {
	cache        *Cache
	entry        *entry
	q, out       rows
	of           model.Attention
	block        *block
	blocks       int // of queries
	from         int // the first position of keys and values
	keys, values span
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
	d.workers[worker].attendBlock(d, a, i%d.spec.Heads, (a.blocks-1-i/d.spec.Heads)*queryRows)
	return nil
}

// attendBlock computes the attention of the queries [first, first+queryRows) of
// one head.
func (w *worker) attendBlock(d *Decoder, a *attention, head, first int) {
	var (
		c, e = a.cache, a.entry
		n    = min(queryRows, a.q.n-first)
		from = a.of.First(c.used + first)
		keys = c.used + first + n - from // positions that at least one of the queries attends to
		kv   = head / (d.spec.Heads / e.heads)
		k    = a.keys.x[kv*a.keys.head+(from-a.from)*a.keys.stride:]
		v    = a.values.x[kv*a.values.head+(from-a.from)*a.values.stride:]
	)
	w.query = sized(w.query, queryRows*e.keyStride)
	if len(w.scores) < n*keys {
		w.scores = make([]float32, queryRows*c.capacity)
	}
	at := func(t int) []float32 { return a.q.row(first + t)[head*e.headDim:][:e.headDim] }
	for t := range n {
		copy(w.query[t*e.keyStride:][:e.headDim], at(t))
	}
	kernel.Gemm(w.scores, keys, w.query, e.keyStride, k, e.keyStride, n, keys, e.keyStride)
	for t := range n {
		pos := c.used + first + t
		skip := a.of.First(pos) - from
		p := w.scores[t*keys:][skip : pos+1-from]
		scale := a.block.scale
		if a.block.temper {
			scale *= d.temperatures[pos]
		}
		multiply(p, scale)
		if d.spec.AttnCap != 0 {
			kernel.Softcap(p, float32(d.spec.AttnCap))
		}
		if d.slopes != nil {
			lowerByDistance(p, d.slopes[head])
		}
		if a.block.sinks != nil {
			softmaxBeside(p, a.block.sinks[head])
		} else {
			kernel.Softmax(p)
		}
	}
	for t := 0; t < n; {
		skip, m := a.of.First(c.used+first+t)-from, 1
		for t+m < n && a.of.First(c.used+first+t+m)-from == skip {
			m++
		}
		kernel.MixRows(a.out.data[(first+t)*a.out.stride+head*e.v.width:], a.out.stride, w.scores[t*keys+skip:], keys, m, c.used+first+t+1-from-skip, v[skip*e.v.width:], e.v.width, e.v.width)
		t += m
	}
}

// softmaxBeside replaces the scores p of one query by their part of the softmax of p and sink.
func softmaxBeside(p []float32, sink float32) {
	largest := slices.Max(p)
	kernel.Softmax(p)
	// The largest share is 1/sum, where sum is that of exp(p - largest).
	multiply(p, 1/(1+float32(kernel.Exp(sink-largest)*slices.Max(p))))
}
