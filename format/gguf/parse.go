package gguf

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"thimble/format/gguf/ggml"
	"thimble/format/gguf/kv"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A tensorInfo is an entry of the table of tensors.
type tensorInfo struct {
	path       string // of the file that holds it
	name       string
	rows, cols int
	dims       []uint64 // innermost first; rows is the product of all others
	kind       ggml.Type
	data       []byte
	at         int64 // offset of the entry in the file
}

// A file is a GGUF file with a valid front, whose tensors fill the rest.
type file struct {
	path      string
	files     []string // path, and those of the other files of a split model
	keys      map[string]*kv.Value
	names     []string // of the keys, in the order of the file
	tensors   map[string]*tensorInfo
	listed    []*tensorInfo // in the order of the file
	alignment uint64
}

// A cursor reads the front of a file. After the first failure, err, it reads zeros. It
// compares every length with the number of bytes left before using it.
type cursor struct {
	path string
	data []byte
	at   uint64
	err  error
}

func (c *cursor) left() uint64 { return uint64(len(c.data)) - c.at }

// fail records a fault in a field that begins at byte at, if it is the first.
func (c *cursor) fail(at uint64, field, format string, args ...any) {
	if c.err == nil {
		c.err = &defect.CorruptError{File: c.path, Off: int64(at), Field: field, Why: fmt.Sprintf(format, args...)}
	}
}

func (c *cursor) bytes(field string, n uint64) []byte {
	if c.err == nil && n > c.left() {
		c.fail(c.at, field, "takes %d bytes, the file has %d left: it is cut off or damaged; copy or download it again", n, c.left())
	}
	if c.err != nil {
		return nil
	}
	c.at += n
	return c.data[c.at-n : c.at : c.at]
}

