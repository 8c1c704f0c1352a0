package qtensor

import (
	"encoding/binary"
	"fmt"

	"thimble/internal/kernel"
	"thimble/internal/mmap"
)

// A Matrix is a stored matrix. Its planes are read-only where they alias a mapped
// file. Rows are independent: each can be read or written alone.
type Matrix struct {
	Scheme     Scheme
	Rows, Cols int
	Codes      []byte // float kinds: little-endian values; Int: (Rows, rowBytes), see Scheme; Foreign: rows of blocks
	Scales     []byte // Int: float16 (Rows, Groups)
	Mins       []byte // Int with Asym: float16 (Rows, Groups)

	// Source, if not nil, makes the rows of Codes one at a time, and Codes is empty:
	// the rows are in several files, in another order or in a type that nothing
	// computes with.
	Source Source
}

// A Source makes rows on demand, for several goroutines at once.
type Source interface {
	// Row writes row r to dst, of the length of a row of Codes.
	Row(dst []byte, r int)
	// Release lets the system reclaim the memory that the rows were made from.
	Release()
}

// Release lets the system reclaim the memory of m that is mapped from a file. The next
// use reads the file again.
func (m *Matrix) Release() {
	if m.Source != nil {
		m.Source.Release()
	}
	for _, plane := range m.Planes() {
		mmap.Release(plane)
	}
}

// New returns a zero matrix of the given scheme and shape.
func New(s Scheme, rows, cols int) (*Matrix, error) {
	codes, scales, mins, err := s.Sizes(rows, cols)
	if err != nil {
		return nil, err
	}
	return &Matrix{Scheme: s, Rows: rows, Cols: cols, Codes: make([]byte, codes), Scales: make([]byte, scales), Mins: make([]byte, mins)}, nil
}

// Check returns an error unless each plane has exactly the length that the shape
// implies.
func (m *Matrix) Check() error {
	codes, scales, mins, err := m.Scheme.Sizes(m.Rows, m.Cols)
	if err != nil {
		return err
	}
	if m.Source != nil {
		codes = 0
	}
	for _, p := range []struct {
		name      string
		got, want int64
	}{{"codes", int64(len(m.Codes)), codes}, {"scales", int64(len(m.Scales)), scales}, {"mins", int64(len(m.Mins)), mins}} {
		if p.got != p.want {
			return fmt.Errorf("%v: %s take %d bytes, shape (%d, %d) wants %d", m.Scheme, p.name, p.got, m.Rows, m.Cols, p.want)
		}
	}
	return nil
}

// Bytes returns the stored size of the matrix, which must have passed Check.
func (m *Matrix) Bytes() int64 {
	codes, scales, mins, _ := m.Scheme.Sizes(m.Rows, m.Cols)
	return codes + scales + mins
}

// Planes returns the stored bytes of the matrix, except the rows of a Source, in the
// order of a file.
func (m *Matrix) Planes() [3][]byte { return [3][]byte{m.Codes, m.Scales, m.Mins} }

// row returns row r of each plane; m must not have a Source.
func (m *Matrix) row(r int) (codes, scales, mins []byte) {
	return m.rowOf(m.Codes, r), m.rowOf(m.Scales, r), m.rowOf(m.Mins, r)
}

// rowOf returns row r of a plane.
func (m *Matrix) rowOf(plane []byte, r int) []byte {
	n := len(plane) / m.Rows
	return plane[r*n : (r+1)*n : (r+1)*n]
}

// A Reader reads stored rows as float32. It holds scratch for one goroutine; the
// zero value is ready to use.
type Reader struct {
	made          []byte // a row of a Source
	codes         []uint8
	scale, offset []float32
	half, least   []uint16
}

// Stored returns row r of m.Codes, valid until the next call: read-only, as it
// may be m's own.
func (d *Reader) Stored(m *Matrix, r int) []byte {
	if m.Source == nil {
		return m.rowOf(m.Codes, r)
	}
	d.made = grow(d.made, m.Scheme.rowBytes(m.Cols))
	m.Source.Row(d.made, r)
	return d.made
}

// Row writes row r of m to dst, (m.Cols). The values are exactly the stored ones: a
// product of a float16 and a code fits a float32, so the only rounding is that of
// adding an asymmetric scheme's minimum.
func (d *Reader) Row(dst []float32, m *Matrix, r int) {
	dst = dst[:m.Cols]
	codes := d.Stored(m, r)
	switch m.Scheme.Kind {
	case F32:
		kernel.FromF32(dst, codes)
		return
	case F16:
		kernel.FromF16(dst, codes)
		return
	case BF16:
		kernel.FromBF16(dst, codes)
		return
	}
	d.integers(m, r, codes)
	kernel.Affine(dst, d.codes, d.scale, d.offset, m.Scheme.Columns(m.Cols))
}

