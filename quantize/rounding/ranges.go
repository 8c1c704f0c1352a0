package rounding

import (
	"fmt"
	"math"

	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// The asymmetric candidates start from the group's own range, from one that is wider by
// one step, and from two that are narrower by one and two, which clip both ends. Each is
// refitted a few times.
const (
	shrinkFirst = -1
	shrinks     = kernel.Ranges
	refits      = 3
)

// A rangeSearch refits several ranges of a group at once, each in a lane.
type rangeSearch struct {
	x, power []float32
	top      float32

	alive              [shrinks]bool    // the lane has a range
	step, low, inverse [shrinks]float32 // as fitted; 0 in other lanes
	trial              struct {         // as float16 stores them; 0 where it cannot
		step, low, inverse [shrinks]float32
	}
	errors [shrinks]float32
	sums   [5][shrinks]float32

	best, bestLow, least [shrinks]float32 // the first trial with the smallest error: a step, or 0, a minimum, and that error
}

// asymmetric starts from ranges around the group's, then rounds and solves the two normal
// equations for step and minimum, a few times. Without a search it uses the range from the
// smallest to the largest value.
func (s *scaleSearch) asymmetric(g int, x, power []float32, codes []uint8) error {
	_, last := s.scheme.Codes()
	lo, hi := kernel.Bounds(x)
	r := &s.ranges
	*r = rangeSearch{x: x, power: power, top: float32(last)}
	more := refits
	if s.plain {
		r.start(0, (hi-lo)/r.top, lo)
		more = 0
	} else {
		for i := range shrinks {
			inside := float32(shrinkFirst + i)
			step := (hi - lo) / (r.top + inside)
			r.start(i, step, lo+float32(step*inside)/2)
		}
	}
	r.try()
	for range more {
		r.refit()
		r.try()
	}
	step, low := r.result()
	s.scale[g], _ = qtensor.ToFloat16(step)
	s.min[g], _ = qtensor.ToFloat16(low)
	if step == 0 { // all equal, or too close for the smallest float16
		var ok bool
		if s.min[g], ok = qtensor.ToFloat16(lo); !ok || hi-lo > 1 {
			return fmt.Errorf("weights from %g to %g need a scale beyond float16's largest, %d", lo, hi, qtensor.MaxFloat16)
		}
		clear(codes)
		return nil
	}
	kernel.GridCodes(codes, x, low, 1/step, 0, r.top, 0)
	return nil
}

// start begins lane l. A range whose step, its inverse or its minimum is not finite leaves
// the lane empty.
func (r *rangeSearch) start(l int, step, low float32) {
	inverse := 1 / step
	if r.alive[l] = step > 0 && finite(step) && finite(inverse) && finite(low); !r.alive[l] {
		step, low, inverse = 0, 0, 0
	}
	r.step[l], r.low[l], r.inverse[l] = step, low, inverse
}

func finite(x float32) bool { return !math.IsInf(float64(x), 0) && x == x }

// try measures the error of each range as float16 stores it.
func (r *rangeSearch) try() {
	t := &r.trial
	for l := range shrinks {
		a, ok := qtensor.ToFloat16(r.step[l])
		b, ok2 := qtensor.ToFloat16(r.low[l])
		t.step[l], t.low[l] = qtensor.FromFloat16(a), qtensor.FromFloat16(b)
		if !ok || !ok2 || t.step[l] == 0 {
			t.step[l], t.low[l], t.inverse[l] = 0, 0, 0
			continue
		}
		t.inverse[l] = 1 / t.step[l]
	}
	kernel.RangeErrors(&r.errors, r.x, r.power, &t.step, &t.low, &t.inverse, r.top)
	for l, e := range r.errors {
		if t.step[l] != 0 && finite(e) && (r.best[l] == 0 || e < r.least[l]) {
			r.best[l], r.bestLow[l], r.least[l] = t.step[l], t.low[l], e
		}
	}
}

// refit replaces each range by the one with the smallest weighted squared error for its
// codes. If the codes do not determine it, the lane becomes empty.
func (r *rangeSearch) refit() {
	kernel.RangeSums(&r.sums, r.x, r.power, &r.low, &r.inverse, r.top)
	for l := range shrinks {
		if !r.alive[l] {
			continue
		}
		w, wq, wqq, wx, wqx := r.sums[0][l], r.sums[1][l], r.sums[2][l], r.sums[3][l], r.sums[4][l]
		det := float32(w*wqq) - float32(wq*wq)
		if !(det > 0) {
			r.start(l, 0, 0)
			continue
		}
		r.start(l, (float32(w*wqx)-float32(wq*wx))/det, (float32(wqq*wx)-float32(wq*wqx))/det)
	}
}

// result returns the step and minimum with the smallest error, or step 0.
func (r *rangeSearch) result() (step, low float32) {
	least := float32(math.Inf(1))
	for l, e := range r.least {
		if r.best[l] != 0 && e < least {
			step, low, least = r.best[l], r.bestLow[l], e
		}
	}
	return step, low
}
