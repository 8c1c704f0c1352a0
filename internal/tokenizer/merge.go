package tokenizer

// A symbol is a token on its way; dead once the one to its left took it in.
type symbol struct {
	id         uint32
	rank       uint32 // of the merge with the next symbol, noRank if there is none
	into       uint32 // the token that makes
	prev, next int32  // positions, -1 at the ends
	start, end int32  // of its text in the piece, where the model asks for that
	frozen     bool   // does not merge
}

// A merger holds the memory that the models need.
type merger struct {
	symbols []symbol
	queue   []uint64       // heap of rank<<32 | position
	spelled []uint32       // one character in bytes
	parts   map[string]int // where an unused token was last seen to be put together
	best    []node         // paths of a unigram model
}

// add appends a symbol.
func (w *merger) add(id uint32) *symbol {
	n := int32(len(w.symbols))
	w.symbols = append(w.symbols, symbol{id: id, rank: noRank, prev: n - 1, next: n + 1})
	return &w.symbols[n]
}

// A joiner says which neighbours merge.
type joiner interface {
	// join returns the rank of the merge of two neighbours in piece, lower ones
	// first, and the token it makes, or noRank.
	join(w *merger, piece string, left, right *symbol) (rank, into uint32)
}

// merge merges the symbols: of all neighbours that can, those of the lowest rank
// do, leftmost first, until none can. Time is n log n.
func (w *merger) merge(m joiner, piece string) {
	w.queue = w.queue[:0]
	if n := len(w.symbols); n > 0 {
		w.symbols[n-1].next = -1
	}
	for at := range w.symbols {
		w.rank(m, piece, int32(at))
	}
	for len(w.queue) > 0 {
		top := w.pop()
		rank, at := uint32(top>>32), int32(uint32(top))
		s := &w.symbols[at]
		if s.rank != rank { // merged since it was queued
			continue
		}
		right := &w.symbols[s.next]
		s.id, s.next, s.end = s.into, right.next, right.end
		right.rank = noRank
		right.prev = -2
		if s.next >= 0 {
			w.symbols[s.next].prev = at
		}
		if s.prev >= 0 { // first, as sentencepiece queues it
			w.rank(m, piece, s.prev)
		}
		w.rank(m, piece, at)
	}
}

// rank finds the merge of the symbol at a position with its next one, and
// queues it.
func (w *merger) rank(m joiner, piece string, at int32) {
	s := &w.symbols[at]
	s.rank = noRank
	if s.next < 0 {
		return
	}
	if s.rank, s.into = m.join(w, piece, s, &w.symbols[s.next]); s.rank != noRank {
		w.push(uint64(s.rank)<<32 | uint64(at))
	}
}
func (w *merger) push(v uint64) {
	w.queue = append(w.queue, v)
	i := len(w.queue) - 1
	for i > 0 {
		up := (i - 1) / 2
		if w.queue[up] <= v {
			break
		}
		w.queue[i] = w.queue[up]
		i = up
	}
	w.queue[i] = v
}

func (w *merger) pop() uint64 {
	top, n := w.queue[0], len(w.queue)-1
	v := w.queue[n]
	w.queue = w.queue[:n]
	for i := 0; n > 0; {
		down := 2*i + 1
		if down+1 < n && w.queue[down+1] < w.queue[down] {
			down++
		}
		if down >= n || v <= w.queue[down] {
			w.queue[i] = v
			break
		}
		w.queue[i] = w.queue[down]
		i = down
	}
	return top
}
