package rounding

import (
	"fmt"
	"math"

	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// A shortSearch is the memory of a search for scales of 4 bits.
type shortSearch struct {
	best, tried []uint8 // (groups): the level of each group, with the best factor and another
	factor      float32 // the best one
}

// The factors to try, in those whose largest level is just enough for the row's largest value. A
// smaller one clips that value; a larger one moves all levels, which suits other groups better.
const (
	leastFactor = 0.8
	mostFactor  = 1.45
)

// shortRow quantizes x, (cols), whose groups have levels of one factor as scales. It tries all
// levels of each factor in each group, even without StepSearch.
func (s *scaleSearch) shortRow(x []float32) error {
	lo, hi := kernel.Bounds(x)
	most := max(hi, -lo)
	enough := most / -s.bottom
	factor, least := float32(0), math.Inf(1)
	for f := qtensor.ShortFactor(leastFactor * enough); enough > 0 && f <= qtensor.MaxFloat16; f = qtensor.NextShortFactor(f) {
		if factor > 0 && f > mostFactor*enough {
			break
		}
		if e := s.shortErrors(x, f); e < least {
			factor, least = f, e
			s.short.best, s.short.tried = s.short.tried, s.short.best
		}
	}
	if factor == 0 && most > 1 {
		return fmt.Errorf("a weight of %g needs a scale beyond float16's largest, %d", most, qtensor.MaxFloat16)
	}
	s.short.factor = factor
	l := s.scheme.ShortLevels()
	for g := range s.scale {
		lo, hi := s.scheme.Span(g, len(x))
		scale, inverse := float32(factor*l[s.short.best[g]]), float32(0)
		if scale != 0 {
			inverse = 1 / scale
		}
		s.scale[g], _ = qtensor.ToFloat16(scale)
		kernel.GridCodes(s.codes[lo:hi], x[lo:hi], 0, inverse, s.bottom, s.top, s.scheme.Zero())
	}
	return nil
}

// levelScales sets scales to a factor times each level of short scales, and inverse to their
// inverses.
func levelScales(s qtensor.Scheme, factor float32, scales, inverse []float32) {
	for i, l := range s.ShortLevels() {
		scales[i] = float32(factor * l)
		inverse[i] = 1 / scales[i]
	}
}

// shortErrors sets tried to the best level of each group of x, with a factor, and returns the
// sum of their errors.
func (s *scaleSearch) shortErrors(x []float32, factor float32) (sum float64) {
	errors, scales, inverse := s.errors[:kernel.Descents], s.trial[:kernel.Descents], s.inverse[:kernel.Descents]
	levelScales(s.scheme, factor, scales, inverse)
	for g := range s.short.tried {
		lo, hi := s.scheme.Span(g, len(x))
		kernel.GridErrors(errors, x[lo:hi], s.power[lo:hi], scales, inverse, s.bottom, s.top)
		best := max(least(errors, scales), 0)
		s.short.tried[g] = uint8(best)
		sum += float64(errors[best])
	}
	return sum
}
