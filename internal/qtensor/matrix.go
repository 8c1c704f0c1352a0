package qtensor

import (
	"encoding/binary"
	"fmt"

	"thimble/internal/kernel"
	"thimble/internal/mmap"
)

// A Matrix is a stored matrix. Its planes often alias a mapped file; then they
// are read-only. Rows are independent: each can be read or written alone.
type Matrix struct {
	Scheme     Scheme
	Rows, Cols int
	Codes      []byte // float kinds: little-endian values; Int: (Rows, rowBytes), see Scheme; Foreign: rows of blocks
	Scales     []byte // Int: float16 (Rows, Groups); Short: rows of short scales
	Mins       []byte // Int with Asym: float16 (Rows, Groups)

	// Scales32 and Mins32, if not nil, replace Scales and Mins in a PlainCopy: see Factors32.
	Scales32, Mins32 []float32

	// Source, if not nil, produces the rows of Codes, which must then be empty. It
	// serves rows that a file stores in another order or type, or in several parts.
	Source Source
}

// A Source produces rows on demand. Several goroutines may call it at once.
type Source interface {
	// Row writes row r to dst, which has the length of a row of Codes.
	Row(dst []byte, r int)
	// Release lets the system reclaim the memory that the rows come from.
	Release()
}

// Release lets the system reclaim the mapped pages that m was read from. The next
// access reads them from the file again.
func (m *Matrix) Release() {
	if m.Source != nil {
		m.Source.Release()
	}
	for _, plane := range m.Planes() {
		mmap.Release(plane)
	}
}

// stretchBytes is about how much ReleaseBehind releases at a time. With much less, the pages
// that the system reads around each access would become resident again.
const stretchBytes = 4 << 20

// ReleaseBehind is Release for rows that a pass over m has read. A task of the pass, which
// reads n rows from r on, calls it first; tasks start in order, on any number of cores. It does
// nothing for a Source that has no such method.
func (m *Matrix) ReleaseBehind(r, n int) {
	if s, ok := m.Source.(interface{ ReleaseBehind(r, n int) }); ok {
		s.ReleaseBehind(r, n)
		return
	}
	stretch := n * max(1, stretchBytes/(n*max(1, m.RowBytes())))
	if r%stretch != 0 || r < 2*stretch { // other cores may still read the stretch before r
		return
	}
	for _, plane := range m.Planes() {
		row := len(plane) / m.Rows
		mmap.Release(plane[(r-2*stretch)*row : (r-stretch)*row])
	}
}

// New returns a zero matrix of the given scheme, without its rate, and shape.
func New(s Scheme, rows, cols int) (*Matrix, error) {
	codes, scales, mins, err := s.Sizes(rows, cols)
	if err != nil {
		return nil, err
	}
	return &Matrix{Scheme: s.InMemory(), Rows: rows, Cols: cols, Codes: make([]byte, codes), Scales: make([]byte, scales), Mins: make([]byte, mins)}, nil
}

// Check reports an error unless each plane has exactly the length that the
// scheme and shape imply.
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
			return fmt.Errorf("%v: %s take %d bytes, shape (%d, %d) needs %d", m.Scheme, p.name, p.got, m.Rows, m.Cols, p.want)
		}
	}
	return nil
}

// Bytes returns the stored size of the matrix, which must have passed Check.
func (m *Matrix) Bytes() int64 {
	n, _ := m.Scheme.Size(m.Rows, m.Cols)
	return n
}

// RowBytes returns the length of a row of Codes.
func (m *Matrix) RowBytes() int { return m.Scheme.rowBytes(m.Cols) }

// Planes returns the stored planes in the order of a container. Codes is empty if
// the matrix has a Source.
func (m *Matrix) Planes() [3][]byte { return [3][]byte{m.Codes, m.Scales, m.Mins} }

// planeRows returns row r of each plane. The matrix must not have a Source.
func (m *Matrix) planeRows(r int) (codes, scales, mins []byte) {
	return m.planeRow(m.Codes, r), m.planeRow(m.Scales, r), m.planeRow(m.Mins, r)
}

// planeRow returns row r of a plane.
func (m *Matrix) planeRow(plane []byte, r int) []byte {
	n := len(plane) / m.Rows
	return plane[r*n : (r+1)*n : (r+1)*n]
}

// A Reader dequantizes stored rows to float32. It holds scratch memory for one
// goroutine; the zero value is ready to use.
type Reader struct {
	sourceRow          []byte // a row of a Source
	codes              []uint8
	scale, offset      []float32
	scaleBits, minBits []uint16 // float16 bits
	joined             Matrix   // of Rows
}

// Stored returns row r of m.Codes, from m.Source if there is one. The result is
// valid until the next call and must not be modified, because it may alias m.
func (d *Reader) Stored(m *Matrix, r int) []byte {
	if m.Source == nil {
		return m.planeRow(m.Codes, r)
	}
	d.sourceRow = grow(d.sourceRow, m.Scheme.rowBytes(m.Cols))
	m.Source.Row(d.sourceRow, r)
	return d.sourceRow
}

