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
	Codes      []byte // float kinds: little-endian values; Int: (Rows, rowBytes), see Scheme; Foreign: rows of blocks
	Scales     []byte // Int: float16 (Rows, Groups)
	Mins       []byte // Int with Asym: float16 (Rows, Groups)

	// Interleaved, if not 0, is the width of the heads whose halves are stored
	// interleaved: row i + j*Interleaved/2 of a head is its stored row 2i+j. Of a
	// matrix of one row, a bias, it is the columns.
	Interleaved int
}

// New returns a zero matrix of the given scheme and shape.
func New(s Scheme, rows, cols int) (*Matrix, error) {
	codes, scales, mins, err := s.Sizes(rows, cols)
	if err != nil {
		return nil, err
	}
	return &Matrix{Scheme: s, Rows: rows, Cols: cols, Codes: make([]byte, codes), Scales: make([]byte, scales), Mins: make([]byte, mins)}, nil
}

// Check verifies that each plane has exactly the length its shape implies, and
// that interleaved heads are whole.
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
	n, able := m.Rows, true
	if n == 1 {
		n, able = m.Cols, m.Scheme.Float()
	}
	if h := m.Interleaved; h != 0 && (!able || h < 0 || h%2 != 0 || n%h != 0) {
		return fmt.Errorf("%v (%d, %d) cannot be in interleaved heads of %d", m.Scheme, m.Rows, m.Cols, h)
	}
	return nil
}

// Bytes is the stored size of the matrix.
func (m *Matrix) Bytes() int64 { return int64(len(m.Codes) + len(m.Scales) + len(m.Mins)) }

// Standing returns the row that is stored as row r where the halves of heads of
// that width are interleaved; 0 leaves rows in place. Stored is its inverse.
func Standing(r, head int) int {
	if head == 0 {
		return r
	}
	at := r % head
	return r - at + at/2 + at%2*(head/2)
}

// Stored returns where row r is stored, see Standing.
func Stored(r, head int) int {
	if head == 0 {
		return r
	}
	at := r % head
	return r - at + at%(head/2)*2 + at/(head/2)
}

// Row returns the bytes of row r as they are stored. Of kind Int it is the codes
// alone.
func (m *Matrix) Row(r int) []byte {
	row, _, _ := m.row(r)
	return row
}

// row returns row r's part of each plane.
func (m *Matrix) row(r int) (codes, scales, mins []byte) {
	if m.Rows > 1 {
		r = Stored(r, m.Interleaved)
	}
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
	half, least   []uint16
	values        []float32
}

// Row writes row r of m to dst, of m.Cols elements. The values are exactly the
// stored ones: a product of a float16 and a code fits a float32, so the only
// rounding is that of adding an asymmetric scheme's minimum.
func (d *Reader) Row(dst []float32, m *Matrix, r int) {
	dst = dst[:m.Cols]
	codes, scales, mins := m.row(r)
	if m.Scheme.Float() {
		m.Scheme.widen(dst, codes)
		if m.Rows == 1 && m.Interleaved > 0 {
			d.values = append(d.values[:0], dst...)
			for i, v := range d.values {
				dst[Standing(i, m.Interleaved)] = v
			}
		}
		return
	}
	if m.Scheme.Kind == Foreign {
		d.blocks(m.Scheme.Layout, m.Cols, codes)
		kernel.Affine(dst, d.codes, d.scale, d.offset, m.Scheme.Layout.Scheme.Group)
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

// widen writes the values of a row of a float kind.
func (s Scheme) widen(dst []float32, row []byte) {
	switch s.Kind {
	case F32:
		kernel.FromF32(dst, row)
	case F16:
		kernel.FromF16(dst, row)
	case BF16:
		kernel.FromBF16(dst, row)
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

// Codes returns row r's codes, one a byte, and the float16 scales and minimums
// of its groups; all are valid until the next call. m is of kind Int, or Foreign
// with a scheme of its Own.
func (d *Reader) Codes(m *Matrix, r int) (codes []uint8, scale, least []uint16) {
	s, _ := m.Scheme.Own()
	row, scales, mins := m.row(r)
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
	for g := range groups {
		d.half[g] = binary.LittleEndian.Uint16(scales[2*g:])
		if s.Asym {
			d.least[g] = binary.LittleEndian.Uint16(mins[2*g:])
		}
	}
	return d.codes, d.half, d.least
}

// Move stores row r of src in dst, whose scheme is src's Own, without changing a
// value.
func (d *Reader) Move(dst, src *Matrix, r int) {
	if src.Scheme.Kind == Foreign {
		codes, scale, least := d.Codes(src, r)
		dst.SetRow(r, codes, scale, least)
		return
	}
	if src.Rows == 1 && src.Interleaved > 0 {
		size := src.Scheme.valueBytes()
		for c := range src.Cols {
			copy(dst.Codes[size*c:][:size], src.Codes[size*Stored(c, src.Interleaved):])
		}
		return
	}
	from, to := [3][]byte{}, [3][]byte{}
	from[0], from[1], from[2] = src.row(r)
	to[0], to[1], to[2] = dst.row(r)
	for i := range from {
		copy(to[i], from[i])
	}
}

// InPlace reports whether m's planes are those of its Own scheme, row by row.
func (m *Matrix) InPlace() bool { return m.Scheme.Kind != Foreign && m.Interleaved == 0 }

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
