package gguf

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

const mark = "\u2581" // stands for a space in the vocabularies of sentencepiece

// putPieces adds a tokenizer whose tokens are text. llama.cpp's "llama" merges the adjacent
// tokens whose union has the highest score, and spells text without a token in bytes; its
// "t5" chooses the tokens with the largest sum of scores.
func (m *metadata) putPieces(path string, d *tokenizer.Data) (notes []string, err error) {
	var prefix bool
	if d.SentencePiece != nil {
		prefix, err = m.putNormalizer(path, d)
	} else {
		prefix, notes, err = m.putSpaces(path, d)
	}
	if err != nil {
		return nil, err
	}
	m.addSpace = ptr(prefix)
	if prefix {
		notes = append(notes, "llama.cpp begins the text after each special or user-defined token with a space, not only the first")
	}
	scores := d.Scores
	switch d.Model {
	case tokenizer.SentencePieceUnigram, tokenizer.Unigram:
		m.tokenizer = "t5"
		if prefix && d.SentencePiece != nil && !d.SentencePiece.RemoveExtra {
			notes = append(notes, "llama.cpp does not begin a text that consists of spaces with another space")
		}
		if d.ByteFallback {
			return nil, defect.Unsupported(path, "a unigram tokenizer with byte fallback in GGUF")
		}
	default:
		m.tokenizer, m.pre = "llama", "default"
		if !d.ByteFallback {
			return nil, defect.Unsupported(path, "a tokenizer of model %q without byte fallback in GGUF", d.Model)
		}
	}
	if d.Model == tokenizer.BPE {
		if scores, err = scoresOf(path, d, cutOut(d, prefix)); err != nil {
			return nil, err
		}
	}
	for _, score := range scores {
		m.scores = append(m.scores, float32(score))
	}
	m.tokens, m.tokenTypes = make([]string, len(d.Tokens)), kindsOf(d)
	for id, token := range d.Tokens {
		m.tokens[id] = string(token)
	}
	if err := m.putAdded(path, d); err != nil {
		return nil, err
	}
	for id := range m.tokens { // llama.cpp then cuts them out of the raw text
		if m.spellsSpaces(d, id) {
			m.tokens[id] = strings.ReplaceAll(m.tokens[id], mark, " ")
		}
	}
	if m.steps == nil && slices.ContainsFunc(d.Added, func(a tokenizer.Added) bool { return !a.Special }) {
		m.cut = ptr(true)
	}
	return notes, nil
}

// spellsSpaces reports whether llama.cpp must find the user-defined token id in a text
// before it turns spaces into marks: a symbol of sentencepiece, or a run of marks that the
// merges of d would make. It cannot if the text then gets another space.
func (m *metadata) spellsSpaces(d *tokenizer.Data, id int) bool {
	if m.tokenTypes[id] != tokenUser || *m.addSpace || m.steps != nil {
		return false
	}
	return d.Kinds != nil && d.Kinds[id] == tokenizer.KindUserDefined || isMarks(string(d.Tokens[id]))
}

func isMarks(s string) bool { return s != "" && strings.ReplaceAll(s, mark, "") == "" }

// kindsOf returns the type of every token. If the tokenizer does not store types, kindsOf
// recognizes byte tokens by their spelling, and marks tokens that the model cannot produce
// as unused.
func kindsOf(d *tokenizer.Data) []int32 {
	kinds := make([]int32, len(d.Tokens))
	for id, token := range d.Tokens {
		var b byte
		switch n, _ := fmt.Sscanf(string(token), "<0x%02X>", &b); {
		case d.Kinds != nil:
			kinds[id] = int32(d.Kinds[id])
		case id == d.Unk:
			kinds[id] = tokenUnknown
		case d.ByteFallback && n == 1 && string(token) == fmt.Sprintf("<0x%02X>", b):
			kinds[id] = tokenByte
		default:
			kinds[id] = tokenNormal
		}
	}
	if d.Kinds == nil {
		for _, id := range d.Literal {
			kinds[id] = tokenUnused
		}
	}
	return kinds
}

// putNormalizer adds the keys for sentencepiece's normalizer. It returns an error for
// options that GGUF cannot represent.
func (m *metadata) putNormalizer(path string, d *tokenizer.Data) (prefix bool, err error) {
	p := d.SentencePiece
	unigram := d.Model == tokenizer.SentencePieceUnigram
	switch {
	case p.KeepSpaces || p.Suffix:
		return false, defect.Unsupported(path, "a sentencepiece tokenizer that keeps spaces or appends one to a text in GGUF")
	case len(p.Charsmap) > 0: // llama.cpp reads one for "t5" but gives other ids
		return false, defect.Unsupported(path, "a sentencepiece tokenizer with a map of characters in GGUF")
	case !unigram && p.RemoveExtra:
		return false, defect.Unsupported(path, "a sentencepiece BPE tokenizer that removes white space in GGUF")
	}
	if unigram {
		m.removeSpaces = ptr(p.RemoveExtra)
	}
	return p.DummyPrefix, nil
}

// scoresOf returns scores that put the merges of d in their order: the score of a token is
// minus the rank of the first merge that makes it. Such scores exist if the merges of each
// token are consecutive and none is missing, as in every tokenizer that sentencepiece
// trained. The merges of the tokens in cut never apply, whatever their order.
func scoresOf(path string, d *tokenizer.Data, cut map[uint32]bool) ([]float64, error) {
	ids := make(map[string]uint32, len(d.Tokens))
	for id, token := range d.Tokens {
		ids[string(token)] = uint32(id)
	}
	if d.IgnoreMerges {
		return nil, defect.Unsupported(path, "a tokenizer of model %q with ignore_merges in GGUF", d.Model)
	}
	scores, made := make([]float64, len(d.Tokens)), make(map[uint32]int)
	last := uint32(0)
	for rank := range len(d.Merges) / 2 {
		left, right := d.Tokens[d.Merges[2*rank]], d.Tokens[d.Merges[2*rank+1]]
		id, ok := ids[string(left)+string(right)]
		if ok && cut[id] {
			continue
		}
		if !ok || made[id] > 0 && id != last {
			return nil, defect.Unsupported(path, "merge %d, whose order scores cannot express, in GGUF", rank)
		}
		if made[id]++; made[id] == 1 {
			scores[id] = -float64(rank)
		}
		last = id
	}
	for id, kind := range kindsOf(d) {
		token := string(d.Tokens[id])
		if kind != tokenNormal || slices.ContainsFunc(d.Added, func(a tokenizer.Added) bool { return int(a.ID) == id }) {
			continue
		}
		pairs := 0
		for i := range token { // at each character
			_, left := ids[token[:i]]
			_, right := ids[token[i:]]
			if left && right {
				pairs++
			}
		}
		if pairs != made[uint32(id)] {
			return nil, defect.Unsupported(path, "token %d, which %d of %d pairs of tokens make, in GGUF", id, made[uint32(id)], pairs)
		}
	}
	return scores, nil
}

// cutOut returns the added tokens that llama.cpp cuts out of every text in which merges
// would make them: those without a mark, and runs of marks, which spellsSpaces turns into
// spaces.
func cutOut(d *tokenizer.Data, prefix bool) map[uint32]bool {
	cut := make(map[uint32]bool)
	for _, a := range d.Added {
		if !strings.Contains(a.Content, mark) || !a.Special && !prefix && isMarks(a.Content) {
			cut[a.ID] = true
		}
	}
	return cut
}
