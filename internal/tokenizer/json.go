package tokenizer

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"thimble/internal/defect"
)

const (
	maxDepth = 64      // nesting of any JSON file
	maxTree  = 1 << 20 // bytes of a value that is read into memory as a tree
)

// A scanner is a strict pull parser for JSON (RFC 8259): UTF-8 only, no lone
// surrogates, no duplicate keys, nesting up to maxDepth. Large arrays and
// objects are walked in place, without a copy. The first error sticks, stops
// every loop and makes all later results zero.
type scanner struct {
	file  string
	b     []byte
	i     int
	depth int
	text  []byte // the last string that had escapes
	err   error
}

func (s *scanner) fail(why string) {
	if s.err == nil {
		s.err = &defect.CorruptError{File: s.file, Off: int64(s.i), Why: why}
	}
}

// peek returns the next byte that is not white space, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
		default:
			if s.err != nil {
				return 0
			}
			return c
		}
	}
	return 0
}

func (s *scanner) accept(c byte) bool {
	if s.peek() != c || c == 0 {
		return false
	}
	s.i++
	return true
}

func (s *scanner) expect(c byte) {
	if !s.accept(c) {
		s.fail("not JSON: want " + strconv.QuoteRune(rune(c)))
	}
}

// list walks what stands between open and its closing byte, calling item for
// each of the comma-separated parts.
func (s *scanner) list(open, end byte, item func()) {
	if s.depth++; s.depth > maxDepth {
		s.fail("JSON nested more than 64 deep")
	}
	s.expect(open)
	if s.err == nil && !s.accept(end) {
		for item(); s.err == nil && s.accept(','); {
			item()
		}
		s.expect(end)
	}
	s.depth--
}

func (s *scanner) array(item func()) { s.list('[', ']', item) }

// object calls member with each key; member must consume the value.
func (s *scanner) object(member func(key string)) {
	seen := map[string]struct{}{}
	s.list('{', '}', func() {
		at := s.i
		key := string(s.str())
		if _, dup := seen[key]; dup {
			s.i = at
			s.fail("duplicate key " + strconv.Quote(defect.Printable(key)))
		}
		seen[key] = struct{}{}
		s.expect(':')
		if s.err == nil {
			member(key)
		}
	})
}

// str returns the next string. The bytes are valid until the next call.
func (s *scanner) str() []byte {
	s.expect('"')
	if s.err != nil {
		return nil
	}
	start := s.i
	n := bytes.IndexAny(s.b[start:], "\"\\")
	if n < 0 {
		s.unended()
		return nil
	}
	s.plain(s.b[start : start+n])
	if s.i += n; s.b[s.i] == '\\' {
		return s.escaped(start)
	}
	s.i++
	return s.b[start : s.i-1]
}

// plain checks bytes of a string that stand for themselves.
func (s *scanner) plain(b []byte) {
	ascii := true
	for _, c := range b {
		if c < ' ' {
			s.fail("control byte in a string")
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if !ascii && !utf8.Valid(b) {
		s.fail("string is not UTF-8")
	}
}

// escaped finishes the string that began at start, from its first backslash on.
func (s *scanner) escaped(start int) []byte {
	s.text = append(s.text[:0], s.b[start:s.i]...)
	for s.err == nil && s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case '"':
			s.i++
			return s.text
		case '\\':
			s.escape()
		default:
			n := bytes.IndexAny(s.b[s.i:], "\"\\")
			if n < 0 {
				n = len(s.b) - s.i
			}
			s.plain(s.b[s.i : s.i+n])
			s.text = append(s.text, s.b[s.i:s.i+n]...)
			s.i += n
		}
	}
	s.unended()
	return nil
}

func (s *scanner) unended() {
	if s.err == nil {
		s.i = len(s.b)
		s.fail("string without an end")
	}
}

