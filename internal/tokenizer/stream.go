package tokenizer

import "unicode/utf8"

// A Stream passes on the bytes of tokens in whole characters, for a reader who
// watches them come: a token may end in the middle of one.
type Stream struct {
	t     *Tokenizer
	at    position
	token []byte
	whole whole
}

// Stream returns a Stream of what follows a text with the given ids.
func (t *Tokenizer) Stream(ids []int) *Stream {
	s := &Stream{t: t}
	for _, id := range ids {
		if id >= 0 && id < len(t.tokens) && !t.IsSpecial(id) {
			t.decoder.append(nil, t, id, &s.at)
		}
	}
	return s
}

// Add takes the next id and returns the bytes that are whole, valid until the
// next call. Bytes that cannot become UTF-8 are passed on as they are.
func (s *Stream) Add(id int) []byte {
	s.token = s.token[:0]
	if id >= 0 && id < len(s.t.tokens) {
		s.token = s.t.decoder.append(s.token, s.t, id, &s.at)
	}
	return s.whole.add(s.token)
}

// Flush returns what was held back.
func (s *Stream) Flush() []byte { return s.whole.flush() }

// whole passes on bytes in whole characters.
type whole struct {
	held []byte // the start of a character
	out  []byte
}

// add takes the next bytes and returns those that are whole, valid until the
// next call. Bytes that cannot become UTF-8 are passed on as they are.
func (s *whole) add(token []byte) []byte {
	s.out = append(append(s.out[:0], s.held...), token...)
	whole := len(s.out)
	for i := 1; i < utf8.UTFMax && i <= len(s.out); i++ {
		if tail := s.out[len(s.out)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				whole -= i
			}
			break
		}
	}
	s.held = append(s.held[:0], s.out[whole:]...)
	return s.out[:whole]
}

// flush returns what was held back.
func (s *whole) flush() []byte {
	s.out = append(s.out[:0], s.held...)
	s.held = s.held[:0]
	return s.out
}
