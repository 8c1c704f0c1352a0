package kernel

import (
	"math"
	"unsafe"
)

// PanelRows is the number of rows of weights in an IntegerPanel, and PanelColumns the
// multiple of columns to which its segments are padded.
const (
	PanelRows    = 16
	PanelColumns = 8
)

// An IntegerPanel is PanelRows rows of codes, in an order in which MulPanel can
// process them fast.
type IntegerPanel struct {
	Codes  []int16   // (columns, PanelRows), in an order that only Interleave and MulPanel know
	Zero   int32     // subtracted from each code
	Scales []float32 // (segments, PanelRows)
	Mins   []float32 // (segments, PanelRows), or empty
}

// Interleave writes rows of codes to rows [first, first+Lanes) of w.Codes, for
// products with the current w.Zero. The rows have n columns, a multiple of
// PanelColumns, and begin stride bytes apart. first is a multiple of Lanes.
func Interleave(w *IntegerPanel, first int, codes []uint8, stride, n int) {
	check(n >= 0 && n%PanelColumns == 0 && len(w.Codes) >= n*PanelRows, "Interleave: panel")
	check(first >= 0 && first%Lanes == 0 && first+Lanes <= PanelRows, "Interleave: first row")
	check(stride >= n && len(codes) >= (Lanes-1)*stride+n, "Interleave: codes")
	if n > 0 {
		best.interleave(w, first, codes, stride, n)
	}
}

// PanelInputs are positions of rounded activations for an IntegerPanel.
type PanelInputs struct {
	Columns []int32   // (segments): the columns of each, a positive multiple of PanelColumns
	Codes   []int16   // (positions, sum of Columns), -127 to 127, and 0 where a segment is padded
	Sums    []int32   // (positions, segments): the sum of each segment's codes
	Scales  []float32 // (positions, segments)
	Mins    []float32 // (positions, segments): Scales times Sums
}

// MulPanel computes the products of the positions [from, from+n) of x and the rows
// of w, and writes them to dst, whose rows begin ldd elements apart. Each is the
// chain of MulStored.
func MulPanel(dst []float32, ldd int, w *IntegerPanel, x *PanelInputs, from, n int) {
	if n <= 0 {
		return
	}
	segments, columns := len(x.Columns), 0
	for _, c := range x.Columns {
		check(c > 0 && c%PanelColumns == 0, "MulPanel: segment")
		columns += int(c)
	}
	check(segments > 0 && len(w.Codes) >= columns*PanelRows && len(w.Scales) >= segments*PanelRows, "MulPanel: panel")
	check(len(w.Mins) == 0 || len(w.Mins) >= segments*PanelRows, "MulPanel: minimums")
	check(from >= 0 && len(x.Codes) >= (from+n)*columns && len(x.Sums) >= (from+n)*segments, "MulPanel: positions")
	check(len(x.Scales) >= (from+n)*segments && len(x.Mins) >= (from+n)*segments, "MulPanel: factors")
	check(ldd >= 0 && len(dst) >= (n-1)*ldd+PanelRows, "MulPanel: dst")
	best.panel(dst, ldd, w, x, columns, from, n)
}

// panelPortable reads codes less the zero point, in the shape (columns/2, PanelRows, 2).
func panelPortable(dst []float32, ldd int, w *IntegerPanel, x *PanelInputs, columns, from, n int) {
	segments := len(x.Columns)
	for t := range n {
		codes, scales, mins := x.Codes[(from+t)*columns:][:columns], x.Scales[(from+t)*segments:], x.Mins[(from+t)*segments:]
		for r := range PanelRows {
			y, at := float32(0), 0
			for k, c := range x.Columns {
				p := int32(0)
				for end := at + int(c); at < end; at++ {
					p += int32(w.Codes[at/2*2*PanelRows+2*r+at%2]) * int32(codes[at])
				}
				y = FMA(scales[k], float32(w.Scales[k*PanelRows+r]*float32(p)), y)
				if len(w.Mins) > 0 {
					y = FMA(mins[k], w.Mins[k*PanelRows+r], y)
				}
			}
			dst[t*ldd+r] = y
		}
	}
}

