package kv

import (
	"fmt"
	"unicode/utf8"

	"thimble/internal/defect"
)

// A Cursor reads the front of a file. After the first failure, Err, it reads zeros. It
// compares every length with the number of bytes left before using it.
type Cursor struct {
	Path string
	Data []byte
	At   uint64
	Err  error
}

func (c *Cursor) left() uint64 { return uint64(len(c.Data)) - c.At }

// Fail records a fault in a field that begins at byte at, if it is the first.
func (c *Cursor) Fail(at uint64, field, format string, args ...any) {
	if c.Err == nil {
		c.Err = &defect.CorruptError{File: c.Path, Off: int64(at), Field: field, Why: fmt.Sprintf(format, args...)}
	}
}

// Bytes reads n bytes.
func (c *Cursor) Bytes(field string, n uint64) []byte {
	if c.Err == nil && n > c.left() {
		c.Fail(c.At, field, "takes %d bytes, the file has %d left: it is cut off or damaged; copy or download it again", n, c.left())
	}
	if c.Err != nil {
		return nil
	}
	c.At += n
	return c.Data[c.At-n : c.At : c.At]
}

// U32 reads a number of 4 bytes.
func (c *Cursor) U32(field string) uint32 {
	if b := c.Bytes(field, 4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

// U64 reads a number of 8 bytes.
func (c *Cursor) U64(field string) uint64 {
	if b := c.Bytes(field, 8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// Count reads the number of items that follow, each of at least size bytes.
func (c *Cursor) Count(field string, most, size uint64) int {
	at := c.At
	n := c.U64(field)
	if c.Err == nil && n <= most && n > c.left()/size {
		c.Fail(at, field, "is %d, and %d bytes are left: the file is cut off or damaged; copy or download it again", n, c.left())
	}
	if c.Err == nil && n > most {
		c.Fail(at, field, "is %d, want at most %d, and %d bytes are left", n, most, c.left())
	}
	if c.Err != nil {
		return 0
	}
	return int(n)
}

// Name reads a UTF-8 string of 1 to most bytes.
func (c *Cursor) Name(field string, most uint64) string {
	at := c.At
	n := c.Count(field, most, 1)
	b := c.Bytes(field, uint64(n))
	if c.Err == nil && (n == 0 || !utf8.Valid(b)) {
		c.Fail(at, field, "is empty or not UTF-8 (%d bytes)", n)
	}
	return string(b)
}

// Value reads the type and the value of a key, which is at most so many items, each string of at
// most longest bytes.
func (c *Cursor) Value(name string, items, longest uint64) *Value {
	at := c.At
	v := &Value{Kind: c.U32(name), N: 1}
	v.Item = v.Kind
	if v.Kind == Array {
		at = c.At
		v.Item = c.U32(name)
	}
	if c.Err == nil && (v.Item >= uint32(len(Kinds)) || v.Item == Array) {
		c.Fail(at, name, "has values of type %d, which does not exist in GGUF, or an array in an array", v.Item)
	}
	if c.Err != nil {
		return v
	}
	size := Kinds[v.Item].Size
	if v.Kind == Array {
		v.N = c.Count(name, items, size)
	}
	v.At = int64(c.At)
	if v.Item != String {
		v.Raw = c.Bytes(name, uint64(v.N)*size)
		return v
	}
	start := c.At
	for range v.N {
		c.Bytes(name, uint64(c.Count(name, longest, 1)))
		if c.Err != nil {
			return v
		}
	}
	v.Raw = c.Data[start:c.At:c.At]
	return v
}
