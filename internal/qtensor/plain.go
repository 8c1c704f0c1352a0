package qtensor

import "thimble/internal/mmap"

// Plain reports whether kernels read the rows of m where they are: no Source makes them, and
// their codes are those of the products, neither uneven nor in another program's blocks.
func (m *Matrix) Plain() bool {
	return m.Source == nil && m.Scheme.Kind != Foreign && !m.Scheme.Uneven
}

// plainSizes returns the scheme of a plain copy, the bytes of its codes, and those of each plane
// of factors, 0 if it has none of its own. wide reports whether the factors are float32 numbers.
func (m *Matrix) plainSizes() (s Scheme, codes, scales, mins int64, wide bool) {
	s, exact := m.Scheme.Native()
	s = s.Even()
	codes, scales, mins, _ = s.Sizes(m.Rows, m.Cols) // m has passed Check
	switch {
	case m.Scheme.Kind != Foreign:
		return s, codes, 0, 0, false // the factors of m serve both
	case exact:
		return s, codes, scales, mins, false
	}
	wideRows := int64(m.Rows+FactorRows-1) / FactorRows * FactorRows
	scales = 4 * wideRows * int64(s.Groups(m.Cols))
	if mins > 0 {
		mins = scales
	}
	return s, codes, scales, mins, true
}

// PlainBytes returns the memory that PlainCopy takes.
func (m *Matrix) PlainBytes() int64 {
	_, codes, scales, mins, _ := m.plainSizes()
	return codes + scales + mins
}

// PlainCopy returns a plain matrix for the values of m, which CopyPlain fills. Scales of another
// program's blocks that are no float16 numbers become float32 numbers there.
func (m *Matrix) PlainCopy() *Matrix {
	s, codes, scales, mins, wide := m.plainSizes()
	c := &Matrix{Scheme: s, Rows: m.Rows, Cols: m.Cols, Codes: mmap.Large(int(codes)), Scales: m.Scales, Mins: m.Mins}
	switch {
	case wide:
		c.Scales32, c.Mins32 = make([]float32, scales/4), make([]float32, mins/4)
	case m.Scheme.Kind == Foreign:
		c.Scales, c.Mins = make([]byte, scales), make([]byte, mins)
	}
	return c
}

// FactorRows is the number of rows whose float32 factors are stored together, as integer
// kernels read them.
const FactorRows = 16

// Factors32 returns the float32 factors of a plane for FactorRows rows, the first of which is
// r, a multiple of FactorRows: (Groups, FactorRows).
func (m *Matrix) Factors32(plane []float32, r int) []float32 {
	n := m.Scheme.Groups(m.Cols)
	return plane[r*n:][:FactorRows*n]
}

// CopyPlain copies row r of src to dst, the PlainCopy of src.
func (d *Reader) CopyPlain(dst, src *Matrix, r int) {
	switch {
	case src.Scheme.Uneven:
		dst.Scheme.PackRow(dst.planeRow(dst.Codes, r), d.Unpacked(src, r)) // both have src's scales
	case src.Scheme.Kind != Foreign:
		copy(dst.planeRow(dst.Codes, r), d.Stored(src, r))
	case dst.Scales32 == nil:
		d.Transcode(dst, src, r)
	default:
		codes, scale, offset := d.Integers(src, r)
		dst.Scheme.PackRow(dst.planeRow(dst.Codes, r), codes)
		lane := r % FactorRows
		for k, v := range scale {
			dst.Factors32(dst.Scales32, r-lane)[k*FactorRows+lane] = v
		}
		if dst.Scheme.Asym {
			for k, v := range offset {
				dst.Factors32(dst.Mins32, r-lane)[k*FactorRows+lane] = v
			}
		}
	}
}
