package qtensor

import (
	"fmt"
	"math"

	"thimble/internal/kernel"
)

// A Rounder stores rows as they come, with scales that their own largest values
// give: for numbers that are made while a model runs and cannot be searched over.
// It holds scratch for one goroutine; the zero value is ready.
type Rounder struct {
	codes        []uint8
	scale, least []uint16
}

// Row stores x, of m.Cols elements, as row r of m, which is not Foreign. An Int
// scheme rounds each group to
//
//	symmetric   d = x_k / lowest, x_k being its largest magnitude and lowest the least code less Zero
//	asymmetric  m = its least value, d = (its largest - m) / (2^Bits-1)
//
// with d and m rounded to float16, and codes (x-m)/d rounded half to even and
// held to the scheme's range; where d is 0 they stand for 0, and m. A value that
// the scheme cannot hold is an error that names its column.
func (d *Rounder) Row(m *Matrix, r int, x []float32) error {
	s := m.Scheme
	if s.Float() {
		return m.SetFloats(r, x)
	}
	groups := s.Groups(m.Cols)
	d.codes, d.scale, d.least = grow(d.codes, m.Cols), grow(d.scale, groups), grow(d.least, groups)
	for g := range groups {
		lo, hi := s.Span(g, m.Cols)
		if bad := d.group(s, g, d.codes[lo:hi], x[lo:hi]); bad >= 0 {
			return fmt.Errorf("column %d: %g does not fit %v", lo+bad, x[lo+bad], s)
		}
	}
	m.SetRow(r, d.codes, d.scale, d.least)
	return nil
}

// group rounds group g, or returns the element that does not fit.
func (d *Rounder) group(s Scheme, g int, codes []uint8, x []float32) (bad int) {
	first, last := s.Codes()
	bottom, top := float32(first), float32(last) // of the codes less zero
	var zero, step, least float32
	ok := true
	if s.Asym {
		low, high := extremes(x)
		if d.least[g], ok = Half(x[low]); !ok {
			return low
		}
		least = FromHalf(d.least[g])
		bad, step = high, (x[high]-least)/top
	} else {
		zero = float32(s.Zero())
		bottom, top = bottom-zero, top-zero
		bad = Largest(x)
		step = x[bad] / bottom
	}
	if d.scale[g], ok = Half(step); !ok {
		return bad
	}
	inverse := float32(0)
	if step = FromHalf(d.scale[g]); step != 0 {
		inverse = 1 / step
	}
	for i, v := range x {
		codes[i] = uint8(kernel.RoundToEven(min(max(float32((v-least)*inverse), bottom), top)) + zero)
	}
	return -1
}

// Largest returns where the first element of the largest magnitude is, a NaN if
// there is one.
func Largest(x []float32) (at int) {
	most := uint32(0)
	for i, v := range x {
		if u := math.Float32bits(v) &^ (1 << 31); u > most {
			at, most = i, u
		}
	}
	return at
}

// extremes returns where the least and the largest element are; the first NaN or
// infinity is both.
func extremes(x []float32) (low, high int) {
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
