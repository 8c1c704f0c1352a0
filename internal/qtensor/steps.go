package qtensor

import (
	"math"
	"slices"
)

// Steps returns, by code, the step of evenly spaced codes whose rounding has the same mean square
// error, in scales: nil if the codes of s are evenly spaced, so that all steps are 1.
func (s Scheme) Steps() *[256]float32 {
	switch {
	case s.Uneven:
		return &stepsIQ4
	case s.Kind == Foreign && s.Layout.steps != nil:
		return s.Layout.steps
	case s.Kind == Foreign:
		return s.Layout.Scheme.Steps()
	}
	return nil
}

var (
	stepsIQ4 = levelSteps(levelsIQ4[:])
	stepsFP4 = levelSteps(levelsFP4[:])
)

// levelSteps returns the steps of levels in any order. A value that rounds to one is anywhere
// between the middles of it and its neighbours, or as far beyond an end as within.
func levelSteps(levels []uint8) (steps [256]float32) {
	levels = slices.Compact(slices.Sorted(slices.Values(levels)))
	gap := func(i int) float64 { return float64(levels[i+1]) - float64(levels[i]) }
	for i, l := range levels {
		below, above := gap(max(i-1, 0)), gap(min(i, len(levels)-2))
		cubes := float64(below*below*below) + float64(above*above*above)
		steps[l] = float32(math.Sqrt(cubes / (below + above)))
	}
	return steps
}

// gridSteps returns the steps of a grid whose points have n values from 0 to widest, if its
// 2^bits cells share the space.
func gridSteps(widest float64, n, bits int) *[256]float32 {
	var steps [256]float32
	for i := range steps {
		steps[i] = float32(widest * math.Exp2(-float64(bits)/float64(n)))
	}
	return &steps
}