func (c *cursor) u32(field string) uint32 {
	if b := c.bytes(field, 4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (c *cursor) u64(field string) uint64 {
	if b := c.bytes(field, 8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// count reads the number of items that follow, each of at least size bytes.
func (c *cursor) count(field string, most, size uint64) int {
	at := c.at
	n := c.u64(field)
	if c.err == nil && n <= most && n > c.left()/size {
		c.fail(at, field, "is %d, and %d bytes are left: the file is cut off or damaged; copy or download it again", n, c.left())
	}
	if c.err == nil && n > most {
		c.fail(at, field, "is %d, want at most %d, and %d bytes are left", n, most, c.left())
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

// name reads a UTF-8 string of 1 to most bytes.
func (c *cursor) name(field string, most uint64) string {
	at := c.at
	n := c.count(field, most, 1)
	b := c.bytes(field, uint64(n))
	if c.err == nil && (n == 0 || !utf8.Valid(b)) {
		c.fail(at, field, "is empty or not UTF-8 (%d bytes)", n)
	}
	return string(b)
}

// parseFront reads everything before the tensor data.
func parseFront(path string, data []byte) (*file, error) {
	c := &cursor{path: path, data: data}
	f := &file{path: path, files: []string{path}, alignment: alignment}
	if magic := c.bytes("magic", 4); c.err == nil && string(magic) != Magic {
		c.fail(0, "magic", "is %q, want %q", magic, Magic)
	}
	switch v := c.u32("version"); {
	case c.err != nil:
	case v > 0 && v&0xffff == 0:
		return nil, fmt.Errorf("%w; turn its bytes with gguf-convert-endian of gguf-py", defect.Unsupported(path, "big-endian GGUF"))
	case v == 1 || v > version:
		return nil, defect.Unsupported(path, "GGUF version %d (want 2 or 3)", v)
	case v == 0:
		c.fail(4, "version", "is 0, want 2 or 3")
	}
	tensors := c.count("number of tensors", maxTensors, 24)
	keys := c.count("number of keys", maxKeys, 13)
	f.readKeys(c, keys)
	if c.err == nil {
		f.align(c)
	}
	f.readTensors(c, tensors)
	if c.err != nil {
		return nil, c.err
	}
	return f, nil
}

func (f *file) readKeys(c *cursor, n int) {
	f.keys = make(map[string]*kv.Value, n)
	for i := range n {
		at := c.at
		name := c.name(fmt.Sprintf("key %d", i), maxKey)
		v := c.value(name)
		if c.err != nil {
			return
		}
		if f.keys[name] != nil {
			c.fail(at, name, "occurs twice")
			return
		}
		f.keys[name] = v
		f.names = append(f.names, name)
	}
}

// value reads the type and the value of a key.
func (c *cursor) value(name string) *kv.Value {
	at := c.at
	v := &kv.Value{Kind: c.u32(name), N: 1}
	v.Item = v.Kind
	if v.Kind == kv.Array {
		at = c.at
		v.Item = c.u32(name)
	}
	if c.err == nil && (v.Item >= uint32(len(kv.Kinds)) || v.Item == kv.Array) {
		c.fail(at, name, "has values of type %d, which does not exist in GGUF, or an array in an array", v.Item)
	}
	if c.err != nil {
		return v
	}
	size := kv.Kinds[v.Item].Size
	if v.Kind == kv.Array {
		v.N = c.count(name, maxItems, size)
	}
	v.At = int64(c.at)
	if v.Item != kv.String {
		v.Raw = c.bytes(name, uint64(v.N)*size)
		return v
	}
	start := c.at
	for range v.N {
		c.bytes(name, uint64(c.count(name, maxString, 1)))
		if c.err != nil {
			return v
		}
	}
	v.Raw = c.data[start:c.at:c.at]
	return v
}

// align sets the alignment from general.alignment, if the file has it.
func (f *file) align(c *cursor) {
	const name, least, most = "general.alignment", 8, 4096
	v := f.keys[name]
	if v == nil {
		return
	}
	if v.Kind != kv.U32 {
		c.fail(uint64(v.At), name, "is of type %v, want u32", v)
		return
	}
	n := uint64(le.Uint32(v.Raw))
	if n < least || n > most || n&(n-1) != 0 {
		c.fail(uint64(v.At), name, "is %d, want a power of two from %d to %d", n, least, most)
		return
	}
	f.alignment = n
}

// pad rounds n, which is below 2^62, up to the alignment.
func (f *file) pad(n uint64) uint64 { return (n + f.alignment - 1) &^ (f.alignment - 1) }

// readTensors reads the table and locates the data of each tensor. The data of the first
// begins at the next multiple of the alignment, and that of the last ends the file.
func (f *file) readTensors(c *cursor, n int) {
	f.tensors = make(map[string]*tensorInfo, n)
	offsets, sizes := make([]uint64, 0, n), make([]uint64, 0, n)
	sum := uint64(0) // of the padded sizes
	for i := range n {
		t := &tensorInfo{path: c.path, at: int64(c.at)}
		t.name = c.name(fmt.Sprintf("tensor %d", i), maxName)
		size, offset := c.tensor(t)
		if c.err != nil {
			return
		}
		switch {
		case f.tensors[t.name] != nil:
			c.fail(uint64(t.at), t.name, "occurs twice")
		case offset != sum:
			c.fail(uint64(t.at), t.name, "its data is at %d, want %d, where the previous tensor ends", offset, sum)
		case size > uint64(len(c.data)):
			c.fail(uint64(t.at), t.name, "takes %d bytes, the file has %d: it is cut off or damaged; copy or download it again", size, len(c.data))
		}
		if c.err != nil {
			return
		}
		f.tensors[t.name] = t
		f.listed = append(f.listed, t)
		offsets, sizes = append(offsets, offset), append(sizes, size)
		sum += f.pad(size) // at most maxTensors times the length of the file
	}
	start := f.pad(c.at)
	if n == 0 || c.err != nil {
		return // building the model reports the missing tensor
	}
	// Some writers do not pad the last tensor, and others pad the file to a page or more.
	end := start + offsets[n-1] + sizes[n-1]
	got := uint64(len(c.data))
	switch {
	case got < end:
		c.fail(got, "length", "of the file is %d, the tensors end at %d: it is cut off; copy or download it again", got, end)
		return
	case got != start+sum && !isPadding(c.data[end:]):
		c.fail(uint64(min(got, end)), "length", "of the file is %d, the tensors end at %d", got, start+sum)
		return
	}
	for i, t := range f.listed {
		at := start + offsets[i]
		t.data = c.data[at : at+sizes[i] : at+sizes[i]]
	}
}

// isPadding reports whether b, what follows the last tensor, is short and zero.
func isPadding(b []byte) bool {
	const most = 1 << 20 // bytes
	return len(b) <= most && !slices.ContainsFunc(b, func(x byte) bool { return x != 0 })
}

// tensor reads the part of a table entry after the name.
func (c *cursor) tensor(t *tensorInfo) (size, offset uint64) {
	at := c.at
	dims := c.u32(t.name)
	if c.err == nil && (dims < 1 || dims > 4) {
		c.fail(at, t.name, "has %d dimensions, want 1 to 4", dims)
	}
	shape := [4]uint64{1, 1, 1, 1} // innermost first
	for i := range dims {
		if c.err != nil {
			return 0, 0
		}
		at = c.at
		shape[i] = c.u64(t.name)
		if c.err == nil && (shape[i] < 1 || shape[i] > math.MaxInt32/32) {
			c.fail(at, t.name, "dimension %d is %d, want 1 to %d", i, shape[i], math.MaxInt32/32)
		}
	}
	kind := c.u32(t.name)
	offset = c.u64(t.name)
	if c.err != nil {
		return 0, 0
	}
	if shape[3] != 1 || shape[1]*shape[2] > math.MaxInt32/32 { // the product does not overflow
		c.err = fmt.Errorf("%s: %w", defect.Printable(c.path), defect.Unsupported(t.name, "a tensor of %d dimensions", dims))
		return 0, 0
	}
	if t.kind, c.err = ggml.Numbered(c.path, t.name, kind); c.err != nil {
		return 0, 0
	}
	t.cols, t.rows, t.dims = int(shape[0]), int(shape[1]*shape[2]), slices.Clone(shape[:dims])
	n, _, _, err := t.kind.Scheme.Sizes(t.rows, t.cols)
	if err != nil {
		c.fail(at, t.name, "%v", err)
	}
	return uint64(n), offset
}

// part returns the rows of t that are slot, as stored in the file, from row first on; of a
// vector, the values.
func (t *tensorInfo) part(slot model.Slot, first int) *qtensor.Matrix {
	n, size := slot.Rows, len(t.data)/t.rows
	if slot.Rows == 1 && slot.Role == model.Vector {
		n, size = slot.Cols, len(t.data)/(t.rows*t.cols)
	}
	return &qtensor.Matrix{Scheme: t.kind.Scheme, Rows: slot.Rows, Cols: slot.Cols, Codes: t.data[first*size:][:n*size]}
}
