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
}

func newScaleSearch(scheme qtensor.Scheme, power []float32, plain bool) *scaleSearch {
	groups := scheme.Groups(len(power))
	s := &scaleSearch{scheme: scheme, plain: plain, power: power, codes: make([]uint8, len(power)), scale: make([]uint16, groups), min: make([]uint16, groups)}
	s.divisors()
	return s
}

// row quantizes the row x, (cols), into s.codes, s.scale and s.min.
func (s *scaleSearch) row(x []float32) error {
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
	for i := range overshoots {
		beyond := overshootFirst + overshootStep*float32(i)
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
	kernel.GridErrors(&s.errors, x, power, &s.trial, &s.inverse, s.bottom, s.top)
	best := s.least()
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
	return nil
}

// least returns the first candidate with the smallest error, or -1 if none has a scale and a
// finite error. The bits of errors, which are not negative, are in the order of their values,
// and a minimum of integers needs no branch.
func (s *scaleSearch) least() int {
	const infinite = 0x7f800000
	least := uint64(infinite << 32)
	for i, e := range s.errors {
		if s.trial[i] != 0 {
			least = min(least, uint64(math.Float32bits(e))<<32|uint64(i))
		}
	}
	if least>>32 == infinite {
		return -1
	}
	return int(least & (1<<32 - 1))
}

// The asymmetric candidates start from the group's own range, from one that is wider by
// one step, and from two that are narrower by one and two, which clip both ends. Each is
// refitted a few times.
const (
	shrinkFirst = -1
	shrinks     = 4
	refits      = 3
)

// asymmetric starts from ranges around the group's, then rounds and solves the two normal
// equations for step and minimum, a few times. Without a search it uses the range from the
// smallest to the largest value.
func (s *scaleSearch) asymmetric(g int, x, power []float32, codes []uint8) error {
	_, last := s.scheme.Codes()
	top := float32(last)
	lo, hi := kernel.Bounds(x)
	var bestStep, bestMin, least float32 = 0, 0, float32(math.Inf(1))
	try := func(step, low float32) {
		a, ok := qtensor.ToFloat16(step)
		b, ok2 := qtensor.ToFloat16(low)
		step, low = qtensor.FromFloat16(a), qtensor.FromFloat16(b)
		if !ok || !ok2 || step <= 0 {
			return
		}
		if e := asymmetricError(x, power, step, low, top, least); e < least {
			bestStep, bestMin, least = step, low, e
		}
	}
	starts := shrinks
	if s.plain {
		try((hi-lo)/top, lo)
		starts = 0
	}
	for i := range starts {
		inside := float32(shrinkFirst + i)
		step := (hi - lo) / (top + inside)
		low := lo + float32(step*inside)/2
		try(step, low)
		for range refits {
			if step, low = refitRange(x, power, step, low, top); !(step > 0) {
				break
			}
			try(step, low)
		}
	}
	s.scale[g], _ = qtensor.ToFloat16(bestStep)
	s.min[g], _ = qtensor.ToFloat16(bestMin)
	if bestStep == 0 { // all equal, or too close for the smallest float16
		var ok bool
		if s.min[g], ok = qtensor.ToFloat16(lo); !ok || hi-lo > 1 {
			return fmt.Errorf("weights from %g to %g need a scale beyond float16's largest, %d", lo, hi, qtensor.MaxFloat16)
		}
		clear(codes)
		return nil
	}
	kernel.GridCodes(codes, x, bestMin, 1/bestStep, 0, top, 0)
	return nil
}

// refitRange rounds x on the grid (step, low) and returns the step and minimum with the
// smallest weighted squared error for those codes, or step 0 if the codes do not determine
// it.
func refitRange(x, power []float32, step, low, top float32) (float32, float32) {
	inverse := 1 / step
	var w, wq, wqq, wx, wqx float32
	for i, v := range x {
		q := code(v-low, inverse, 0, top)
		a := power[i]
		aq := float32(a * q)
		w += a
		wq += aq
		wqq += float32(aq * q)
		wx += float32(a * v)
		wqx += float32(aq * v)
	}
	det := float32(w*wqq) - float32(wq*wq)
	if !(det > 0) {
		return 0, 0
	}
	return (float32(w*wqx) - float32(wq*wx)) / det, (float32(wqq*wx) - float32(wq*wqx)) / det
}

// asymmetricError returns the weighted squared error of x. If the sum reaches least, it
// stops early and returns the sum so far.
func asymmetricError(x, power []float32, step, low, top, least float32) float32 {
	inverse := 1 / step
	var sum float32
	for i, v := range x {
		d := v - (float32(step*code(v-low, inverse, 0, top)) + low)
		sum += float32(power[i] * float32(d*d))
		if i%16 == 15 && sum >= least {
			break
		}
	}
	return sum
}
