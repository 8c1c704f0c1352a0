// Package strictjson decodes untrusted JSON (RFC 8259) that must have exactly
// one meaning. Beyond the grammar it rejects input on which decoders disagree:
// duplicate keys (compared after unescaping), invalid UTF-8, lone surrogates,
// and data other than white space after the value. It also limits the nesting
// depth and the number of members, so that memory use stays proportional to
// the length of the text.
package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
)

const (
	MaxDepth   = 64      // nested objects and arrays
	MaxMembers = 1 << 18 // keys of one object or items of one array, unless AllowMembers raises the limit
)

// A Number is the literal text of a JSON number.
type Number string

// MarshalJSON returns the number as it was written.
func (n Number) MarshalJSON() ([]byte, error) { return []byte(n), nil }

// A Decoder reads values from a text, one at a time. It must not be used after
// an error.
type Decoder struct {
	file string
	base int // offset of text in the file
	text []byte
	off  int
	path []string // one entry per open object or array, "" where no key applies

	maxMembers int    // of one object or array
	nan        bool   // see AllowNaN
	unescaped  []byte // the last string that had escapes
}

// NewDecoder returns a Decoder for text, which begins at byte base of file.
// Errors are of type *defect.CorruptError and give the offset in file.
func NewDecoder(file string, base int, text []byte) *Decoder {
	return &Decoder{file: file, base: base, text: text, maxMembers: MaxMembers}
}

// AllowMembers sets the largest number of members in one object or array to n.
func (d *Decoder) AllowMembers(n int) { d.maxMembers = n }

// AllowNaN makes d read NaN, Infinity and -Infinity as numbers, as Python's json module writes and
// reads them. Number returns none of them, so a number that counts is still a number of JSON.
func (d *Decoder) AllowNaN() { d.nan = true }

// A Mark is a position in a text, before a value.
type Mark struct{ off, depth int }

// Mark returns the current position of d, which must be before a value.
func (d *Decoder) Mark() Mark { return Mark{d.off, len(d.path)} }

// At returns a Decoder for the value at m, a position in the text of d.
func (d *Decoder) At(m Mark) *Decoder {
	return &Decoder{
		file: d.file, base: d.base, text: d.text, off: m.off, path: make([]string, m.depth), maxMembers: d.maxMembers, nan: d.nan,
	}
}

