package tokenizer

import (
	"bytes"
	"strings"
)

// Token returns the bytes that id stands for inside a text, which the caller
// must not change.
func (t *Tokenizer) Token(id int) (b []byte, ok bool) {
	if id < 0 || id >= len(t.tokens) {
		return nil, false
	}
	if t.kinds != nil && (t.kinds[id] == KindControl || t.kinds[id] == KindUnknown) {
		return t.tokens[id], true // what they decode to says nothing
	}
	return t.decoder.append(nil, t, id, &position{tokens: 1, text: true}), true
}

// Decode returns the bytes that ids stand for, special tokens as their text,
// which the control tokens of sentencepiece have none of. Ids out of range stand
// for nothing. Bytes that are not UTF-8 stay as they are; Python shows U+FFFD.
func (t *Tokenizer) Decode(ids []int) []byte { return t.AppendDecode(nil, ids, false) }

// AppendDecode appends the bytes that ids stand for, without those of special
// tokens if skipSpecial is set.
func (t *Tokenizer) AppendDecode(dst []byte, ids []int, skipSpecial bool) []byte {
	var at position
	for _, id := range ids {
		if id >= 0 && id < len(t.tokens) && !(skipSpecial && t.IsSpecial(id)) {
			dst = t.decoder.append(dst, t, id, &at)
		}
	}
	return dst
}

// A position is how far decoding has come.
type position struct {
	tokens int
	text   bool // there has been some, or a mark that stands for none
}

// A decoder says how the bytes of tokens follow from their text.
type decoder struct {
	replace []Rule // OpReplace and OpDropFirst
	bytes   bool
	strip   string
	pieces  *SentencePiece
	unk     int
}

func newDecoder(d *Data) decoder {
	r := decoder{pieces: d.SentencePiece, unk: d.Unk}
	for _, rule := range d.Decoder {
		switch rule.Op {
		case OpBytes:
			r.bytes = true
		case OpStrip:
			r.strip = rule.Old
		default:
			r.replace = append(r.replace, rule)
		}
	}
	return r
}

// append appends the bytes of the token that follows what was decoded so far.
func (r *decoder) append(dst []byte, t *Tokenizer, id int, at *position) []byte {
	if r.pieces != nil {
		return r.piece(dst, t.tokens[id], t.kinds[id], at)
	}
	s := t.tokens[id]
	for _, rule := range r.replace {
		switch {
		case rule.Op == OpReplace:
			s = bytes.ReplaceAll(s, []byte(rule.Old), []byte(rule.New))
		case at.tokens == 0:
			s = bytes.ReplaceAll(s, []byte(rule.Old), nil)
		}
	}
	if b, ok := byteOf(s); ok && r.bytes {
		s = []byte{b}
	}
	if r.strip != "" && !at.text {
		at.text = len(s) > 0
		s = bytes.TrimPrefix(s, []byte(r.strip))
	}
	at.tokens++
	return append(dst, s...)
}

// piece is the decoder of sentencepiece (sentencepiece_processor.cc, Decode).
func (r *decoder) piece(dst, s []byte, kind byte, at *position) []byte {
	switch kind {
	case KindControl:
		return dst
	case KindUnknown:
		at.text = at.text || r.pieces.UnkSurface != ""
		return append(dst, r.pieces.UnkSurface...)
	case KindByte:
		if b, ok := byteOf(s); ok {
			at.text = true
			return append(dst, b)
		}
	}
	if !at.text && (r.pieces.DummyPrefix || r.pieces.RemoveExtra) {
		rest, found := bytes.CutPrefix(s, []byte(mark))
		s = rest
		at.text = found && !r.pieces.RemoveExtra
	}
	at.text = at.text || len(s) > 0
	return append(dst, strings.ReplaceAll(string(s), mark, " ")...)
}
