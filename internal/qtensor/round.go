package qtensor

import (
	"fmt"
	"math"

	"thimble/internal/kernel"
)

// A Rounder stores rows by round-to-nearest: the largest values of each group
// determine its scale, without a search. It serves values that a running model
// produces, such as keys and values. A Rounder holds scratch memory for one
// goroutine; the zero value is ready to use.
type Rounder struct {
	codes        []uint8
	scales, mins []uint16 // float16 bits
}

// Row stores x, of m.Cols elements, as row r of m, whose scheme must not be
// Foreign. For an Int scheme, each group gets the scale d and the minimum m:
//
//	symmetric   d = x_k / lowest, where x_k has the largest magnitude and lowest is the smallest code minus Zero
//	asymmetric  m = min(x), d = (max(x) - m) / (2^Bits-1)
//
// Row rounds d and m to float16 first. It then rounds (x-m)/d to the nearest
// integer, ties to even, and clamps it to the scheme's range. Where d is 0, all
// elements become 0 or m. A value that the scheme cannot hold is an error that
// names its column.
func (d *Rounder) Row(m *Matrix, r int, x []float32) error {
	s := m.Scheme
	if s.Float() {
		return m.SetFloats(r, x)
	}
	groups := s.Groups(m.Cols)
	d.codes, d.scales, d.mins = grow(d.codes, m.Cols), grow(d.scales, groups), grow(d.mins, groups)
	for g := range groups {
		lo, hi := s.Span(g, m.Cols)
		if bad := d.group(s, g, d.codes[lo:hi], x[lo:hi]); bad >= 0 {
			return fmt.Errorf("column %d: %g does not fit %v", lo+bad, x[lo+bad], s)
		}
	}
	m.SetRow(r, d.codes, d.scales, d.mins)
	return nil
}

// group rounds group g. It returns the index of an element that does not fit,
// or -1.
func (d *Rounder) group(s Scheme, g int, codes []uint8, x []float32) (bad int) {
	first, last := s.Codes()
	bottom, top := float32(first), float32(last) // range of code - zero
	var zero, step, minimum float32
	ok := true
	if s.Asym {
		low, high := minMax(x)
		if d.mins[g], ok = ToFloat16(x[low]); !ok {
			return low
		}
		minimum = FromFloat16(d.mins[g])
		bad, step = high, (x[high]-minimum)/top
	} else {
		zero = float32(s.Zero())
		bottom, top = bottom-zero, top-zero
		bad = LargestMagnitude(x)
		step = x[bad] / bottom
	}
	if d.scales[g], ok = ToFloat16(step); !ok {
		return bad
	}
	inverse := float32(0)
	if step = FromFloat16(d.scales[g]); step != 0 {
		inverse = 1 / step
	}
	for i, v := range x {
		codes[i] = uint8(kernel.RoundToEven(min(max(float32((v-minimum)*inverse), bottom), top)) + zero)
	}
	return -1
}

// LargestMagnitude returns the index of the first element with the largest
// magnitude. A NaN counts as larger than any number.
func LargestMagnitude(x []float32) (at int) {
	largest := uint32(0)
	for i, v := range x {
		if u := math.Float32bits(v) &^ (1 << 31); u > largest {
			at, largest = i, u
		}
	}
	return at
}

// minMax returns the indices of the smallest and the largest element. If x has
// a NaN or an infinity, both are the index of the first one.
func minMax(x []float32) (low, high int) {
	for i, v := range x {
		if v-v != 0 {
			return i, i
		}
		if v < x[low] {
			low = i
		}
		if v > x[high] {
			high = i
		}
	}
	return low, high
}
