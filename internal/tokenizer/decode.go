package tokenizer

import (
	"bytes"
	"strings"

	"thimble/internal/tokenizer/spelling"
)

// Token returns the bytes of a token inside a text. For a control or unknown token of
// sentencepiece it returns the token's own text. The caller must not modify the bytes.
// ok is false if id is out of range.
func (t *Tokenizer) Token(id int) (b []byte, ok bool) {
	if id < 0 || id >= len(t.tokens) {
		return nil, false
	}
	if t.kinds != nil && (t.kinds[id] == KindControl || t.kinds[id] == KindUnknown) {
		return t.tokens[id], true // they decode to nothing or to UnkSurface
	}
	return t.decoder.append(nil, t, id, &decodeState{tokens: 1, text: true}), true
}

// Decode returns the bytes of the tokens with the given ids. A special token gives its
// text, which is empty for a control token of sentencepiece. Decode ignores ids out of
// range and keeps invalid UTF-8, which Python replaces by U+FFFD.
func (t *Tokenizer) Decode(ids []int) []byte { return t.AppendDecode(nil, ids, false) }

// AppendDecode is like Decode but appends to dst. It skips special tokens if skipSpecial is
// set.
func (t *Tokenizer) AppendDecode(dst []byte, ids []int, skipSpecial bool) []byte {
	var state decodeState
	for _, id := range ids {
		if id >= 0 && id < len(t.tokens) && !(skipSpecial && t.IsSpecial(id)) {
			dst = t.decoder.append(dst, t, id, &state)
		}
	}
	return dst
}

// A decodeState records what has been decoded so far.
type decodeState struct {
	tokens int
	text   bool // whether there was any text, or a mark that gives none
}

// A decoder converts tokens to bytes.
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

// append appends the bytes of the token id that follows the tokens in state.
func (r *decoder) append(dst []byte, t *Tokenizer, id int, state *decodeState) []byte {
	if r.pieces != nil {
		return r.piece(dst, t.tokens[id], t.kinds[id], state)
	}
	s := t.tokens[id]
	for _, rule := range r.replace {
		switch {
		case rule.Op == OpReplace:
			s = bytes.ReplaceAll(s, []byte(rule.Old), []byte(rule.New))
		case state.tokens == 0:
			s = bytes.ReplaceAll(s, []byte(rule.Old), nil)
		}
	}
	if b, ok := spelling.Byte(s); ok && r.bytes {
		s = []byte{b}
	}
	if r.strip != "" && !state.text {
		state.text = len(s) > 0
		s = bytes.TrimPrefix(s, []byte(r.strip))
	}
	state.tokens++
	return append(dst, s...)
}

// piece is append for the models of sentencepiece (sentencepiece_processor.cc, Decode).
func (r *decoder) piece(dst, s []byte, kind byte, state *decodeState) []byte {
	switch kind {
	case KindControl:
		return dst
	case KindUnknown:
		state.text = state.text || r.pieces.UnkSurface != ""
		return append(dst, r.pieces.UnkSurface...)
	case KindByte:
		if b, ok := spelling.Byte(s); ok {
			state.text = true
			return append(dst, b)
		}
	}
	if !state.text && (r.pieces.DummyPrefix || r.pieces.RemoveExtra) {
		rest, found := bytes.CutPrefix(s, []byte(mark))
		s = rest
		state.text = found && !r.pieces.RemoveExtra
	}
	state.text = state.text || len(s) > 0
	return append(dst, strings.ReplaceAll(string(s), mark, " ")...)
}
