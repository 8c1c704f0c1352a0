package packed

import (
	"encoding/binary"
	"math"
	"slices"

	"thimble/internal/checkpoint"
	"thimble/internal/qtensor"
)

var le = binary.LittleEndian

// Integers is a matrix of unsigned codes c of Bits bits, of which each group of columns
// shares a scale s and either a minimum m or a zero point z. A weight is s*c + m or
// s*(c - z).
type integers struct {
	rows, cols int
	bits       int
	group      int                      // columns that share a scale; 0 means all
	codes      func(dst []uint8, r int) // (cols)
	scale      func(r, g int) float32
	min        func(r, g int) float32 // nil: there are zero points
	zero       func(r, g int) int     // nil: 2^(bits-1)
	groupOf    []int                  // the group of each column, if they are not in order
	parts      []*checkpoint.Tensor
}

func (w *integers) shape() (rows, cols int) { return w.rows, w.cols }

func (w *integers) Release() {
	for _, t := range w.parts {
		t.Release()
	}
}

// scheme returns the groups and width of w as a symmetric scheme.
func (w *integers) scheme() qtensor.Scheme {
	s := qtensor.Scheme{Kind: qtensor.Int, Bits: w.bits, Group: w.group}
	if w.group >= w.cols {
		s.Group = 0
	}
	return s
}

func (w *integers) groups() int { return w.scheme().Groups(w.cols) }

func (w *integers) zeroAt(r, g int) int {
	if w.zero == nil {
		return 1 << (w.bits - 1)
	}
	return w.zero(r, g)
}

// Row writes row r as float32. The product is exact if the scale is a float16 or a
// bfloat16, and otherwise rounded once, as is the sum with a minimum.
func (w *integers) Row(dst []byte, r int) {
	codes := make([]uint8, w.cols)
	w.codes(codes, r)
	last := -1
	var scale, min float32
	var zero int
	group := w.scheme().Columns(w.cols)
	for c, code := range codes {
		g := c / group
		if w.groupOf != nil {
			g = w.groupOf[c]
		}
		if g != last {
			last, scale = g, w.scale(r, g)
			if w.min != nil {
				min = w.min(r, g)
			} else {
				zero = w.zeroAt(r, g)
			}
		}
		x := float32(scale * float32(int(code)-zero))
		if w.min != nil {
			x += min
		}
		le.PutUint32(dst[4*c:], math.Float32bits(x))
	}
}

// keep tries the schemes that could hold the same values, the narrowest first: the codes
// themselves with the middle as zero or with a minimum, and the differences from the zero
// points, which take one bit more. Symmetric int8 must not use its lowest code, so 8 bits
// take a minimum.
func (w *integers) keep() (*qtensor.Matrix, string) {
	s := w.scheme()
	if w.groupOf != nil {
		return nil, "its columns are in groups out of order (act-order)"
	}
	if err := s.Check(); err != nil {
		return nil, "containers have no such group: " + err.Error()
	}
	forms := []form{{bits: w.bits, asym: true, min: w.min}}
	if w.min == nil {
		middle := form{bits: w.bits, fits: func(zero int) bool { return zero == 1<<(w.bits-1) }}
		zeros := form{bits: w.bits, asym: true, min: func(r, g int) float32 { return float32(-w.zeroAt(r, g)) * w.scale(r, g) }}
		wider := form{bits: w.bits + 1, fits: func(zero int) bool { return zero >= 0 && zero <= 1<<w.bits }, wider: true}
		forms = []form{middle, zeros, wider}
		if w.bits == 8 {
			forms = []form{zeros}
		}
	}
	for _, f := range forms {
		if m := w.in(f); m != nil {
			return m, ""
		}
	}
	return nil, "its scales or minimums are not float16 numbers, which containers have"
}

// A form is a scheme that may hold the values of a matrix.
type form struct {
	bits  int
	asym  bool
	min   func(r, g int) float32 // of an asymmetric scheme
	fits  func(zero int) bool    // whether a symmetric scheme holds a group with this zero point
	wider bool                   // codes are differences from the zero point
}

// in returns w in a form, or nil if a scale, a minimum or a zero point does not fit.
func (w *integers) in(f form) *qtensor.Matrix {
	s := w.scheme()
	s.Bits, s.Asym = f.bits, f.asym
	if s.Check() != nil {
		return nil
	}
	_, scales, mins, err := s.Sizes(w.rows, w.cols)
	if err != nil {
		return nil
	}
	m := &qtensor.Matrix{Scheme: s, Rows: w.rows, Cols: w.cols, Scales: make([]byte, scales), Mins: make([]byte, mins), Source: &codeRows{w, s, f.wider}}
	groups := s.Groups(w.cols)
	for r := range w.rows {
		for g := range groups {
			at := 2 * (r*groups + g)
			if !putExact(m.Scales[at:], w.scale(r, g)) || f.asym && !putExact(m.Mins[at:], f.min(r, g)) || !f.asym && !f.fits(w.zeroAt(r, g)) {
				return nil
			}
		}
	}
	return m
}

// putExact stores x as a float16 and reports whether that changes nothing.
func putExact(dst []byte, x float32) bool {
	half, ok := qtensor.ToFloat16(x)
	le.PutUint16(dst, half)
	return ok && qtensor.FromFloat16(half) == x
}

// codeRows supplies rows of codes in the order of a container.
type codeRows struct {
	*integers
	scheme qtensor.Scheme
	wider  bool
}

func (c *codeRows) Row(dst []byte, r int) {
	codes := make([]uint8, c.cols)
	c.codes(codes, r)
	if c.wider {
		middle := 1 << (c.scheme.Bits - 1)
		for g := range c.scheme.Groups(c.cols) {
			lo, hi := c.scheme.Span(g, c.cols)
			add := uint8(middle - c.zeroAt(r, g))
			for i := range codes[lo:hi] {
				codes[lo+i] += add
			}
		}
	}
	c.scheme.PackRow(dst, codes)
}

// field returns number k of a stream of fields of bits bits. The stream consists of 32-bit
// words, little-endian, at data[at], data[at+stride] and so on.
func field(data []byte, at, stride, bits, k int) int {
	word, shift := k*bits/32, k*bits%32
	x := uint64(le.Uint32(data[at+word*stride:])) >> shift
	if shift+bits > 32 {
		x |= uint64(le.Uint32(data[at+(word+1)*stride:])) << (32 - shift)
	}
	return int(x & (1<<bits - 1))
}

// words returns the number of 32-bit words that n fields take.
func words(n, bits int) int { return (n*bits + 31) / 32 }

// number returns element i of a tensor of floats.
func number(t *checkpoint.Tensor, i int) float32 {
	switch t.DType {
	case checkpoint.F16:
		return qtensor.FromFloat16(le.Uint16(t.Data[2*i:]))
	case checkpoint.BF16:
		return math.Float32frombits(uint32(le.Uint16(t.Data[2*i:])) << 16)
	}
	return math.Float32frombits(le.Uint32(t.Data[4*i:]))
}

// inOrder returns the number of columns of a group if groupOf assigns them in order, and
// otherwise ok is false.
func inOrder(groupOf []int, groups int) (group int, ok bool) {
	n := len(groupOf)
	group = n - slices.Index(groupOf, groups-1)
	if groups > 1 {
		group = slices.Index(groupOf, 1)
	}
	if group < 1 {
		return 0, false
	}
	for c, g := range groupOf {
		if g != c/group {
			return 0, false
		}
	}
	return group, true
}
