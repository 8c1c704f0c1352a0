package gguf

import (
	"fmt"
	"math"
	"slices"

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

// parseFront reads everything before the tensor data.
func parseFront(path string, data []byte) (*file, error) {
	c := &kv.Cursor{Path: path, Data: data}
	f := &file{path: path, files: []string{path}, alignment: alignment}
	if magic := c.Bytes("magic", 4); c.Err == nil && string(magic) != Magic {
		c.Fail(0, "magic", "is %q, want %q", magic, Magic)
	}
	switch v := c.U32("version"); {
	case c.Err != nil:
	case v > 0 && v&0xffff == 0:
		return nil, fmt.Errorf("%w; turn its bytes with gguf-convert-endian of gguf-py", defect.Unsupported(path, "big-endian GGUF"))
	case v == 1 || v > version:
		return nil, defect.Unsupported(path, "GGUF version %d (want 2 or 3)", v)
	case v == 0:
		c.Fail(4, "version", "is 0, want 2 or 3")
	}
	tensors := c.Count("number of tensors", maxTensors, 24)
	keys := c.Count("number of keys", maxKeys, 13)
	f.readKeys(c, keys)
	if c.Err == nil {
		f.align(c)
	}
	f.readTensors(c, tensors)
	if c.Err != nil {
		return nil, c.Err
	}
	return f, nil
}

func (f *file) readKeys(c *kv.Cursor, n int) {
	f.keys = make(map[string]*kv.Value, n)
	for i := range n {
		at := c.At
		name := c.Name(fmt.Sprintf("key %d", i), maxKey)
		v := c.Value(name, maxItems, maxString)
		if c.Err != nil {
			return
		}
		if f.keys[name] != nil {
			c.Fail(at, name, "occurs twice")
			return
		}
		f.keys[name] = v
		f.names = append(f.names, name)
	}
}

// align sets the alignment from general.alignment, if the file has it.
func (f *file) align(c *kv.Cursor) {
	const name, least, most = "general.alignment", 8, 4096
	v := f.keys[name]
	if v == nil {
		return
	}
	if v.Kind != kv.U32 {
		c.Fail(uint64(v.At), name, "is of type %v, want u32", v)
		return
	}
	n := uint64(le.Uint32(v.Raw))
	if n < least || n > most || n&(n-1) != 0 {
		c.Fail(uint64(v.At), name, "is %d, want a power of two from %d to %d", n, least, most)
		return
	}
	f.alignment = n
}

// pad rounds n, which is below 2^62, up to the alignment.
func (f *file) pad(n uint64) uint64 { return (n + f.alignment - 1) &^ (f.alignment - 1) }

// readTensors reads the table and locates the data of each tensor. The data of the first
// begins at the next multiple of the alignment, and that of the last ends the file.
func (f *file) readTensors(c *kv.Cursor, n int) {
	f.tensors = make(map[string]*tensorInfo, n)
	offsets, sizes := make([]uint64, 0, n), make([]uint64, 0, n)
	sum := uint64(0) // of the padded sizes
	for i := range n {
		t := &tensorInfo{path: c.Path, at: int64(c.At)}
		t.name = c.Name(fmt.Sprintf("tensor %d", i), maxName)
		size, offset := t.read(c)
		if c.Err != nil {
			return
		}
		switch {
		case f.tensors[t.name] != nil:
			c.Fail(uint64(t.at), t.name, "occurs twice")
		case offset != sum:
			c.Fail(uint64(t.at), t.name, "its data is at %d, want %d, where the previous tensor ends", offset, sum)
		case size > uint64(len(c.Data)):
			c.Fail(uint64(t.at), t.name, "takes %d bytes, the file has %d: it is cut off or damaged; copy or download it again", size, len(c.Data))
		}
		if c.Err != nil {
			return
		}
		f.tensors[t.name] = t
		f.listed = append(f.listed, t)
		offsets, sizes = append(offsets, offset), append(sizes, size)
		sum += f.pad(size) // at most maxTensors times the length of the file
	}
	start := f.pad(c.At)
	if n == 0 || c.Err != nil {
		return // building the model reports the missing tensor
	}
	// Some writers do not pad the last tensor, and others pad the file to a page or more.
	end := start + offsets[n-1] + sizes[n-1]
	got := uint64(len(c.Data))
	switch {
	case got < end:
		c.Fail(got, "length", "of the file is %d, the tensors end at %d: it is cut off; copy or download it again", got, end)
		return
	case got != start+sum && !isPadding(c.Data[end:]):
		c.Fail(uint64(min(got, end)), "length", "of the file is %d, the tensors end at %d", got, start+sum)
		return
	}
	for i, t := range f.listed {
		at := start + offsets[i]
		t.data = c.Data[at : at+sizes[i] : at+sizes[i]]
	}
}

// isPadding reports whether b, what follows the last tensor, is short and zero.
func isPadding(b []byte) bool {
	const most = 1 << 20 // bytes
	return len(b) <= most && !slices.ContainsFunc(b, func(x byte) bool { return x != 0 })
}

// read reads the part of a table entry after the name.
func (t *tensorInfo) read(c *kv.Cursor) (size, offset uint64) {
	at := c.At
	dims := c.U32(t.name)
	if c.Err == nil && (dims < 1 || dims > 4) {
		c.Fail(at, t.name, "has %d dimensions, want 1 to 4", dims)
	}
	shape := [4]uint64{1, 1, 1, 1} // innermost first
	for i := range dims {
		if c.Err != nil {
			return 0, 0
		}
		at = c.At
		shape[i] = c.U64(t.name)
		if c.Err == nil && (shape[i] < 1 || shape[i] > math.MaxInt32/32) {
			c.Fail(at, t.name, "dimension %d is %d, want 1 to %d", i, shape[i], math.MaxInt32/32)
		}
	}
	kind := c.U32(t.name)
	offset = c.U64(t.name)
	if c.Err != nil {
		return 0, 0
	}
	if shape[3] != 1 || shape[1]*shape[2] > math.MaxInt32/32 { // the product does not overflow
		c.Err = fmt.Errorf("%s: %w", defect.Printable(c.Path), defect.Unsupported(t.name, "a tensor of %d dimensions", dims))
		return 0, 0
	}
	if t.kind, c.Err = ggml.Numbered(c.Path, t.name, kind); c.Err != nil {
		return 0, 0
	}
	t.cols, t.rows, t.dims = int(shape[0]), int(shape[1]*shape[2]), slices.Clone(shape[:dims])
	n, _, _, err := t.kind.Scheme.Sizes(t.rows, t.cols)
	if err != nil {
		c.Fail(at, t.name, "%v", err)
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
