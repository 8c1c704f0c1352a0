package tokenizer

// A symbol is a token during merging. After the symbol to its left has merged with it, it
// is dead.
type symbol struct {
	id         uint32
	rank       uint32 // of the merge with the next symbol, or noRank if there is none
	merged     uint32 // the token that this merge makes
	prev, next int32  // positions in merger.symbols, negative at the ends
	start, end int32  // of its text in the piece, for models that need it
	frozen     bool   // whether it never merges
}

// A merger is the scratch memory of a model.
type merger struct {
	symbols []symbol
	queue   []uint64       // heap of rank<<32 | position
	spelled []uint32       // the byte tokens of one character
	parts   map[string]int // by the text of an unused token, the length of the left part of its last merge
	best    []node         // paths of a unigram model
}

// add appends a symbol.
func (w *merger) add(id uint32) *symbol {
	n := int32(len(w.symbols))
	w.symbols = append(w.symbols, symbol{id: id, rank: noRank, prev: n - 1, next: n + 1})
	return &w.symbols[n]
}

// A joiner decides which adjacent symbols merge.
type joiner interface {
	// join returns the rank of the merge of two adjacent symbols in piece and the token
	// that it makes, or noRank if they do not merge. Lower ranks merge first.
	join(w *merger, piece string, left, right *symbol) (rank, merged uint32)
}

// merge merges adjacent symbols until no two can merge. Each time it picks the merge with
// the lowest rank; ties go to the leftmost. It takes O(n log n) time.
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
		if s.rank != rank { // an earlier merge has changed it since it was queued
			continue
		}
		right := &w.symbols[s.next]
		s.id, s.next, s.end = s.merged, right.next, right.end
		right.rank = noRank
		right.prev = -2
		if s.next >= 0 {
			w.symbols[s.next].prev = at
		}
		if s.prev >= 0 { // the left side first, as in sentencepiece
			w.rank(m, piece, s.prev)
		}
		w.rank(m, piece, at)
	}
}

// rank queues the merge of the symbol at position at with the next one, if they merge.
func (w *merger) rank(m joiner, piece string, at int32) {
	s := &w.symbols[at]
	s.rank = noRank
	if s.next < 0 {
		return
	}
	if s.rank, s.merged = m.join(w, piece, s, &w.symbols[s.next]); s.rank != noRank {
		w.push(uint64(s.rank)<<32 | uint64(at))
	}
}

// push adds v to the heap.
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

// pop removes and returns the smallest value in the heap.
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
