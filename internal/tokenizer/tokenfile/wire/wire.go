// Package wire reads protocol buffers, the form of sentencepiece's models.
package wire

import (
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"

	"thimble/internal/defect"
)

// Wire types of protocol buffers. Groups, types 3 and 4, are errors.
const (
	Varint  = 0
	Fixed64 = 1
	Length  = 2
	Fixed32 = 5
)

// A Message reads a protocol buffer message, one field at a time. If a scalar occurs
// twice, the last one counts, as in every decoder. After the first error all methods do
// nothing.
type Message struct {
	file, name string // of the message, for errors
	b          []byte
	base       int64 // offset of b in the file
	at         int   // offset of the current field in b
	i          int   // offset of the next byte in b
	kind       int   // wire type of the current field
	err        error
}

// Offset returns the offset of the current field.
func (m *Message) Offset() int64 { return m.base + int64(m.at) }

// Fail records an error at the current field, unless there is one.
func (m *Message) Fail(format string, args ...any) {
	if m.err == nil {
		e := defect.Corrupt(m.file, m.name, format, args...)
		if c, ok := e.(*defect.CorruptError); ok {
			c.Off = m.Offset()
		}
		m.err = e
	}
}

// New returns a Message of b, the contents of a file, for errors with its name.
func New(file, name string, b []byte) *Message { return &Message{file: file, name: name, b: b} }

// Err returns the first error.
func (m *Message) Err() error { return m.err }

// Next moves to the next field and returns its number, or 0 at the end or after an
// error.
func (m *Message) Next() int {
	m.at = m.i
	if m.err != nil || m.i == len(m.b) {
		return 0
	}
	tag := m.varint()
	number := tag >> 3
	if m.kind = int(tag & 7); number == 0 || number >= 1<<29 {
		m.Fail("field number %d", number)
	}
	if m.err != nil {
		return 0
	}
	return int(number)
}

func (m *Message) varint() uint64 {
	v, n := binary.Uvarint(m.b[m.i:])
	if n <= 0 {
		m.Fail("unterminated varint")
		m.i = len(m.b)
		return 0
	}
	m.i += n
	return v
}

// want checks the wire type of the current field.
func (m *Message) want(kind int) bool {
	if m.kind != kind {
		m.Fail("wire type %d, want %d", m.kind, kind)
	}
	return m.err == nil
}

// Int reads an int32 or enum.
func (m *Message) Int() int {
	if !m.want(Varint) {
		return 0
	}
	v := int64(m.varint())
	if v != int64(int32(v)) {
		m.Fail("%d is not an int32", v)
		return 0
	}
	return int(v)
}

// Bool reads a bool.
func (m *Message) Bool() bool { return m.want(Varint) && m.varint() != 0 }

// Float reads a float.
func (m *Message) Float() float32 {
	if !m.want(Fixed32) {
		return 0
	}
	b := m.take(4)
	if b == nil {
		return 0
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(b))
}

// take returns the next n bytes, or nil after an error.
func (m *Message) take(n uint64) []byte {
	if rest := uint64(len(m.b) - m.i); n > rest {
		m.Fail("field of %d bytes, %d are left", n, rest)
		m.i = len(m.b)
		return nil
	}
	m.i += int(n)
	return m.b[m.i-int(n) : m.i : m.i]
}

// Bytes reads a field of bytes, which alias the file.
func (m *Message) Bytes() []byte {
	if !m.want(Length) {
		return nil
	}
	return m.take(m.varint())
}

// Text reads a string.
func (m *Message) Text() string {
	b := m.Bytes()
	if !utf8.Valid(b) {
		m.Fail("text is not UTF-8")
	}
	return string(b)
}

// Part returns a reader for the current field, a message.
func (m *Message) Part(name string) *Message {
	b := m.Bytes()
	return &Message{file: m.file, name: name, b: b, base: m.base + int64(m.i-len(b)), err: m.err}
}

// Close passes the error of part, a field of m, on to m.
func (m *Message) Close(part *Message) {
	if m.err == nil {
		m.err = part.err
	}
}

// Skip skips the current field if inert lists it as having no effect. Any other field is
// an error.
func (m *Message) Skip(number int, inert []int) {
	if !slices.Contains(inert, number) {
		if m.err == nil {
			m.err = defect.Unsupported(m.file, "field %d of %s", number, m.name)
		}
		return
	}
	switch m.kind {
	case Varint:
		m.varint()
	case Fixed64:
		m.take(8)
	case Length:
		m.Bytes()
	case Fixed32:
		m.take(4)
	default:
		m.Fail("wire type %d", m.kind)
	}
}
