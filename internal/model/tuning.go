package model

import (
	"math"
	"strings"
)

// TuningUnits returns what tuning changes each value x of the vector called name relative to:
// the factor of a norm, or the root mean square of biases.
func (s *Spec) TuningUnits(name string, x []float32) []float32 {
	unit := make([]float32, len(x))
	if strings.HasSuffix(name, BiasSuffix) {
		square := 0.0
		for _, v := range x {
			square += float64(v) * float64(v) // exact
		}
		rms := float32(math.Sqrt(square / float64(len(x))))
		for i := range unit {
			unit[i] = rms
		}
		return unit
	}
	for i, v := range x {
		if s.Norm.CountsFrom1() {
			v++
		}
		unit[i] = v
	}
	return unit
}