func (s *scanner) escape() {
	if s.i+1 >= len(s.b) {
		s.unended()
		return
	}
	const codes, values = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	c := s.b[s.i+1]
	if n := bytes.IndexByte([]byte(codes), c); n >= 0 {
		s.text = append(s.text, values[n])
		s.i += 2
		return
	}
	r, ok := s.hex4(s.i)
	if !ok {
		s.fail("unknown escape in a string")
		return
	}
	size := 6
	if utf16.IsSurrogate(r) {
		low, _ := s.hex4(s.i + 6)
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			s.fail("lone surrogate in a string")
			return
		}
		size = 12
	}
	s.text = utf8.AppendRune(s.text, r)
	s.i += size
}

// hex4 reads \uXXXX at offset i.
func (s *scanner) hex4(i int) (rune, bool) {
	if i+6 > len(s.b) || s.b[i] != '\\' || s.b[i+1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(s.b[i+2:i+6]), 16, 16)
	return rune(v), err == nil
}

// word returns the next run of bytes that can form a number or a literal.
func (s *scanner) word() string {
	s.peek()
	start := s.i
	for s.i < len(s.b) {
		c := s.b[s.i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '+' || c == '-' || c == '.') {
			break
		}
		s.i++
	}
	return string(s.b[start:s.i])
}

// id returns the next number, which must be a token id.
func (s *scanner) id() int {
	s.peek()
	at := s.i
	w := s.word()
	n, err := strconv.ParseUint(w, 10, 32)
	if err != nil || n >= maxTokens || len(w) > 1 && w[0] == '0' {
		s.i = at
		s.fail("token id " + defect.Printable(w) + " is not a whole number below 4194304")
		return 0
	}
	return int(n)
}

// value returns the next value as string, float64, bool, nil, []any or
// map[string]any. Values over maxTree bytes are refused.
func (s *scanner) value() any {
	s.peek()
	at := s.i
	t := scanner{file: s.file, b: s.b[:min(len(s.b), at+maxTree)], i: at, depth: s.depth, err: s.err}
	v := t.tree()
	s.i, s.err = t.i, t.err
	if s.err != nil && t.i >= len(t.b) && len(t.b) < len(s.b) {
		s.i, s.err = at, nil
		s.fail("value is longer than 1 MiB")
	}
	return v
}

func (s *scanner) tree() any {
	switch c := s.peek(); c {
	case '{':
		m := map[string]any{}
		s.object(func(key string) { m[key] = s.tree() })
		return m
	case '[':
		a := []any{}
		s.array(func() { a = append(a, s.tree()) })
		return a
	case '"':
		return string(s.str())
	}
	at := s.i
	switch w := s.word(); w {
	case "null":
		return nil
	case "true", "false":
		return w == "true"
	default:
		v, ok := parseNumber(w)
		if !ok {
			s.i = at
			s.fail("not JSON: want a value")
		}
		return v
	}
}

// parseNumber reads a JSON number, which is stricter than what strconv takes.
func parseNumber(w string) (float64, bool) {
	d := w
	if d != "" && d[0] == '-' {
		d = d[1:]
	}
	if d == "" || d[0] < '0' || d[0] > '9' || len(d) > 1 && d[0] == '0' && d[1] >= '0' && d[1] <= '9' {
		return 0, false
	}
	for i := range d {
		switch c := d[i]; {
		case c >= '0' && c <= '9', c == 'e', c == 'E', c == '+', c == '-':
		case c == '.' && i+1 < len(d) && d[i+1] >= '0' && d[i+1] <= '9':
		default:
			return 0, false
		}
	}
	v, err := strconv.ParseFloat(w, 64)
	return v, err == nil
}

// skip passes over the next value, made of arrays and strings only, checking
// its syntax.
func (s *scanner) skip() {
	switch s.peek() {
	case '[':
		s.array(s.skip)
	case '"':
		s.str()
	default:
		s.fail("want an array or a string")
	}
}

// end checks that nothing follows the document.
func (s *scanner) end() {
	if s.peek(); s.i < len(s.b) {
		s.fail("bytes after the end of the document")
	}
}
