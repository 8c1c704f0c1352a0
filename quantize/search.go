package quantize

import (
	"fmt"
	"math"

	"thimble/internal/qtensor"
)

// A search chooses the scale, minimum and codes of groups. It holds scratch for
// one goroutine.
//
// The error it minimizes is sum_i a_i (w_i - w~_i)^2, where a_i is |w_i|^Lean
// times the group's mean of it: see weigh.
type search struct {
	scheme     qtensor.Scheme
	codes      []uint8  // one row
	scale, min []uint16 // float16, one per group
	weight     []float32
	trial      []float32 // codes of the candidate at hand, less the zero code
}

func (s *search) prepare(scheme qtensor.Scheme, cols int) {
	if s.scheme == scheme && len(s.codes) == cols {
		return
	}
	groups := scheme.Groups(cols)
	*s = search{
		scheme: scheme, codes: make([]uint8, cols), scale: make([]uint16, groups), min: make([]uint16, groups),
		weight: make([]float32, cols), trial: make([]float32, cols),
	}
}

// group quantizes one group x into codes and its scale and minimum.
func (s *search) group(g int, x []float32, codes []uint8) error {
	lo, hi := bounds(x)
	if lo == 0 && hi == 0 {
		s.scale[g], s.min[g] = 0, 0
		for i := range codes {
			codes[i] = uint8(s.zeroCode())
		}
		return nil
	}
	weight := s.weight[:len(x)]
	weigh(weight, x)
	if s.scheme.Asym {
		return s.asymmetric(g, x, weight, lo, hi, codes)
	}
	return s.symmetric(g, x, weight, lo, hi, codes)
}

func (s *search) zeroCode() int {
	if s.scheme.Asym {
		return 0
	}
	return s.scheme.Zero()
}

func bounds(x []float32) (lo, hi float32) {
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}

// rounding to nearest even by adding and taking away 1.5 * 2^23.
const magic = 12582912

func nearest(v float32) float32 { return v + magic - magic }

// symmetric tries scales of both signs around the one that puts the largest
// value on the last code: a negative scale gives the side with the larger
// value the one code more that two's complement has below zero.
func (s *search) symmetric(g int, x, weight []float32, lo, hi float32, codes []uint8) error {
	zero := float32(s.scheme.Zero())
	first, last := s.scheme.Codes()
	bottom, top := float32(first)-zero, float32(last)-zero
	most := hi
	if -lo > hi {
		most = lo
	}
	var best, bestErr float32 = 0, float32(math.Inf(1))
	try := func(scale float32) {
		bits, ok := qtensor.Half(scale)
		if scale = qtensor.FromHalf(bits); !ok || scale == 0 {
			return
		}
		if e := s.errorOf(x, weight, scale, bottom, top); e < bestErr {
			best, bestErr = scale, e
		}
	}
	for _, end := range [2]float32{bottom, top} {
		for k := symFirst; k <= symLast; k += symStep {
			inverse := (end + k*sign(end)) / most
			try(s.fit(x, weight, inverse, bottom, top))
			if k == 0 {
				try(1 / inverse)
			}
		}
	}
	if best == 0 {
		return s.tooSmall(most, codes, g)
	}
	inverse := 1 / best
	for i, v := range x {
		codes[i] = uint8(clamp(nearest(v*inverse), bottom, top) + zero)
	}
	s.scale[g], _ = qtensor.Half(best)
	return nil
}

// Grid of symmetric candidates: codes that the largest value is put beyond
// (positive: it is clipped) or inside the last code.
var symFirst, symLast, symStep float32 = -1, 3, 0.25

func sign(v float32) float32 {
	if v < 0 {
		return -1
	}
	return 1
}

func clamp(v, lo, hi float32) float32 { return min(max(v, lo), hi) }

// fit rounds x on the grid of 1/inverse and returns the scale that then has
// the least weighted squared error.
func (s *search) fit(x, weight []float32, inverse, bottom, top float32) float32 {
	var xq, qq float32
	for i, v := range x {
		q := clamp(nearest(v*inverse), bottom, top)
		wq := weight[i] * q
		xq += float32(wq * v)
		qq += float32(wq * q)
	}
	if qq == 0 {
		return 0
	}
	return xq / qq
}

