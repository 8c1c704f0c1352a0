package tokenizer

import "unicode/utf8"

// A Stream passes on the bytes of tokens in whole characters, for a reader who
// watches them come: a token may end in the middle of one. The zero value is
// ready to use.
type Stream struct {
	held []byte // the start of a character
	out  []byte
}

// Add takes the bytes of the next token and returns those that are whole, valid
// until the next call. Bytes that cannot become UTF-8 are passed on as they are.
func (s *Stream) Add(token []byte) []byte {
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

// Flush returns what was held back.
func (s *Stream) Flush() []byte {
	s.out = append(s.out[:0], s.held...)
	s.held = s.held[:0]
	return s.out
}
