package tokenizer

import (
	"cmp"
	"math"
	"slices"
	"unicode/utf8"
)

// A scoredBPE model is byte pair encoding in which the merge whose token has the highest
// score comes first.
type scoredBPE struct {
	*vocabulary
	order   []uint32 // by id, the rank of its score, highest first; ties share a rank
	kinds   []byte
	symbols *finder // user-defined tokens
}

func newScoredBPE(d *Data, v *vocabulary, symbols *finder) *scoredBPE {
	m := &scoredBPE{vocabulary: v, order: make([]uint32, len(d.Tokens)), kinds: d.Kinds, symbols: symbols}
	byScore := make([]uint32, len(d.Tokens))
	for id := range byScore {
		byScore[id] = uint32(id)
	}
	slices.SortFunc(byScore, func(a, b uint32) int { return cmp.Compare(d.Scores[b], d.Scores[a]) })
	rank := uint32(0)
	for i, id := range byScore {
		if i > 0 && d.Scores[id] != d.Scores[byScore[i-1]] {
			rank++
		}
		m.order[id] = rank
	}
	return m
}

func (m *scoredBPE) join(w *merger, piece string, left, right *symbol) (rank, merged uint32) {
	if left.frozen || right.frozen {
		return noRank, 0
	}
	text := piece[left.start:right.end]
	id, ok := m.ids.find(text)
	if !ok {
		return noRank, 0
	}
	if m.kinds[id] == KindUnused {
		if w.parts == nil {
			w.parts = map[string]int{}
		}
		w.parts[text] = len(text) - int(right.end-right.start)
	}
	return m.order[id], id
}

const noToken = math.MaxUint32

// lookup returns the id of the token with the given text, or noToken. It never returns a
// control token.
func (m *scoredBPE) lookup(s string) uint32 {
	if id, ok := m.ids.find(s); ok {
		return id
	}
	return noToken
}

func (m *scoredBPE) encode(dst []uint32, piece string, w *merger) []uint32 {
	w.symbols = w.symbols[:0]
	for i := 0; i < len(piece); {
		n, frozen := 0, false
		if m.symbols.first[piece[i]] {
			if a := m.symbols.longest(piece[i:]); a != nil {
				n, frozen = len(a.Content), true
			}
		}
		if !frozen {
			_, n = utf8.DecodeRuneInString(piece[i:])
		}
		s := w.add(m.lookup(piece[i : i+n]))
		s.start, s.end, s.frozen = int32(i), int32(i+n), frozen
		i += n
	}
	w.parts = nil
	w.merge(m, piece)
	unknown := false // whether the preceding token is unknown
	for at := int32(0); at >= 0 && len(w.symbols) > 0; at = w.symbols[at].next {
		s := &w.symbols[at]
		dst, unknown = m.emit(dst, piece[s.start:s.end], s.id, unknown, w)
	}
	return dst
}

// emit appends the token of a text. For an unused token it appends the tokens of the two
// texts whose merge was last seen to make it.
func (m *scoredBPE) emit(dst []uint32, s string, id uint32, unknown bool, w *merger) ([]uint32, bool) {
	switch {
	case id == noToken:
		if spelled, ok := m.spell(dst, s); ok {
			return spelled, true
		}
		if m.other == UnknownEach || m.other == UnknownRun && !unknown {
			dst = append(dst, m.unk)
		}
		return dst, true
	case m.kinds[id] == KindUnused:
		if at, ok := w.parts[s]; ok {
			dst, unknown = m.emit(dst, s[:at], m.lookup(s[:at]), unknown, w)
			return m.emit(dst, s[at:], m.lookup(s[at:]), unknown, w)
		}
	}
	return append(dst, id), false
}