func interleavePortable(w *IntegerPanel, first int, codes []uint8, stride, n int) {
	for r := range Lanes {
		for i, c := range codes[r*stride:][:n] {
			w.Codes[i/2*2*PanelRows+2*(first+r)+i%2] = int16(int32(c) - w.Zero)
		}
	}
}

// TransposeF16 widens StoredLanes rows of n little-endian float16 numbers that begin stride
// bytes apart, and writes number k of row r to dst[k*ldd+r].
func TransposeF16(dst []float32, ldd int, src []byte, stride, n int) {
	if n == 0 {
		return
	}
	lanes := best.storedLanes
	check(ldd >= 0 && len(dst) >= (n-1)*ldd+lanes, "TransposeF16: dst")
	check(stride >= 0 && len(src) >= (lanes-1)*stride+2*n, "TransposeF16: src")
	whole := n &^ 7
	best.transposeF16(&dst[0], ldd, &src[0], stride, whole)
	switch {
	case whole == n:
	case n > 8: // the last 8, some of them again
		best.transposeF16(&dst[(n-8)*ldd], ldd, &src[2*(n-8)], stride, 8)
	default:
		transposeRows(dst[whole*ldd:], ldd, src[2*whole:], stride, n-whole, lanes)
	}
}

func transposeF16Portable(dst *float32, ldd int, src *byte, stride, n int) {
	if n > 0 {
		transposeRows(unsafe.Slice(dst, (n-1)*ldd+Lanes), ldd, unsafe.Slice(src, (Lanes-1)*stride+2*n), stride, n, Lanes)
	}
}

func transposeRows(dst []float32, ldd int, src []byte, stride, n, rows int) {
	for r := range rows {
		for k := range n {
			fromF16Portable(dst[k*ldd+r:][:1], src[r*stride+2*k:][:2])
		}
	}
}

// MaxAbs returns the largest magnitude in x: 0 if x is empty, and NaN if x has a NaN.
func MaxAbs(x []float32) float32 {
	n := blocks(len(x))
	s, tail := best.maxAbs(x[:n]), maxAbsPortable(x[n:])
	largest := uint32(0)
	for i := range s {
		largest = max(largest, math.Float32bits(s[i]), math.Float32bits(tail[i]))
	}
	return math.Float32frombits(largest)
}

// maxAbsPortable compares bits: those of a NaN are larger than those of any number.
func maxAbsPortable(x []float32) (s stripes) {
	for i, v := range x {
		bits := math.Float32bits(v) &^ (1 << 31)
		s[i%width] = math.Float32frombits(max(math.Float32bits(s[i%width]), bits))
	}
	return s
}

// round8 sets dst, in the given order, to x times inverse, rounded to the nearest
// integer, ties to even, and returns the sum. Whole blocks of x must begin at whole
// blocks of a row. The products must be finite and fit the integers; otherwise, dst
// is unspecified. round8 panics unless dst has room for x.
func round8(dst []int8, x []float32, inverse float32, order Order) int32 {
	n := len(x) &^ (Block - 1)
	sum := best.round8(dst[:n], x[:n], inverse, order == Split)
	for i, v := range x[n:] {
		c := int32(RoundToEven(float32(v * inverse)))
		dst[n+order.column(i)] = int8(c)
		sum += c
	}
	return sum
}

// Round16 is round8 for wider integers in natural order.
func Round16(dst []int16, x []float32, inverse float32) int32 {
	n := len(x) &^ (Block - 1)
	sum := best.round16(dst[:n], x[:n], inverse, false)
	for i, v := range x[n:] {
		c := int32(RoundToEven(float32(v * inverse)))
		dst[n+i] = int16(c)
		sum += c
	}
	return sum
}

func round8Portable(dst []int8, x []float32, inverse float32, split bool) (sum int32) {
	order := Natural
	if split {
		order = Split
	}
	for i, v := range x {
		c := int32(RoundToEven(float32(v * inverse)))
		dst[order.column(i)] = int8(c)
		sum += c
	}
	return sum
}

func round16Portable(dst []int16, x []float32, inverse float32, _ bool) (sum int32) {
	for i, v := range x {
		c := int32(RoundToEven(float32(v * inverse)))
		dst[i] = int16(c)
		sum += c
	}
	return sum
}