// Row writes row r of m to dst, which has m.Cols elements. The product of a
// float16 scale and a code fits a float32 exactly, so the only operation that
// rounds is the addition of an asymmetric scheme's minimum.
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

// Rows writes the rows [from, from+n) of m to dst, in which they begin stride elements
// apart, and clears the elements between them.
func (d *Reader) Rows(dst []float32, stride int, m *Matrix, from, n int) {
	if d.join(stride, m, from, n) {
		d.Row(dst, &d.joined, 0)
		return
	}
	for i := range n {
		row := dst[i*stride:][:stride]
		d.Row(row, m, from+i)
		clear(row[m.Cols:])
	}
}

// join makes the rows [from, from+n) of m one row, unless what is stored of one does not
// follow that of the other. A long row is widened much faster than many short ones.
func (d *Reader) join(stride int, m *Matrix, from, n int) bool {
	s := m.Scheme
	if s.Kind == Int {
		s.Group = s.Columns(m.Cols)
		if s.Short || s.Uneven || len(kernel.Planes(s.Bits)) > 1 || m.Cols%s.Group != 0 || m.Cols*s.Bits%8 != 0 {
			return false
		}
	}
	if stride != m.Cols || !m.Plain() || m.Scales32 != nil {
		return false
	}
	rows := func(plane []byte) []byte {
		size := len(plane) / m.Rows
		return plane[from*size:][:n*size]
	}
	d.joined = Matrix{Scheme: s, Rows: 1, Cols: n * m.Cols, Codes: rows(m.Codes), Scales: rows(m.Scales), Mins: rows(m.Mins)}
	return true
}

// Integers returns row r of m, whose kind must be Int or Foreign: its codes, one
// per byte, and each group's scale and offset. An element is code*scale + offset.
// In a symmetric scheme (see Native) the offset is -Zero*scale. The results are
// valid until the next call.
func (d *Reader) Integers(m *Matrix, r int) (codes []uint8, scale, offset []float32) {
	d.integers(m, r, d.Stored(m, r))
	return d.codes, d.scale, d.offset
}

// Factors returns each group's scale and, in an asymmetric scheme, its minimum in
// row r of m, whose kind must be Int. The results are valid until the next call.
func (d *Reader) Factors(m *Matrix, r int) (scale, min []float32) {
	groups := m.Scheme.Groups(m.Cols)
	d.scale, d.offset = grow(d.scale, groups), grow(d.offset, groups)
	if m.Scheme.Short {
		kernel.FromShort(d.scale, m.planeRow(m.Scales, r), m.Scheme.ShortLevels())
	} else {
		m.widenFactors(d.scale, m.Scales, m.Scales32, r)
	}
	if m.Scheme.Asym {
		m.widenFactors(d.offset, m.Mins, m.Mins32, r)
	}
	return d.scale, d.offset
}

// widenFactors writes the factors of row r to dst: those of wide, or else of narrow.
func (m *Matrix) widenFactors(dst []float32, narrow []byte, wide []float32, r int) {
	if wide == nil {
		kernel.FromF16(dst, m.planeRow(narrow, r))
		return
	}
	lane := r % FactorRows
	set := m.Factors32(wide, r-lane)
	for k := range dst {
		dst[k] = set[k*FactorRows+lane]
	}
}

// Unpacked returns the codes of row r of m, one per byte, whose kind must be Int. The result is
// valid until the next call.
func (d *Reader) Unpacked(m *Matrix, r int) []uint8 {
	d.codes = grow(d.codes, m.Cols)
	m.Scheme.unpack(d.codes, d.Stored(m, r))
	return d.codes
}

// integers reads row r, whose stored codes are row, into codes, scale and offset.
func (d *Reader) integers(m *Matrix, r int, row []byte) {
	if m.Scheme.Kind == Foreign {
		d.blocks(m.Scheme.Layout, m.Cols, row)
		return
	}
	d.codes = grow(d.codes, m.Cols)
	m.Scheme.unpack(d.codes, row)
	d.Factors(m, r)
	if !m.Scheme.Asym {
		zero := float32(m.Scheme.Zero())
		for g, s := range d.scale {
			d.offset[g] = -zero * s
		}
	}
}

// blocks reads a row of blocks into codes, scale and offset.
func (d *Reader) blocks(l *Layout, cols int, row []byte) {
	groups := l.Cols / l.Scheme.Group // groups per block
	n := cols / l.Cols
	d.codes, d.scale, d.offset = grow(d.codes, cols), grow(d.scale, n*groups), grow(d.offset, n*groups)
	for b := range n {
		block := row[b*l.Bytes:][:l.Bytes]
		l.unpack(d.codes[b*l.Cols:][:l.Cols], block)
		l.affine(d.scale[b*groups:][:groups], d.offset[b*groups:][:groups], block)
	}
}

