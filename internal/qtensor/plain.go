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
	return codes + 2*(scales+mins)
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
		c.Scales32, c.Mins32 = make([]float32, scales/2), make([]float32, mins/2)
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
		n := len(scale)
		copy(dst.Scales32[r*n:][:n], scale)
		if dst.Scheme.Asym {
			copy(dst.Mins32[r*n:][:n], offset)
		}
	}
}