// errorOf is the weighted squared error of x at scale.
func (s *search) errorOf(x, weight []float32, scale, bottom, top float32) float32 {
	inverse := 1 / scale
	var sum float32
	for i, v := range x {
		d := v - float32(scale*clamp(nearest(v*inverse), bottom, top))
		sum += float32(weight[i] * float32(d*d))
	}
	return sum
}

// tooSmall ends a group whose scale underflows float16 (every value is below
// half the least code step) with zeros, or reports one that overflows.
func (s *search) tooSmall(most float32, codes []uint8, g int) error {
	if most > 1 || most < -1 {
		return fmt.Errorf("a weight of %g needs a scale beyond float16's %d", most, qtensor.MaxF16)
	}
	s.scale[g], s.min[g] = 0, 0
	for i := range codes {
		codes[i] = uint8(s.zeroCode())
	}
	return nil
}

// asymmetric tries ranges around [lo, hi]; for each it rounds, solves the two
// normal equations for step and minimum, and rounds both to float16 before it
// measures the error.
func (s *search) asymmetric(g int, x, weight []float32, lo, hi float32, codes []uint8) error {
	_, last := s.scheme.Codes()
	top := float32(last)
	lo, hi = x[0], x[0]
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	var bestStep, bestMin, bestErr float32 = 0, 0, float32(math.Inf(1))
	try := func(step, low float32) {
		a, ok := qtensor.Half(step)
		b, ok2 := qtensor.Half(low)
		step, low = qtensor.FromHalf(a), qtensor.FromHalf(b)
		if !ok || !ok2 || step <= 0 {
			return
		}
		if e := s.affineError(x, weight, step, low, top); e < bestErr {
			bestStep, bestMin, bestErr = step, low, e
		}
	}
	try((hi-lo)/top, lo)
	for k := asymFirst; k <= asymLast; k += asymStep {
		step := (hi - lo) / (top + k)
		low := lo + float32(step*k)/2
		for range 2 {
			if step, low = s.fitAffine(x, weight, step, low, top); !(step > 0) {
				break
			}
			try(step, low)
		}
	}
	if bestStep == 0 { // all values alike, or too close for a float16 step
		bits, ok := qtensor.Half(lo)
		if !ok {
			return fmt.Errorf("a weight of %g is beyond float16's %d", lo, qtensor.MaxF16)
		}
		clear(codes)
		s.scale[g], s.min[g] = 0, bits
		return nil
	}
	inverse := 1 / bestStep
	for i, v := range x {
		codes[i] = uint8(clamp(nearest(float32((v-bestMin)*inverse)), 0, top))
	}
	s.scale[g], _ = qtensor.Half(bestStep)
	s.min[g], _ = qtensor.Half(bestMin)
	return nil
}

var asymFirst, asymLast, asymStep float32 = -1, 4, 0.5

// fitAffine rounds x on the grid (step, low) and returns the step and minimum
// that then have the least weighted squared error; step 0 if undetermined.
func (s *search) fitAffine(x, weight []float32, step, low, top float32) (float32, float32) {
	inverse := 1 / step
	var w, wq, wqq, wx, wqx float32
	for i, v := range x {
		q := clamp(nearest(float32((v-low)*inverse)), 0, top)
		a := weight[i]
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

func (s *search) affineError(x, weight []float32, step, low, top float32) float32 {
	inverse := 1 / step
	var sum float32
	for i, v := range x {
		d := v - (float32(step*clamp(nearest(float32((v-low)*inverse)), 0, top)) + low)
		sum += float32(weight[i] * float32(d*d))
	}
	return sum
}

// weigh sets each value's say in the squared error.
func weigh(weight, x []float32) {
	for i, v := range x {
		weight[i] = float32(v*v) + Lean
	}
}

var Lean float32 = 0