// Decode returns the only value of a file as a map[string]any, []any, string,
// Number, bool, or nil.
func Decode(file string, text []byte) (any, error) {
	d := NewDecoder(file, 0, text)
	v, err := d.Any()
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Fail returns an error that gives the current position of d.
func (d *Decoder) Fail(format string, args ...any) error {
	keys := slices.DeleteFunc(slices.Clone(d.path), func(key string) bool { return key == "" })
	return &defect.CorruptError{
		File: d.file, Off: int64(d.base + d.off), Field: strings.Join(keys, "."), Why: fmt.Sprintf(format, args...),
	}
}

// Kind returns the first byte of the next value ('{', '[', '"', 't', 'f', 'n',
// '-' or a digit), or 0 at the end of the text.
func (d *Decoder) Kind() byte {
	for d.off < len(d.text) {
		switch c := d.text[d.off]; c {
		case ' ', '\t', '\n', '\r':
			d.off++
		default:
			return c
		}
	}
	return 0
}

// End returns an error unless only white space is left.
func (d *Decoder) End() error {
	if c := d.Kind(); c != 0 || d.off < len(d.text) {
		return d.Fail("unexpected %q after the value", c)
	}
	return nil
}

// Object reads an object and calls f with each key; f must read the value.
func (d *Decoder) Object(f func(key string) error) error {
	var few []string
	var many map[string]bool // the keys after the first 16, too many for a linear search
	return d.list('{', '}', func(int) error {
		if d.Kind() != '"' {
			return d.Fail("%s, want a key", d.found())
		}
		key, err := d.String()
		switch {
		case err != nil:
			return err
		case many[key] || slices.Contains(few, key):
			return d.Fail("key %.64q occurs twice", key)
		case len(few) < 16:
			few = append(few, key)
		case many == nil:
			many = map[string]bool{key: true}
		default:
			many[key] = true
		}
		if d.Kind() != ':' {
			return d.Fail("%s after key %.64q, want a colon", d.found(), key)
		}
		d.off++
		d.path[len(d.path)-1] = key
		err = f(key)
		d.path[len(d.path)-1] = ""
		return err
	})
}

// Array reads an array and calls f with each index; f must read the value.
func (d *Decoder) Array(f func(i int) error) error { return d.list('[', ']', f) }

// list reads the items between the brackets open and shut.
func (d *Decoder) list(open, shut byte, item func(i int) error) error {
	if d.Kind() != open {
		return d.Fail("%s, want %s", d.found(), map[byte]string{'{': "an object", '[': "an array"}[open])
	}
	if len(d.path) == MaxDepth {
		return d.Fail("nested deeper than %d", MaxDepth)
	}
	d.off++
	d.path = append(d.path, "")
	defer func() { d.path = d.path[:len(d.path)-1] }()
	if d.Kind() == shut {
		d.off++
		return nil
	}
	for i := 0; ; i++ {
		if i == d.maxMembers {
			return d.Fail("more than %d members", d.maxMembers)
		}
		if err := item(i); err != nil {
			return err
		}
		switch d.Kind() {
		case ',':
			d.off++
		case shut:
			d.off++
			return nil
		default:
			return d.Fail("%s, want a comma or %q", d.found(), shut)
		}
	}
}

// String reads a string.
func (d *Decoder) String() (string, error) {
	b, err := d.Bytes()
	return string(b), err
}

// Bytes reads a string. The bytes are valid until the next call.
func (d *Decoder) Bytes() ([]byte, error) {
	if d.Kind() != '"' {
		return nil, d.Fail("%s, want a string", d.found())
	}
	d.off++
	d.unescaped = d.unescaped[:0]
	start := d.off // everything before it is in d.unescaped
	for d.off < len(d.text) {
		switch c := d.text[d.off]; {
		case c == '"':
			b := d.text[start:d.off:d.off]
			if len(d.unescaped) > 0 {
				d.unescaped = append(d.unescaped, b...)
				b = d.unescaped
			}
			if !utf8.Valid(b) {
				return nil, d.Fail("string is not UTF-8")
			}
			d.off++
			return b, nil
		case c < ' ':
			return nil, d.Fail("control byte %#02x in a string", c)
		case c == '\\':
			d.unescaped = append(d.unescaped, d.text[start:d.off]...)
			r, err := d.escape()
			if err != nil {
				return nil, err
			}
			d.unescaped = utf8.AppendRune(d.unescaped, r)
			start = d.off
		default:
			d.off++
		}
	}
	return nil, d.Fail("the text ends inside a string")
}

// escape reads one escape, or the two escapes of a surrogate pair.
func (d *Decoder) escape() (rune, error) {
	if rest := d.text[d.off+1:]; len(rest) > 0 {
		if i := strings.IndexByte(`"\/bfnrt`, rest[0]); i >= 0 {
			d.off += 2
			return rune("\"\\/\b\f\n\r\t"[i]), nil
		}
	}
	hi, ok := d.unit()
	switch {
	case !ok:
		return 0, d.Fail("unknown escape")
	case hi < 0xd800 || hi > 0xdfff:
		return hi, nil
	}
	lo, ok := d.unit()
	if !ok || hi > 0xdbff || lo < 0xdc00 || lo > 0xdfff {
		return 0, d.Fail("unpaired surrogate")
	}
	return 0x10000 + (hi-0xd800)<<10 + (lo - 0xdc00), nil
}

// unit reads one UTF-16 code unit, written \uXXXX.
func (d *Decoder) unit() (rune, bool) {
	if len(d.text)-d.off < 6 || d.text[d.off] != '\\' || d.text[d.off+1] != 'u' {
		return 0, false
	}
	hex := string(d.text[d.off+2 : d.off+6])
	u, err := strconv.ParseUint(hex, 16, 16)
	if err != nil { // ParseUint takes no sign, prefix or underscore in base 16
		return 0, false
	}
	d.off += 6
	return rune(u), true
}

// Number reads a number.
func (d *Decoder) Number() (Number, error) {
	c := d.Kind()
	if c != '-' && !digit(c) {
		return "", d.Fail("%s, want a number", d.found())
	}
	start := d.off
	if c == '-' {
		d.off++
	}
	ok := d.digits()
	if int := strings.TrimPrefix(string(d.text[start:d.off]), "-"); len(int) > 1 && int[0] == '0' {
		ok = false
	}
	if ok && d.at('.') {
		d.off++
		ok = d.digits()
	}
	if ok && (d.at('e') || d.at('E')) {
		d.off++
		if d.at('+') || d.at('-') {
			d.off++
		}
		ok = d.digits()
	}
	if !ok {
		return "", d.Fail("malformed number")
	}
	return Number(d.text[start:d.off]), nil
}

func (d *Decoder) at(c byte) bool { return d.off < len(d.text) && d.text[d.off] == c }

// digits reads one or more digits.
func (d *Decoder) digits() bool {
	start := d.off
	for d.off < len(d.text) && digit(d.text[d.off]) {
		d.off++
	}
	return d.off > start
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// Uint reads a whole number from 0 to 2^64-1, written in plain digits.
func (d *Decoder) Uint() (uint64, error) {
	n, err := d.Number()
	if err != nil {
		return 0, err
	}
	u, err := strconv.ParseUint(string(n), 10, 64)
	if err != nil {
		return 0, d.Fail("%.64q, want a whole number of at most 64 bits", string(n))
	}
	return u, nil
}

// Within reads a value of any kind whose text is at most n bytes long.
func (d *Decoder) Within(n int) (any, error) {
	d.Kind()
	start, text := d.off, d.text
	d.text = text[:min(len(text), start+n)]
	v, err := d.Any()
	const lookahead = 12 // bytes, those of two escapes
	if cut := len(d.text) < len(text); err != nil && cut && d.off+lookahead > len(d.text) {
		d.off = start
		err = d.Fail("the value takes more than %d bytes", n)
	}
	d.text = text
	return v, err
}

// Any reads a value of any kind.
func (d *Decoder) Any() (any, error) {
	switch c := d.Kind(); {
	case c == '{':
		m := map[string]any{}
		return m, d.Object(func(key string) (err error) {
			m[key], err = d.Any()
			return err
		})
	case c == '[':
		a := []any{}
		err := d.Array(func(int) error {
			v, err := d.Any()
			a = append(a, v)
			return err
		})
		return a, err
	case c == '"':
		return d.String()
	case d.nan && slices.ContainsFunc(notFinite, d.starts):
		text := notFinite[slices.IndexFunc(notFinite, d.starts)]
		d.off += len(text)
		return Number(text), nil
	case c == '-' || digit(c):
		return d.Number()
	}
	for _, l := range literals {
		if d.starts(l.text) {
			d.off += len(l.text)
			return l.value, nil
		}
	}
	return nil, d.Fail("%s, want a value", d.found())
}

// notFinite lists the numbers that AllowNaN allows.
var notFinite = []string{"NaN", "Infinity", "-Infinity"}

func (d *Decoder) starts(literal string) bool {
	return bytes.HasPrefix(d.text[d.off:], []byte(literal))
}

// Skip reads a value of any kind and discards it.
func (d *Decoder) Skip() error {
	switch d.Kind() {
	case '{':
		return d.Object(func(string) error { return d.Skip() })
	case '[':
		return d.Array(func(int) error { return d.Skip() })
	}
	_, err := d.Any()
	return err
}

var literals = []struct {
	text  string
	value any
}{{"true", true}, {"false", false}, {"null", nil}}

// found describes what is at the current position, for an error.
func (d *Decoder) found() string {
	switch c := d.Kind(); {
	case d.off == len(d.text):
		return "the text ends"
	case c == '{':
		return "found an object"
	case c == '[':
		return "found an array"
	case c == '"':
		return "found a string"
	case c == '-' || digit(c):
		return "found a number"
	}
	for _, l := range literals {
		if d.starts(l.text) {
			return "found " + l.text
		}
	}
	return fmt.Sprintf("found %q", d.text[d.off])
}

// Encode returns v as JSON that people read as well: indented by two spaces, with
// a newline at the end, and without HTML escapes for <, > and &.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
