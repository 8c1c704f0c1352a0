package tokenizer

import (
	"cmp"
	"math"
	"slices"
	"unicode/utf8"
)

// unkPenalty is the difference between the lowest score of a token and the score of an
// unknown character.
const unkPenalty = 10

const maxTrie = 1 << 25 // bytes of all tokens

// A unigram model encodes a piece as the tokens with the largest sum of scores, by the
// Viterbi algorithm (sentencepiece, unigram_model.cc, EncodeOptimized).
type unigram struct {
	*vocabulary
	trie     trie
	scores   []float64 // by id, the score that the token adds to a path
	unkScore float64
	single   bool // whether sums are rounded to float32
}

// A node is the best path from the start of a piece to one position in it.
type node struct {
	score float64
	start int32 // position at which the last token begins, or -1 if there is no path
	id    uint32
}

func newUnigram(d *Data, v *vocabulary) (*unigram, error) {
	m := &unigram{vocabulary: v, scores: slices.Clone(d.Scores), single: d.SentencePiece != nil}
	least := math.MaxFloat32
	for _, id := range v.ids.all() {
		if d.SentencePiece == nil || d.Kinds[id] == KindNormal {
			least = min(least, d.Scores[id])
		}
	}
	m.unkScore = least - unkPenalty
	if m.single {
		m.unkScore = float64(float32(m.unkScore))
	}
	var entries []entry
	size := 0
	for text, id := range v.ids.all() {
		if d.SentencePiece != nil && d.Kinds[id] == KindUnused {
			continue
		}
		if d.SentencePiece != nil && d.Kinds[id] == KindUserDefined { // this score is always the best
			m.scores[id] = float64(float32(0.1 * float64(len(text)-1))) // GetUserDefinedScore
		}
		entries = append(entries, entry{text, int(id)})
		if size += len(text); size > maxTrie {
			return nil, corrupt("tokens", "more than %d bytes of text, too many for a %s model", maxTrie, d.Model)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.token, b.token) })
	m.trie = newTrie(entries)
	return m, nil
}

func (m *unigram) encode(dst []uint32, piece string, w *merger) []uint32 {
	w.best = slices.Grow(w.best[:0], len(piece)+1)[:len(piece)+1]
	for i := range w.best {
		w.best[i].start = -1
	}
	w.best[0].score = 0
	for at := 0; at < len(piece); {
		_, n := utf8.DecodeRuneInString(piece[at:])
		known := false // whether the character alone is a token
		sum := w.best[at].score
		for state, end := int32(0), at; end < len(piece); {
			if state = m.trie.next(state, piece[end]); state < 0 {
				break
			}
			end++
			if id := m.trie.ids[state]; id >= 0 {
				m.update(&w.best[end], m.scores[id]+sum, at, uint32(id))
				known = known || end-at == n
			}
		}
		if !known {
			m.update(&w.best[at+n], m.unkScore+sum, at, noToken)
		}
		at += n
	}
	return m.backtrack(dst, piece, w)
}

// update replaces the path in n by a path with the given score and last token, if that
// is better.
func (m *unigram) update(n *node, score float64, start int, id uint32) {
	if m.single {
		score = float64(float32(score))
	}
	if n.start >= 0 && score <= n.score {
		return
	}
	*n = node{score, int32(start), id}
}

// backtrack appends the ids of the best path to the end of piece.
func (m *unigram) backtrack(dst []uint32, piece string, w *merger) []uint32 {
	at := len(dst)
	for end := len(piece); end > 0; {
		n := w.best[end]
		start := int(n.start)
		if n.id != noToken {
			dst, end = append(dst, n.id), start
			continue
		}
		for m.other == UnknownRun && start > 0 && w.best[start].id == noToken {
			start = int(w.best[start].start)
		}
		first := len(dst)
		var ok bool
		if dst, ok = m.spell(dst, piece[start:end]); ok {
			slices.Reverse(dst[first:])
		} else if m.other != UnknownDropped {
			dst = append(dst, m.unk)
		}
		end = start
	}
	slices.Reverse(dst[at:])
	return dst
}

// A trie finds tokens by their bytes. State 0 is the root. The children of a state are
// adjacent and sorted by byte.
type trie struct {
	first []int32 // by state, its first child; the children of state s end before first[s+1]
	label []byte  // by state, the byte that leads to it
	ids   []int32 // by state, the token that ends there, or -1
	root  [256]int32
}

// An entry is a token of a trie and its id.
type entry struct {
	token string
	id    int
}

// newTrie returns a trie of entries, which are sorted by token.
func newTrie(entries []entry) trie {
	t := trie{label: []byte{0}, ids: []int32{-1}}
	type span struct{ lo, hi, depth int }
	states := []span{{0, len(entries), 0}}
	for s := 0; s < len(states); s++ { // breadth first, so that the children of a state are adjacent
		t.first = append(t.first, int32(len(states)))
		lo, hi, depth := states[s].lo, states[s].hi, states[s].depth
		if lo < hi && len(entries[lo].token) == depth {
			t.ids[s] = int32(entries[lo].id)
			lo++
		}
		for lo < hi {
			c := entries[lo].token[depth]
			end := lo + 1
			for end < hi && entries[end].token[depth] == c {
				end++
			}
			states = append(states, span{lo, end, depth + 1})
			t.label, t.ids = append(t.label, c), append(t.ids, -1)
			lo = end
		}
	}
	t.first = append(t.first, int32(len(states)))
	for c := range t.root {
		t.root[c] = t.find(0, byte(c))
	}
	return t
}

// next returns the child of state for the byte c, or -1.
func (t *trie) next(state int32, c byte) int32 {
	if state == 0 {
		return t.root[c]
	}
	return t.find(state, c)
}

func (t *trie) find(state int32, c byte) int32 {
	lo, end := t.first[state], t.first[state+1]
	for hi := end; lo < hi; {
		if mid := (lo + hi) / 2; t.label[mid] < c {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < end && t.label[lo] == c {
		return lo
	}
	return -1
}
