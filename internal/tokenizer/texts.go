package tokenizer

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"math/rand/v2"
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
	return &texts{tokens: tokens, seed: maphash.MakeSeed(), slots: make([]textSlot, tableSize(len(tokens))), known: make([]bool, len(tokens))}
}

// tableSize returns the number of slots for n entries, at least half of them empty.
func tableSize(n int) int { return 1 << bits.Len(uint(2*n)) }

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
	slots []rankSlot // open addressing; a power of two
	odd   uint64     // the random factor of multiply-shift hashing (Dietzfelbinger et al., 1997)
}

// A rankSlot holds a rank plus 1, or 0.
type rankSlot struct{ left, right, rank uint32 }

func newRanks(merges int) ranks { return ranks{make([]rankSlot, tableSize(merges)), rand.Uint64() | 1} }

func (r ranks) slot(left, right uint32) *rankSlot {
	mask := uint64(len(r.slots) - 1)
	hash := (uint64(left)<<32 | uint64(right)) * r.odd
	for i := hash >> (64 - bits.Len64(mask)); ; i = (i + 1) & mask {
		if s := &r.slots[i]; s.rank == 0 || s.left == left && s.right == right {
			return s
		}
	}
}

// set sets the rank of a pair, which is below 1<<32 - 1.
func (r ranks) set(left, right, rank uint32) { *r.slot(left, right) = rankSlot{left, right, rank + 1} }

// of returns the rank of a pair.
func (r ranks) of(left, right uint32) (rank uint32, ok bool) {
	s := r.slot(left, right)
	return s.rank - 1, s.rank > 0
}
