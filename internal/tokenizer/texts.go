package tokenizer

import (
	"bytes"
	"hash/maphash"
	"iter"
	"math/bits"
	"math/rand/v2"
	"unsafe"
)

// texts maps the texts of tokens to their ids. Building it takes a fraction of the time of
// a map, which otherwise is most of the time until a model writes its first token.
type texts struct {
	tokens [][]byte // by id
	seed   maphash.Seed
	slots  []textSlot // open addressing; a power of two
	known  []bool     // by id
}

// A textSlot holds the id of a token plus 1, or 0, and part of the hash of its text.
type textSlot struct{ hash, id uint32 }

func newTexts(tokens [][]byte) *texts {
	return &texts{tokens: tokens, seed: maphash.MakeSeed(), slots: newTable[textSlot](len(tokens)), known: make([]bool, len(tokens))}
}

// newTable returns empty slots for n entries, a power of two and at least half of them free. It
// writes to each page: a table is read before it is written to, and the system would give a page
// of zeros to the read and another one to the write, which takes twice as long.
func newTable[T any](n int) []T {
	slots := make([]T, 1<<bits.Len(uint(2*n)))
	var zero T
	for i := 0; i < len(slots); i += 4096 / int(unsafe.Sizeof(zero)) {
		slots[i] = zero
	}
	return slots
}

// add adds a token. It returns false if another token has the same text.
func (t *texts) add(id int) bool {
	hash := maphash.Bytes(t.seed, t.tokens[id])
	slot, _, found := t.slot(hash, string(t.tokens[id]))
	if found {
		return false
	}
	*slot, t.known[id] = textSlot{uint32(hash >> 32), uint32(id) + 1}, true
	return true
}

// find returns the id of the token with the given text.
func (t *texts) find(text string) (id uint32, ok bool) {
	_, id, ok = t.slot(maphash.String(t.seed, text), text)
	return id, ok
}

// is reports whether text is that of the token id.
func (t *texts) is(id uint32, text []byte) bool {
	return int(id) < len(t.tokens) && t.known[id] && bytes.Equal(t.tokens[id], text)
}

// slot returns the slot of a text, or an empty one for it.
func (t *texts) slot(hash uint64, text string) (s *textSlot, id uint32, found bool) {
	mask, part := uint64(len(t.slots)-1), uint32(hash>>32)
	for i := hash & mask; ; i = (i + 1) & mask {
		s = &t.slots[i]
		if s.id == 0 {
			return s, 0, false
		}
		if s.hash == part && string(t.tokens[s.id-1]) == text {
			return s, s.id - 1, true
		}
	}
}

// all returns the tokens in the order of their ids.
func (t *texts) all() iter.Seq2[string, uint32] {
	return func(yield func(string, uint32) bool) {
		for id, known := range t.known {
			if known && !yield(string(t.tokens[id]), uint32(id)) {
				return
			}
		}
	}
}

// ranks maps pairs of tokens to the rank of their merge. Which slot a pair gets is random, so
// that no file can make many pairs share one.
type ranks struct {
	merges []uint32 // left, right, left, right, ... by rank
	slots  []uint32 // ranks plus 1, or 0; open addressing; a power of two
	odd    uint64   // the random factor of multiply-shift hashing (Dietzfelbinger et al., 1997)
}

func newRanks(merges []uint32) ranks {
	return ranks{merges, newTable[uint32](len(merges) / 2), rand.Uint64() | 1}
}

// slot returns the slot of a pair, or an empty one for it.
func (r *ranks) slot(left, right uint32) *uint32 {
	mask := uint64(len(r.slots) - 1)
	hash := (uint64(left)<<32 | uint64(right)) * r.odd
	for i := hash >> (64 - bits.Len64(mask)); ; i = (i + 1) & mask {
		s := &r.slots[i]
		if *s == 0 || r.merges[2*(*s-1)] == left && r.merges[2*(*s-1)+1] == right {
			return s
		}
	}
}

// set sets the rank of the pair that merges has there.
func (r *ranks) set(rank uint32) { *r.slot(r.merges[2*rank], r.merges[2*rank+1]) = rank + 1 }

// of returns the rank of a pair.
func (r *ranks) of(left, right uint32) (rank uint32, ok bool) {
	s := *r.slot(left, right)
	return s - 1, s > 0
}
