package rounding

import (
	"fmt"
	"math"

	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// A scaleSearch chooses the scale, minimum and codes of each group with the smallest
// weighted squared error
//
//	sum over the group of power_i (w_i - w~_i)^2
//
// where power_i is the mean square of the input that weight i is multiplied by
// (Input.Power). It rounds scales and minima to float16 before it measures an error. It
// has scratch space for one goroutine.
type scaleSearch struct {
	scheme     qtensor.Scheme
	plain      bool      // try only one candidate; see StepSearch
	power      []float32 // (cols)
	codes      []uint8   // (cols), of one row
	scale, min []uint16  // float16, one per group

	// For symmetric schemes: the range of codes less the zero point, and what divides a
	// group's largest value.
	bottom, top                     float32
	divisor, trial, inverse, errors [kernel.Candidates]float32

	book   *[256]uint8 // of codes; see qtensor.Scheme.Codebook
	ranges rangeSearch // for asymmetric ones
	short  shortSearch // for scales of 4 bits
}

func newScaleSearch(scheme qtensor.Scheme, power []float32, plain bool) *scaleSearch {
	groups := scheme.Groups(len(power))
	s := &scaleSearch{scheme: scheme, plain: plain, power: power, book: scheme.Codebook(), codes: make([]uint8, len(power)), scale: make([]uint16, groups), min: make([]uint16, groups)}
	s.divisors()
	if scheme.Short {
		s.short.best, s.short.tried = make([]uint8, groups), make([]uint8, groups)
	}
	return s
}

// row quantizes the row x, (cols), into s.codes, s.scale and s.min.
func (s *scaleSearch) row(x []float32) error {
	if s.scheme.Short {
		return s.shortRow(x)
	}
	for g := range s.scale {
		lo, hi := s.scheme.Span(g, len(x))
		quantize := s.symmetric
		if s.scheme.Asym {
			quantize = s.asymmetric
		}
		if err := quantize(g, x[lo:hi], s.power[lo:hi], s.codes[lo:hi]); err != nil {
			return fmt.Errorf("columns %d to %d: %w", lo, hi-1, err)
		}
	}
	return nil
}

// code returns v in steps of 1/inverse, rounded and clamped to [bottom, top].
func code(v, inverse, bottom, top float32) float32 {
	return kernel.RoundToEven(min(max(v*inverse, bottom), top))
}

// The symmetric candidates put the largest value of a group at overshoot codes past the
// last one, where it is clipped and the others get a finer step, or before it.
const (
	overshootFirst = -0.5
	overshootStep  = 0.25
	overshoots     = 11
)

// divisors sets s.divisor to the codes, not always whole, that the largest value of a group
// gets with each symmetric candidate, and to infinity for none. There are scales of both
// signs: there is one code more below zero than above, which the side with the largest value
// may use. Without a search the largest value gets the bottom code, as in llama.cpp's Q4_0.
func (s *scaleSearch) divisors() {
	for i := range s.divisor {
		s.divisor[i] = float32(math.Inf(1))
	}
	first, last := s.scheme.Codes()
	s.bottom, s.top = float32(first-s.scheme.Zero()), float32(last-s.scheme.Zero())
	if s.plain {
		s.divisor[0] = s.bottom
		return
	}
	unit := float32(int(1) << (s.scheme.Even().Bits - s.scheme.Bits)) // even codes for each code
	for i := range overshoots {
		beyond := unit * (overshootFirst + overshootStep*float32(i))
		s.divisor[2*i], s.divisor[2*i+1] = s.bottom-beyond, s.top+beyond
	}
}

// symmetric takes the best candidate, or the first of several. Refitting the scale to the
// codes by least squares, as asymmetric does, gains nothing here, measured on a model's
// output.
func (s *scaleSearch) symmetric(g int, x, power []float32, codes []uint8) error {
	lo, hi := kernel.Bounds(x)
	most := hi
	if -lo > hi {
		most = lo
	}
	kernel.GridScales(&s.trial, &s.inverse, &s.divisor, most)
	if s.book == nil {
		kernel.GridErrors(s.errors[:], x, power, s.trial[:], s.inverse[:], s.bottom, s.top)
	} else {
		s.bookErrors(x, power)
	}
	best := least(s.errors[:], s.trial[:])
	if best < 0 {
		if max(hi, -lo) > 1 {
			return fmt.Errorf("a weight of %g needs a scale beyond float16's largest, %d", most, qtensor.MaxFloat16)
		}
		s.scale[g] = 0
		for i := range codes { // all zero, or too small for the smallest float16
			codes[i] = uint8(s.scheme.Zero())
		}
		return nil
	}
	s.scale[g], _ = qtensor.ToFloat16(s.trial[best])
	kernel.GridCodes(codes, x, 0, s.inverse[best], s.bottom, s.top, s.scheme.Zero())
	if s.book != nil {
		for i, c := range codes {
			codes[i] = s.book[c]
		}
	}
	return nil
}

// bookErrors is kernel.GridErrors for codes of a book.
func (s *scaleSearch) bookErrors(x, power []float32) {
	clear(s.errors[:])
	for i, v := range x {
		for l, scale := range s.trial {
			d := v - float32(scale*nearestIn(s.book, code(v, s.inverse[l], s.bottom, s.top)))
			s.errors[l] += float32(power[i] * float32(d*d))
		}
	}
}

// bookZero is the zero point of the codes of a book.
const bookZero = 128

// nearestIn returns the code of book that is nearest to c. Both are minus the zero point.
func nearestIn(book *[256]uint8, c float32) float32 {
	return float32(int(book[uint8(int(c)+bookZero)]) - bookZero)
}

// least returns the first candidate with the smallest error, or -1 if none has a scale and a
// finite error. The bits of errors, which are not negative, are in the order of their values,
// and a minimum of integers needs no branch.
func least(errors, scales []float32) int {
	const infinite = 0x7f800000
	least := uint64(infinite << 32)
	for i, e := range errors {
		if scales[i] != 0 {
			least = min(least, uint64(math.Float32bits(e))<<32|uint64(i))
		}
	}
	if least>>32 == infinite {
		return -1
	}
	return int(least & (1<<32 - 1))
}
