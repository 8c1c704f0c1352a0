package tokenizer

import "unicode/utf8"

// A Stream decodes tokens one at a time into whole characters, for display during
// generation. It holds back the start of a character when a token ends in the middle of
// one.
type Stream struct {
	t     *Tokenizer
	state decodeState
	token []byte
	chars charBuffer
}

// Stream returns a Stream for the tokens that follow a text with the given ids.
func (t *Tokenizer) Stream(ids []int) *Stream {
	s := &Stream{t: t}
	for _, id := range ids {
		if id >= 0 && id < len(t.tokens) && !t.IsSpecial(id) {
			t.decoder.append(nil, t, id, &s.state)
		}
	}
	return s
}

// Add decodes the next id and returns the bytes of whole characters, valid until the next
// call. It returns bytes that cannot be part of a character unchanged.
func (s *Stream) Add(id int) []byte {
	s.token = s.token[:0]
	if id >= 0 && id < len(s.t.tokens) {
		s.token = s.t.decoder.append(s.token, s.t, id, &s.state)
	}
	return s.chars.add(s.token)
}

// Flush returns the bytes held back.
func (s *Stream) Flush() []byte { return s.chars.flush() }

// A charBuffer splits a sequence of bytes between characters.
type charBuffer struct {
	held []byte // the start of a character
	out  []byte
}

// add adds bytes and returns those of whole characters, valid until the next call. It
// returns bytes that cannot be part of a character unchanged.
func (c *charBuffer) add(b []byte) []byte {
	c.out = append(append(c.out[:0], c.held...), b...)
	whole := len(c.out)
	for i := 1; i < utf8.UTFMax && i <= len(c.out); i++ {
		if tail := c.out[len(c.out)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				whole -= i
			}
			break
		}
	}
	c.held = append(c.held[:0], c.out[whole:]...)
	return c.out[:whole]
}

// flush returns the bytes held back.
func (c *charBuffer) flush() []byte {
	c.out = append(c.out[:0], c.held...)
	c.held = c.held[:0]
	return c.out
}
