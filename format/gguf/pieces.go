package gguf

import (
	"slices"
	"strings"

	"thimble/format/gguf/vocab"
	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

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
		if scores, err = vocab.Scores(path, d, vocab.CutOut(d, prefix)); err != nil {
			return nil, err
		}
	}
	for _, score := range scores {
		m.scores = append(m.scores, float32(score))
	}
	m.tokens, m.tokenTypes = make([]string, len(d.Tokens)), vocab.Kinds(d)
	for id, token := range d.Tokens {
		m.tokens[id] = string(token)
	}
	if err := m.putAdded(path, d); err != nil {
		return nil, err
	}
	for id := range m.tokens { // llama.cpp then cuts them out of the raw text
		if m.spellsSpaces(d, id) {
			m.tokens[id] = strings.ReplaceAll(m.tokens[id], vocab.Mark, " ")
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
	if m.tokenTypes[id] != vocab.User || *m.addSpace || m.steps != nil {
		return false
	}
	return d.Kinds != nil && d.Kinds[id] == tokenizer.KindUserDefined || vocab.IsMarks(string(d.Tokens[id]))
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
