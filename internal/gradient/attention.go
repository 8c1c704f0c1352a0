package gradient

import (
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// queriesAtOnce is the number of queries of one head that go back together.
const queriesAtOnce = 64

// An attentionScratch is the memory of one core.
type attentionScratch struct {
	k, v             []float32 // (keys, stride), of one head
	keysT            []float32 // (HeadDim, keys)
	dk, dv           []float32 // (keys, stride)
	q, dy            []float32 // (queries, stride)
	qT, dyT          []float32 // (HeadDim, queries)
	p, ds            []float32 // (queries, keys): probabilities, and gradients of the scores
	transposed, part []float32
	factors          []float32 // of the gradients of a query's scores
}

// attention goes back through softmax(q k^T * scale) v. A task is a head of keys and values
// in one text, with all heads of queries that read it.
func (p *pass) attention(step int, o *transformer.Operation) error {
	b := p.s.Schedule[step]
	a := &attention{
		s: p.s, of: p.s.AttentionOf(b), y: p.acts[model.Attended], dy: p.spend(model.Attended),
		temper: p.s.Temperature.Length > 0 && !(p.s.Temperature.Unrotated && p.s.RopeOf(b) != nil),
	}
	for i, x := range []*rows{&a.q, &a.k, &a.v} {
		*x = p.acts[o.Reads[i]]
	}
	for i, x := range []*rows{&a.dq, &a.dk, &a.dv} {
		*x = p.gradient(o.Reads[i])
	}
	first := make([]int, len(p.lengths))
	for i := 1; i < len(first); i++ {
		first[i] = first[i-1] + p.lengths[i-1]
	}
	return parallel.Do(p.ctx, len(p.lengths)*p.s.KVHeads, func(worker, i int) error {
		text := i / p.s.KVHeads
		a.back(&p.workers[worker].attention, i%p.s.KVHeads, first[text], p.lengths[text])
		return nil
	})
}

// An attention is one step's, with the gradients of what it reads and writes.
type attention struct {
	s              *model.Spec
	of             model.Attention
	temper         bool
	q, k, v, y     rows
	dq, dk, dv, dy rows
}

// back goes back through the attention to head kv of n positions from first on.
func (a *attention) back(w *attentionScratch, kv, first, n int) {
	dim := a.s.HeadDim
	stride := kernel.Padded(dim)
	keys := kernel.Padded(n)
	for _, x := range []*[]float32{&w.k, &w.v, &w.dk, &w.dv, &w.part} {
		*x = sized(*x, keys*stride)
		clear(*x)
	}
	w.keysT = sized(w.keysT, stride*keys)
	clear(w.keysT)
	for t := range n {
		copy(w.k[t*stride:], a.k.row(first + t)[kv*dim:][:dim])
		copy(w.v[t*stride:], a.v.row(first + t)[kv*dim:][:dim])
	}
	transpose(w.keysT, keys, rows{n, dim, stride, w.k}, 0, dim)
	group := a.s.Heads / a.s.KVHeads
	for head := kv * group; head < (kv+1)*group; head++ {
		for at := 0; at < n; at += queriesAtOnce {
			a.backBlock(w, head, first, at, min(queriesAtOnce, n-at), keys)
		}
	}
	for t := range n {
		kernel.Add(a.dk.row(first + t)[kv*dim:][:dim], w.dk[t*stride:][:dim])
		kernel.Add(a.dv.row(first + t)[kv*dim:][:dim], w.dv[t*stride:][:dim])
	}
}

// backBlock is back for n queries of one head, the first of which is at position at of its
// text. w.keysT has rows of ld elements.
func (a *attention) backBlock(w *attentionScratch, head, first, at, n, ld int) {
	dim := a.s.HeadDim
	stride := kernel.Padded(dim)
	from := a.of.First(at) &^ 15 // so that rows of keysT begin there
	keys := at + n - from
	k := kernel.Padded(keys)
	queries := kernel.Padded(n)
	for _, x := range []*[]float32{&w.q, &w.dy, &w.qT, &w.dyT} {
		*x = sized(*x, queries*stride)
		clear(*x)
	}
	for t := range n {
		copy(w.q[t*stride:], a.q.row(first + at + t)[head*dim:][:dim])
		copy(w.dy[t*stride:], a.dy.row(first + at + t)[head*dim:][:dim])
	}
	w.p, w.ds = sized(w.p, queries*k), sized(w.ds, queries*k)
	kernel.Gemm(w.p, k, w.q, stride, w.k[from*stride:], stride, n, keys, stride)
	kernel.Gemm(w.ds, k, w.dy, stride, w.v[from*stride:], stride, n, keys, stride)
	for t := range n {
		pos := at + t
		y := a.y.row(first + pos)[head*dim:][:dim]
		a.backScores(w, w.p[t*k:][:k], w.ds[t*k:][:k], a.of.First(pos)-from, pos+1-from, pos, kernel.Dot(y, w.dy[t*stride:][:dim]))
	}
	clear(w.p[n*k:])
	clear(w.ds[n*k:])

	w.part = sized(w.part, max(queries, k)*stride)
	kernel.Gemm(w.part, stride, w.ds, k, w.keysT[from:], ld, n, dim, k)
	for t := range n {
		kernel.Add(a.dq.row(first + at + t)[head*dim:][:dim], w.part[t*stride:][:dim])
	}
	transpose(w.qT, queries, rows{n, dim, stride, w.q}, 0, dim)
	transpose(w.dyT, queries, rows{n, dim, stride, w.dy}, 0, dim)
	w.transposed = sized(w.transposed, k*queries)
	for _, x := range []struct{ scores, values, sum []float32 }{{w.ds, w.qT, w.dk}, {w.p, w.dyT, w.dv}} {
		transpose(w.transposed, queries, rows{queries, k, k, x.scores}, 0, keys)
		kernel.Gemm(w.part, stride, w.transposed, queries, x.values, queries, keys, dim, queries)
		for j := range keys {
			kernel.Add(x.sum[(from+j)*stride:][:dim], w.part[j*stride:][:dim])
		}
	}
}

// backScores turns the products p of a query with keys into their probabilities, and ds, the
// gradients of these, into those of the products. The query, at position pos, sees the keys
// [skip, end). mean is the sum of ds weighted by p.
func (a *attention) backScores(w *attentionScratch, p, ds []float32, skip, end, pos int, mean float32) {
	clear(p[:skip])
	clear(ds[:skip])
	clear(p[end:])
	clear(ds[end:])
	p, ds = p[skip:end], ds[skip:end]
	scale := float32(a.s.ScoreScale())
	if a.temper {
		scale *= float32(a.s.Temperature.At(pos))
	}
	for i := range p {
		p[i] *= scale
	}
	limit := float32(a.s.AttnCap)
	if limit != 0 {
		kernel.Softcap(p, limit)
		w.factors = append(w.factors[:0], p...)
	}
	kernel.Softmax(p)
	for i, v := range p {
		ds[i] = float32(v*(ds[i]-mean)) * scale
	}
	if limit != 0 {
		for i, v := range w.factors {
			ds[i] *= capSlope(v, limit)
		}
	}
}

// capSlope returns the derivative of limit*tanh(x/limit), given its value y.
func capSlope(y, limit float32) float32 {
	t := y / limit
	return 1 - float32(t*t)
}