// Codes returns the codes of row r, one per byte, and the float16 bits of its
// groups' scales and minimums, all valid until the next call. m must be of kind
// Int, or Foreign with a Native scheme.
func (d *Reader) Codes(m *Matrix, r int) (codes []uint8, scales, mins []uint16) {
	s, _ := m.Scheme.Native()
	row := d.Stored(m, r)
	groups := s.Groups(m.Cols)
	d.scaleBits, d.minBits = grow(d.scaleBits, groups), grow(d.minBits, groups)
	d.codes = grow(d.codes, m.Cols)
	switch l := m.Scheme.Layout; {
	case l != nil && l.scales == nil:
		for g := range groups {
			block := row[g*l.Bytes:][:l.Bytes]
			l.unpack(d.codes[g*l.Cols:][:l.Cols], block)
			d.scaleBits[g] = l.float16Bits(block, 0)
			if s.Asym {
				d.minBits[g] = l.float16Bits(block, 1)
			}
		}
	case l != nil || s.Short:
		d.integers(m, r, row)
		for g := range groups { // they are float16 numbers, of any sign
			d.scaleBits[g], _ = ToFloat16(d.scale[g])
			if s.Asym {
				d.minBits[g], _ = ToFloat16(d.offset[g])
			}
		}
	default:
		s.unpack(d.codes, row)
		scaleRow, minRow := m.planeRow(m.Scales, r), m.planeRow(m.Mins, r)
		for g := range groups {
			d.scaleBits[g] = binary.LittleEndian.Uint16(scaleRow[2*g:])
			if s.Asym {
				d.minBits[g] = binary.LittleEndian.Uint16(minRow[2*g:])
			}
		}
	}
	return d.codes, d.scaleBits, d.minBits
}

// Transcode copies row r of src, which is Foreign or Int, to row r of dst, which has
// src's Native scheme. All values stay the same.
func (d *Reader) Transcode(dst, src *Matrix, r int) {
	codes, scales, mins := d.Codes(src, r)
	dst.SetRow(r, codes, scales, mins)
}

// SetRow stores row r of an Int matrix: a code for each column, and for each
// group the float16 bits of its scale and, in an asymmetric scheme, its minimum. Scales of a
// Short scheme become levels of the factor of the largest, unless they are those of one factor.
func (m *Matrix) SetRow(r int, codes []uint8, scales, mins []uint16) {
	row, scaleRow, minRow := m.planeRows(r)
	m.Scheme.PackRow(row, codes[:m.Cols])
	if m.Scheme.Short {
		m.Scheme.setShort(scaleRow, scales[:m.Scheme.Groups(m.Cols)])
		return
	}
	for g := range m.Scheme.Groups(m.Cols) {
		binary.LittleEndian.PutUint16(scaleRow[2*g:], scales[g])
		if m.Scheme.Asym {
			binary.LittleEndian.PutUint16(minRow[2*g:], mins[g])
		}
	}
}

// PackRow writes a row of Codes of an Int scheme, which has one code for each column.
func (s Scheme) PackRow(row []byte, codes []uint8) {
	shift := 0
	codes = s.indices(codes)
	for _, width := range kernel.Planes(s.Bits) {
		n := (len(codes)*width + 7) / 8
		pack(row[:n], codes, width, shift)
		row, shift = row[n:], shift+width
	}
}

// pack stores bits [shift, shift+width) of each code in dst. Code i goes to bit
// i*width, counted from the low end of byte 0.
func pack(dst []byte, codes []uint8, width, shift int) {
	mask := uint64(0x0101010101010101) * (1<<width - 1)
	at, per := 0, 8/width // codes in a byte
	for ; len(codes) >= 8; codes = codes[8:] {
		x := binary.LittleEndian.Uint64(codes) >> shift & mask
		// Join neighbors until width bytes hold all.
		switch width {
		case 1:
			x |= x >> 7
			x |= x >> 14
			x |= x >> 28
			dst[at] = uint8(x)
		case 2:
			x = (x | x>>6) & 0x000f000f000f000f
			x |= x >> 12
			dst[at], dst[at+1] = uint8(x), uint8(x>>32)
		case 4:
			x = (x | x>>4) & 0x00ff00ff00ff00ff
			x = (x | x>>8) & 0x0000ffff0000ffff
			binary.LittleEndian.PutUint32(dst[at:], uint32(x|x>>16))
		default:
			binary.LittleEndian.PutUint64(dst[at:], x)
		}
		at += width
	}
	clear(dst[at:])
	for i, c := range codes {
		dst[at+i/per] |= (c >> shift & uint8(mask)) << (i % per * width)
	}
}

// grow returns a slice of n elements that reuses the memory of s if it can. The
// elements are unspecified.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// CopyRow copies row from of src to row r of m. Both matrices must have the same
// scheme and width.
func (m *Matrix) CopyRow(r int, src *Matrix, from int) {
	a, b, c := m.planeRows(r)
	x, y, z := src.planeRows(from)
	copy(a, x)
	copy(b, y)
	copy(c, z)
}
