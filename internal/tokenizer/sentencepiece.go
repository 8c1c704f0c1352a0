package tokenizer

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// A pieceNormalizer implements the normalizer of sentencepiece (normalizer.cc,
// Normalize).
type pieceNormalizer struct {
	*SentencePiece
	charsmap *charsmap
	symbols  *finder // user-defined tokens, which it does not change
}

func newPieceNormalizer(d *Data, symbols *finder) (normalizer, error) {
	m, err := newCharsmap(d.SentencePiece.Charsmap)
	if err != nil {
		return nil, err
	}
	n := &pieceNormalizer{d.SentencePiece, m, symbols}
	return n.normalize, nil
}

// prefix returns the normalized form of the start of s and the length of that start.
func (n *pieceNormalizer) prefix(s string) (string, int) {
	if n.symbols.first[s[0]] {
		if a := n.symbols.longest(s); a != nil {
			return a.Content, len(a.Content)
		}
	}
	if n.charsmap != nil {
		if size, text := n.charsmap.longest(s); size > 0 {
			return string(text), size
		}
	}
	r, size := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && size == 1 {
		return "\ufffd", 1
	}
	return s[:size], size
}

func (n *pieceNormalizer) normalize(s string) string {
	for n.RemoveExtra && s != "" {
		text, size := n.prefix(s)
		if text != " " {
			break
		}
		s = s[size:]
	}
	if s == "" {
		return ""
	}
	space := mark
	if n.KeepSpaces {
		space = " "
	}
	b := make([]byte, 0, len(s)+len(s)/4+len(mark))
	if n.DummyPrefix && !n.Suffix {
		b = append(b, space...)
	}
	afterSpace := n.RemoveExtra
	for s != "" {
		text, size := n.prefix(s)
		s = s[size:]
		if afterSpace {
			text = strings.TrimLeft(text, " ")
		}
		if text != "" {
			b = append(b, strings.ReplaceAll(text, " ", space)...)
			afterSpace = n.RemoveExtra && strings.HasSuffix(text, " ")
		}
	}
	if n.RemoveExtra {
		b = bytes.TrimRight(b, space)
	}
	if n.DummyPrefix && n.Suffix {
		b = append(b, space...)
	}
	return string(b)
}
