package qtensor

import "thimble/internal/mmap"

// Plain reports whether kernels read the rows of m where they are: no Source makes them, and
// they are not in another program's blocks.
func (m *Matrix) Plain() bool { return m.Source == nil && m.Scheme.Kind != Foreign }

// PlainBytes returns the memory that PlainCopy takes.
func (m *Matrix) PlainBytes() int64 {
	s, exact := m.Scheme.Native()
	codes, scales, mins, _ := s.Sizes(m.Rows, m.Cols) // m has passed Check
	switch {
	case s.Kind == Int && m.Scheme.Kind == Int:
		return codes
	case exact:
		return codes + scales + mins
	}
	planes := 1
	if s.Asym {
		planes = 2
	}
	return codes + 4*int64(planes)*int64(m.factors32(s))
}

// FactorRows is the number of rows whose float32 factors are stored together, as integer
// kernels read them.
const FactorRows = 16

// factors32 returns the length of Scales32 in a copy with scheme s.
func (m *Matrix) factors32(s Scheme) int {
	return (m.Rows + FactorRows - 1) / FactorRows * FactorRows * s.Groups(m.Cols)
}

// Factors32 returns the float32 factors of a plane for FactorRows rows, the first of which is
// r, a multiple of FactorRows: (Groups, FactorRows).
func (m *Matrix) Factors32(plane []float32, r int) []float32 {
	n := m.Scheme.Groups(m.Cols)
	return plane[r*n:][:FactorRows*n]
}

// PlainCopy returns a plain matrix for the values of m, which CopyPlain fills. Scales of another
// program's blocks that are no float16 numbers become float32 numbers there.
func (m *Matrix) PlainCopy() *Matrix {
	s, exact := m.Scheme.Native()
	codes, scales, mins, _ := s.Sizes(m.Rows, m.Cols)
	c := &Matrix{Scheme: s, Rows: m.Rows, Cols: m.Cols, Codes: mmap.Large(int(codes))}
	switch {
	case s.Kind == Int && m.Scheme.Kind == Int:
		c.Scales, c.Mins = m.Scales, m.Mins
	case exact:
		c.Scales, c.Mins = make([]byte, scales), make([]byte, mins)
	default:
		c.Scales32 = make([]float32, m.factors32(s))
		if s.Asym {
			c.Mins32 = make([]float32, len(c.Scales32))
		}
	}
	return c
}

// CopyPlain copies row r of src to dst, the PlainCopy of src.
func (d *Reader) CopyPlain(dst, src *Matrix, r int) {
	switch {
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
