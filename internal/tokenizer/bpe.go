package tokenizer

import (
	"math"

	"thimble/internal/defect"
)

// bpe is byte pair encoding over a byte-level vocabulary.
type bpe struct {
	vocab  map[string]uint32 // tokens that merges can make
	bytes  [256]int32        // the token of each byte, -1 if there is none
	rank   map[uint64]uint32 // left<<32 | right -> rank, lower merges first
	into   []uint32          // by rank, the token that the merge makes
	direct bool              // a piece that is a token is not built by merges
}

const noRank = math.MaxUint32

func newBPE(d *Data) (*bpe, error) {
	if len(d.Merges)%2 != 0 || len(d.Merges) > 2*maxTokens {
		return nil, corrupt("merges", "%d ids, want pairs and at most %d", len(d.Merges), 2*maxTokens)
	}
	m := &bpe{
		vocab:  make(map[string]uint32, len(d.Tokens)),
		rank:   make(map[uint64]uint32, len(d.Merges)/2),
		into:   make([]uint32, len(d.Merges)/2),
		direct: d.IgnoreMerges,
	}
	for b := range m.bytes {
		m.bytes[b] = -1
	}
	literal := d.Literal
	for id, t := range d.Tokens {
		if len(literal) > 0 && literal[0] == uint32(id) {
			literal = literal[1:]
			continue
		}
		if _, dup := m.vocab[string(t)]; dup {
			return nil, corrupt("tokens", "token %d, %q, is there twice", id, defect.Printable(string(t)))
		}
		m.vocab[string(t)] = uint32(id)
		if len(t) == 1 {
			m.bytes[t[0]] = int32(id)
		}
	}
	var buf []byte
	for i := range m.into {
		left, right := d.Merges[2*i], d.Merges[2*i+1]
		buf = buf[:0]
		for _, id := range d.Merges[2*i : 2*i+2] {
			if int(id) >= len(d.Tokens) {
				return nil, corrupt("merges", "merge %d: id %d is not below %d", i, id, len(d.Tokens))
			}
			t := d.Tokens[id]
			if made, ok := m.vocab[string(t)]; !ok || made != id {
				return nil, corrupt("merges", "merge %d: token %d is not in the byte-level alphabet", i, id)
			}
			buf = append(buf, t...)
		}
		id, ok := m.vocab[string(buf)]
		if !ok {
			return nil, corrupt("merges", "merge %d makes %q, which is not a token", i, defect.Printable(string(buf)))
		}
		m.into[i] = id
		m.rank[pair(left, right)] = uint32(i) // of equal merges the last counts
	}
	return m, nil
}

func pair(left, right uint32) uint64 { return uint64(left)<<32 | uint64(right) }

// A symbol is a token on its way; dead once the one to its left took it in.
type symbol struct {
	id         uint32
	rank       uint32 // of the merge with the next symbol, noRank if there is none
	prev, next int32  // positions, -1 at the ends
}

// A merger holds the memory that merging needs.
type merger struct {
	symbols []symbol
	queue   []uint64 // heap of rank<<32 | position
}

// merge appends the tokens of one piece: of all neighbours that can merge those
// of the lowest rank do, leftmost first, until none can. Time is n log n.
func (m *bpe) merge(dst []uint32, piece string, w *merger) []uint32 {
	w.load(m, piece)
	for len(w.queue) > 0 {
		top := w.pop()
		rank, at := uint32(top>>32), int32(uint32(top))
		s := &w.symbols[at]
		if s.rank != rank { // merged since it was queued
			continue
		}
		right := &w.symbols[s.next]
		s.id, s.next = m.into[rank], right.next
		right.rank = noRank
		right.prev = -2
		if s.next >= 0 {
			w.symbols[s.next].prev = at
		}
		w.rank(m, at)
		if s.prev >= 0 {
			w.rank(m, s.prev)
		}
	}
	for at := int32(0); at >= 0 && len(w.symbols) > 0; at = w.symbols[at].next {
		dst = append(dst, w.symbols[at].id)
	}
	return dst
}

// load sets the symbols to the bytes of the piece. A byte without a token is
// left out, as Hugging Face does.
func (w *merger) load(m *bpe, piece string) {
	w.symbols, w.queue = w.symbols[:0], w.queue[:0]
	for i := range len(piece) {
		if id := m.bytes[piece[i]]; id >= 0 {
			n := int32(len(w.symbols))
			w.symbols = append(w.symbols, symbol{uint32(id), noRank, n - 1, n + 1})
		}
	}
	if n := len(w.symbols); n > 0 {
		w.symbols[n-1].next = -1
	}
	for at := range w.symbols {
		w.rank(m, int32(at))
	}
}

// rank finds the merge of the symbol at a position with its next one, and
// queues it.
func (w *merger) rank(m *bpe, at int32) {
	s := &w.symbols[at]
	s.rank = noRank
	if s.next < 0 {
		return
	}
	if r, ok := m.rank[pair(s.id, w.symbols[s.next].id)]; ok {
		s.rank = r
		w.push(uint64(r)<<32 | uint64(at))
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
