package tokenizer

import (
	"math"
	"unicode/utf8"

	"thimble/internal/defect"
)

// A bpe model is byte pair encoding in which the merge with the lowest rank comes first.
// ByteLevelBPE starts from bytes, BPE from characters.
type bpe struct {
	*vocabulary
	byteLevel bool
	one       [256]int32 // the token of each byte that is a character, or -1
	rank      ranks
	merged    []uint32 // by rank, the token that the merge makes
	direct    bool     // whether a piece that is a token becomes it without merges
}

const noRank = math.MaxUint32

func newBPE(d *Data, v *vocabulary) (*bpe, error) {
	if len(d.Merges)%2 != 0 || len(d.Merges) > 2*MaxTokens {
		return nil, corrupt("merges", "%d ids, want pairs and at most %d", len(d.Merges), 2*MaxTokens)
	}
	m := &bpe{
		vocabulary: v,
		byteLevel:  d.Model == ByteLevelBPE,
		rank:       newRanks(d.Merges),
		merged:     make([]uint32, len(d.Merges)/2),
		direct:     d.IgnoreMerges,
	}
	for b := range m.one {
		m.one[b] = -1
		if id, ok := v.ids.find(string([]byte{byte(b)})); ok && (m.byteLevel || b < utf8.RuneSelf) {
			m.one[b] = int32(id)
		}
	}
	var buf []byte
	next := uint32(0) // most tokens are in the order of their merges
	for i := range m.merged {
		buf = buf[:0]
		for _, id := range d.Merges[2*i : 2*i+2] {
			if int(id) >= len(d.Tokens) {
				return nil, corrupt("merges", "merge %d: id %d is not below %d", i, id, len(d.Tokens))
			}
			t := d.Tokens[id]
			if !v.ids.known[id] {
				return nil, corrupt("merges", "merge %d: token %d is not in the model's vocabulary", i, id)
			}
			buf = append(buf, t...)
		}
		if !v.ids.is(next, buf) {
			id, ok := v.ids.find(string(buf))
			if !ok {
				return nil, corrupt("merges", "merge %d makes %q, which is not a token", i, defect.Printable(string(buf)))
			}
			next = id
		}
		m.merged[i] = next
		next++
		m.rank.set(uint32(i)) // of duplicate merges the last counts
	}
	return m, nil
}

func (m *bpe) join(_ *merger, _ string, left, right *symbol) (rank, merged uint32) {
	r, ok := m.rank.of(left.id, right.id)
	if !ok {
		return noRank, 0
	}
	return r, m.merged[r]
}

func (m *bpe) encode(dst []uint32, piece string, w *merger) []uint32 {
	if m.direct {
		if id, ok := m.ids.find(piece); ok {
			return append(dst, id)
		}
	}
	m.load(w, piece)
	w.merge(m, piece)
	for at := int32(0); at >= 0 && len(w.symbols) > 0; at = w.symbols[at].next {
		dst = append(dst, w.symbols[at].id)
	}
	return dst
}

// first returns the first character of a piece, or its first byte in a byte-level model,
// and the id of its token, or -1 if it has none.
func (m *bpe) first(piece string) (c string, id int32) {
	id = m.one[piece[0]]
	if m.byteLevel || piece[0] < utf8.RuneSelf {
		return piece[:1], id
	}
	_, n := utf8.DecodeRuneInString(piece)
	if known, ok := m.ids.find(piece[:n]); ok {
		id = int32(known)
	}
	return piece[:n], id
}

// load sets the symbols to the characters of the piece. As in Hugging Face, an unknown
// token is added right before the next character that has a token, so it comes after the
// byte tokens of characters in between.
func (m *bpe) load(w *merger, piece string) {
	w.symbols = w.symbols[:0]
	unknown := false
	for i := 0; i < len(piece); {
		c, id := m.first(piece[i:])
		i += len(c)
		if id < 0 {
			var spelled bool
			if w.spelled, spelled = m.spell(w.spelled[:0], c); spelled {
				for _, id := range w.spelled {
					w.add(id)
				}
				continue
			}
			if m.other == UnknownDropped || unknown && m.other == UnknownRun {
				continue
			}
		}
		if unknown {
			w.add(m.unk)
		}
		if unknown = id < 0; !unknown {
			w.add(uint32(id))
		}
	}
	if unknown {
		w.add(m.unk)
	}
}