// Integers returns row r of m, which is not of a float kind, as integers: codes, one
// per byte, and the scale and offset of each group. A code stands for code*scale +
// offset; the offset of a symmetric scheme (see Own) is -Zero*scale. All are valid
// until the next call.
func (d *Reader) Integers(m *Matrix, r int) (codes []uint8, scale, offset []float32) {
	d.integers(m, r, d.Stored(m, r))
	return d.codes, d.scale, d.offset
}

// integers reads row r, whose codes are stored as row.
func (d *Reader) integers(m *Matrix, r int, row []byte) {
	if m.Scheme.Kind == Foreign {
		d.blocks(m.Scheme.Layout, m.Cols, row)
		return
	}
	d.codes = grow(d.codes, m.Cols)
	d.unpack(m.Scheme, row)
	groups := m.Scheme.Groups(m.Cols)
	d.scale, d.offset = grow(d.scale, groups), grow(d.offset, groups)
	kernel.FromF16(d.scale, m.rowOf(m.Scales, r))
	if m.Scheme.Asym {
		kernel.FromF16(d.offset, m.rowOf(m.Mins, r))
	} else {
		zero := float32(m.Scheme.Zero())
		for g, s := range d.scale {
			d.offset[g] = -zero * s
		}
	}
}

// blocks unpacks a row of blocks.
func (d *Reader) blocks(l *Layout, cols int, row []byte) {
	groups := l.Cols / l.Scheme.Group // of a block
	n := cols / l.Cols
	d.codes, d.scale, d.offset = grow(d.codes, cols), grow(d.scale, n*groups), grow(d.offset, n*groups)
	for b := range n {
		block := row[b*l.Bytes:][:l.Bytes]
		l.unpack(d.codes[b*l.Cols:][:l.Cols], block)
		l.affine(d.scale[b*groups:][:groups], d.offset[b*groups:][:groups], block)
	}
}

// Codes returns row r's codes, one per byte, and the float16 scales and minimums of
// its groups, all valid until the next call. m is of kind Int, or Foreign with a
// scheme of its Own.
func (d *Reader) Codes(m *Matrix, r int) (codes []uint8, scale, least []uint16) {
	s, _ := m.Scheme.Own()
	row := d.Stored(m, r)
	groups := s.Groups(m.Cols)
	d.half, d.least = grow(d.half, groups), grow(d.least, groups)
	if l := m.Scheme.Layout; l != nil {
		d.blocks(l, m.Cols, row)
		for g := range groups {
			d.half[g] = l.half(row[g*l.Bytes:], 0)
			if s.Asym {
				d.least[g] = l.half(row[g*l.Bytes:], 1)
			}
		}
		return d.codes, d.half, d.least
	}
	d.codes = grow(d.codes, m.Cols)
	d.unpack(s, row)
	scales, mins := m.rowOf(m.Scales, r), m.rowOf(m.Mins, r)
	for g := range groups {
		d.half[g] = binary.LittleEndian.Uint16(scales[2*g:])
		if s.Asym {
			d.least[g] = binary.LittleEndian.Uint16(mins[2*g:])
		}
	}
	return d.codes, d.half, d.least
}

// Move stores row r of src, which is Foreign, in dst, whose scheme is src's Own. No
// value changes.
func (d *Reader) Move(dst, src *Matrix, r int) {
	codes, scale, least := d.Codes(src, r)
	dst.SetRow(r, codes, scale, least)
}

// unpack joins the planes of one row into d.codes.
func (d *Reader) unpack(s Scheme, row []byte) {
	shift := uint(0)
	for _, width := range s.digits() {
		n := (len(d.codes)*width + 7) / 8
		kernel.Unpack(d.codes, row[:n], width, shift, shift > 0)
		row, shift = row[n:], shift+uint(width)
	}
}

// SetRow stores row r of an Int matrix: a code for each column, and for each group a
// float16 scale and, in an asymmetric scheme, a float16 minimum, as raw bits.
func (m *Matrix) SetRow(r int, codes []uint8, scale, min []uint16) {
	row, scales, mins := m.row(r)
	clear(row)
	shift := 0
	for _, width := range m.Scheme.digits() {
		pack(row, codes[:m.Cols], width, shift)
		n := (m.Cols*width + 7) / 8
		row, shift = row[n:], shift+width
	}
	for g := range m.Scheme.Groups(m.Cols) {
		binary.LittleEndian.PutUint16(scales[2*g:], scale[g])
		if m.Scheme.Asym {
			binary.LittleEndian.PutUint16(mins[2*g:], min[g])
		}
	}
}

// pack ORs bits [shift, shift+width) of each code into dst, code i from bit i*width
// on, counted from the low end of byte 0.
func pack(dst []byte, codes []uint8, width, shift int) {
	mask := uint8(1<<width - 1)
	for i, c := range codes {
		at := i * width
		dst[at/8] |= (c >> shift & mask) << (at % 8)
	}
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// CopyRow stores row from of src, which has the same scheme and columns, as row r.
func (m *Matrix) CopyRow(r int, src *Matrix, from int) {
	a, b, c := m.row(r)
	x, y, z := src.row(from)
	copy(a, x)
	copy(b, y)
	copy(c, z)
}
