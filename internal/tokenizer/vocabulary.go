package tokenizer

import (
	"fmt"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/tokenizer/spelling"
)

// A model encodes pieces of text.
type model interface {
	// encode appends the ids of piece.
	encode(dst []uint32, piece string, w *merger) []uint32
}

// A vocabulary maps texts to tokens and handles characters without a token. All models
// embed one.
type vocabulary struct {
	ids   *texts      // the tokens that a model can produce
	bytes *[256]int32 // by byte, its token, or -1 if it has none; nil without byte fallback
	unk   uint32
	other Unknown
}

// newVocabulary returns the vocabulary of the tokens in d that a model can produce from
// text: by d.Kinds if d has a SentencePiece, otherwise all except d.Literal.
func newVocabulary(d *Data) (*vocabulary, error) {
	v := &vocabulary{ids: newTexts(d.Tokens), unk: uint32(max(d.Unk, 0)), other: d.Unknown}
	literal := d.Literal
	for id, t := range d.Tokens {
		if len(literal) > 0 && literal[0] == uint32(id) {
			literal = literal[1:]
			continue
		}
		if d.SentencePiece != nil && !fromText(d.Kinds[id]) {
			continue
		}
		if !v.ids.add(id) {
			return nil, corrupt("tokens", "token %d, %q, is a duplicate", id, defect.Printable(string(t)))
		}
	}
	if d.ByteFallback {
		v.bytes = byteTokens(d, v.ids)
	}
	return v, nil
}

func fromText(kind byte) bool {
	return kind == KindNormal || kind == KindUserDefined || kind == KindUnused
}

// byteTokens returns the ids of <0x00> to <0xFF>.
func byteTokens(d *Data, ids *texts) *[256]int32 {
	var bytes [256]int32
	for b := range bytes {
		bytes[b] = -1
	}
	if d.SentencePiece == nil {
		for b := range bytes {
			if id, ok := ids.find(fmt.Sprintf("<0x%02X>", b)); ok {
				bytes[b] = int32(id)
			}
		}
		return &bytes
	}
	for id, kind := range d.Kinds {
		if b, ok := spelling.Byte(d.Tokens[id]); ok && kind == KindByte {
			bytes[b] = int32(id)
		}
	}
	return &bytes
}

// spell appends the tokens for the bytes of s, if every byte has one.
func (v *vocabulary) spell(dst []uint32, s string) ([]uint32, bool) {
	if v.bytes == nil {
		return dst, false
	}
	at := len(dst)
	for i := range len(s) {
		id := v.bytes[s[i]]
		if id < 0 {
			return dst[:at], false
		}
		dst = append(dst, uint32(id))
	}
	return dst, true
}

// words returns a cutter that cuts a text into words, which begin with their marks, or
// nil. It makes a BPE model faster without changing its ids: a merge across the start of
// a word would make a token in which a mark follows another character. The cutter does
// not cut between a character and a mark if a token contains both in that order.
func (v *vocabulary) words(d *Data) cutter {
	if _, ok := v.ids.find(mark); !ok && d.Unknown == UnknownRun || d.IgnoreMerges {
		return nil // a run of unknown characters could span words, or a whole text be a token
	}
	before := map[rune]bool{} // characters that precede a mark in some token
	for text, id := range v.ids.all() {
		if d.Kinds != nil && d.Kinds[id] == KindUnused {
			return nil // the parts of an unused token depend on the whole text
		}
		for at := cutMarked(text, nil); at < len(text); at += cutMarked(text[at:], nil) {
			r, _ := utf8.DecodeLastRuneInString(text[:at])
			before[r] = true
		}
	}
	return func(s string) int { return cutMarked(s, before) }
}
