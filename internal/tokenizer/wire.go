package tokenizer

import (
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"

	"thimble/internal/defect"
)

// Wire types of protocol buffers. Groups, types 3 and 4, are errors.
const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// A message reads a protocol buffer message, one field at a time. If a scalar occurs
// twice, the last one counts, as in every decoder. After the first error all methods do
// nothing.
type message struct {
	file, name string // of the message, for errors
	b          []byte
	base       int64 // offset of b in the file
	at         int   // offset of the current field in b
	i          int   // offset of the next byte in b
	kind       int   // wire type of the current field
	err        error
}

func (m *message) fail(format string, args ...any) {
	if m.err == nil {
		e := defect.Corrupt(m.file, m.name, format, args...)
		if c, ok := e.(*defect.CorruptError); ok {
			c.Off = m.base + int64(m.at)
		}
		m.err = e
	}
}

// next moves to the next field and returns its number, or 0 at the end or after an
// error.
func (m *message) next() int {
	m.at = m.i
	if m.err != nil || m.i == len(m.b) {
		return 0
	}
	tag := m.varint()
	number := tag >> 3
	if m.kind = int(tag & 7); number == 0 || number >= 1<<29 {
		m.fail("field number %d", number)
	}
	if m.err != nil {
		return 0
	}
	return int(number)
}

func (m *message) varint() uint64 {
	v, n := binary.Uvarint(m.b[m.i:])
	if n <= 0 {
		m.fail("unterminated varint")
		m.i = len(m.b)
		return 0
	}
	m.i += n
	return v
}

// want checks the wire type of the current field.
func (m *message) want(kind int) bool {
	if m.kind != kind {
		m.fail("wire type %d, want %d", m.kind, kind)
	}
	return m.err == nil
}

// int reads an int32 or enum.
func (m *message) int() int {
	if !m.want(wireVarint) {
		return 0
	}
	v := int64(m.varint())
	if v != int64(int32(v)) {
		m.fail("%d is not an int32", v)
		return 0
	}
	return int(v)
}

func (m *message) bool() bool { return m.want(wireVarint) && m.varint() != 0 }

func (m *message) float() float32 {
	if !m.want(wire32) {
		return 0
	}
	b := m.take(4)
	if b == nil {
		return 0
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(b))
}

// take returns the next n bytes, or nil after an error.
func (m *message) take(n uint64) []byte {
	if rest := uint64(len(m.b) - m.i); n > rest {
		m.fail("field of %d bytes, %d are left", n, rest)
		m.i = len(m.b)
		return nil
	}
	m.i += int(n)
	return m.b[m.i-int(n) : m.i : m.i]
}

// bytes reads a field of bytes, which alias the file.
func (m *message) bytes() []byte {
	if !m.want(wireBytes) {
		return nil
	}
	return m.take(m.varint())
}

func (m *message) text() string {
	b := m.bytes()
	if !utf8.Valid(b) {
		m.fail("text is not UTF-8")
	}
	return string(b)
}

// message returns a reader for the current field, a message.
func (m *message) message(name string) *message {
	b := m.bytes()
	return &message{file: m.file, name: name, b: b, base: m.base + int64(m.i-len(b)), err: m.err}
}

// close passes the error of part, a field of m, on to m.
func (m *message) close(part *message) {
	if m.err == nil {
		m.err = part.err
	}
}

// skip skips the current field if inert lists it as having no effect. Any other field is
// an error.
func (m *message) skip(number int, inert []int) {
	if !slices.Contains(inert, number) {
		if m.err == nil {
			m.err = defect.Unsupported(m.file, "field %d of %s", number, m.name)
		}
		return
	}
	switch m.kind {
	case wireVarint:
		m.varint()
	case wire64:
		m.take(8)
	case wireBytes:
		m.bytes()
	case wire32:
		m.take(4)
	default:
		m.fail("wire type %d", m.kind)
	}
}
