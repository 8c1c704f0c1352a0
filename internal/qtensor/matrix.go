package qtensor

import (
	"encoding/binary"
	"fmt"

	"thimble/internal/kernel"
)

// A Matrix is a stored matrix. Its planes often alias a mapped file and are
// then read-only. Rows are independent: each can be read or written alone.
type Matrix struct {
	Scheme     Scheme
	Rows, Cols int
	Codes      []byte // float kinds: little-endian values; Int: (Rows, rowBytes), see Scheme
	Scales     []byte // Int: float16 (Rows, Groups)
	Mins       []byte // Int with Asym: float16 (Rows, Groups)
}

// New returns a zero matrix of the given scheme and shape.
func New(s Scheme, rows, cols int) (*Matrix, error) {
	codes, scales, mins, err := s.Sizes(rows, cols)
	if err != nil {
		return nil, err
	}
	return &Matrix{s, rows, cols, make([]byte, codes), make([]byte, scales), make([]byte, mins)}, nil
}

// Check verifies that each plane has exactly the length its shape implies.
func (m *Matrix) Check() error {
	codes, scales, mins, err := m.Scheme.Sizes(m.Rows, m.Cols)
	if err != nil {
		return err
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

// Bytes is the stored size of the matrix.
func (m *Matrix) Bytes() int64 { return int64(len(m.Codes) + len(m.Scales) + len(m.Mins)) }

// row returns row r's part of each plane.
func (m *Matrix) row(r int) (codes, scales, mins []byte) {
	part := func(plane []byte) []byte {
		n := len(plane) / m.Rows
		return plane[r*n : (r+1)*n : (r+1)*n]
	}
	return part(m.Codes), part(m.Scales), part(m.Mins)
}

// A Reader turns stored rows into float32. It holds scratch for one goroutine;
// the zero value is ready.
type Reader struct {
	codes         []uint8
	scale, offset []float32
}

// Row writes row r of m to dst, of m.Cols elements. The values are exactly the
// stored ones: a product of a float16 and a code fits a float32, so the only
// rounding is that of adding an asymmetric scheme's minimum.
func (d *Reader) Row(dst []float32, m *Matrix, r int) {
	dst = dst[:m.Cols]
	codes, scales, mins := m.row(r)
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
	d.codes = grow(d.codes, m.Cols)
	d.unpack(m.Scheme, codes)
	groups := m.Scheme.Groups(m.Cols)
	d.scale, d.offset = grow(d.scale, groups), grow(d.offset, groups)
	kernel.FromF16(d.scale, scales)
	if m.Scheme.Asym {
		kernel.FromF16(d.offset, mins)
	} else {
		zero := float32(m.Scheme.Zero())
		for g, s := range d.scale {
			d.offset[g] = -zero * s
		}
	}
	group := m.Scheme.Group
	if group == 0 {
		group = m.Cols
	}
	kernel.Affine(dst, d.codes, d.scale, d.offset, group)
}

// Codes returns row r's codes, one a byte, valid until the next call.
func (d *Reader) Codes(m *Matrix, r int) []uint8 {
	d.codes = grow(d.codes, m.Cols)
	codes, _, _ := m.row(r)
	d.unpack(m.Scheme, codes)
	return d.codes
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

// SetRow stores row r of an Int matrix: a code per column, and per group a
// float16 scale and, when asymmetric, a float16 minimum, both as raw bits.
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

// pack ORs bits [shift, shift+width) of each code into dst, code i at bit
// i*width counted from the low end of byte 0.
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

// CopyRow stores row from of src, of the same scheme and width, as row r.
func (m *Matrix) CopyRow(r int, src *Matrix, from int) {
	a, b, c := m.row(r)
	x, y, z := src.row(from)
	copy(a, x)
	copy(b, y)
	copy(c, z)
}
