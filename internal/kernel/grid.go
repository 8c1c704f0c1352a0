package kernel

import (
	"math"
	"unsafe"

	"github.com/x448/float16"
)

// GridScales and GridErrors take so many scales at once: Candidates, and GridErrors also one for
// each level of short scales.
const (
	Candidates = 24
	levels     = 16
)

// A gridErrorsFunc is GridErrors for a certain number of scales.
type gridErrorsFunc func(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32)

// GridScales sets each scale to most/divisor, rounded to float16 with ties to even, and
// inverse to 1/scale. Both are 0 where float16 has zero or infinity. most must be finite, and
// no divisor 0.
func GridScales(scale, inverse, divisor *[Candidates]float32, most float32) {
	best.gridScales(scale, inverse, divisor, most)
}

func gridScalesPortable(scale, inverse, divisor *[Candidates]float32, most float32) {
	for l, d := range divisor {
		s := float16.Fromfloat32(most / d).Float32()
		if s == 0 || math.IsInf(float64(s), 0) {
			scale[l], inverse[l] = 0, 0
			continue
		}
		scale[l], inverse[l] = s, 1/s
	}
}

// GridErrors sets, for each candidate scale, errors to the weighted squared error of
// rounding x to that scale's grid,
//
//	sum over i of power[i] * (x[i] - scale*q)²
//
// where q is x[i]*inverse clamped to [bottom, top] and rounded to the nearest
// integer, ties to even. The sum runs in ascending i and every operation is
// rounded. The magnitudes of bottom and top are at most 2^22. A candidate whose
// scale and inverse are 0 gets the error of storing zeros. GridErrors panics
// unless x and power have the same length, and there are Candidates or 16 errors, scales and
// inverses.
func GridErrors(errors, x, power, scale, inverse []float32, bottom, top float32) {
	n := len(errors)
	check(len(power) == len(x) && len(scale) == n && len(inverse) == n, "GridErrors")
	switch n {
	case levels:
		best.gridErrors16(&errors[0], x, power, &scale[0], &inverse[0], bottom, top)
	case Candidates:
		best.gridErrors24(&errors[0], x, power, &scale[0], &inverse[0], bottom, top)
	default:
		panic("kernel: GridErrors takes 16 or 24 scales")
	}
}

func gridErrors16Portable(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32) {
	gridErrorsPortable(errors, x, power, scale, inverse, bottom, top, levels)
}

func gridErrors24Portable(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32) {
	gridErrorsPortable(errors, x, power, scale, inverse, bottom, top, Candidates)
}

func gridErrorsPortable(errors *float32, x, power []float32, scale, inverse *float32, bottom, top float32, n int) {
	sums := unsafe.Slice(errors, n)
	clear(sums)
	scales, inverses := unsafe.Slice(scale, n), unsafe.Slice(inverse, n)
	for i, v := range x {
		for l := range sums {
			q := gridCode(v, 0, inverses[l], bottom, top)
			d := v - float32(scales[l]*q)
			sums[l] += float32(power[i] * float32(d*d))
		}
	}
}

// GridCodes sets each code to zero plus (x-low)*inverse, clamped to [bottom, top] and
// rounded to the nearest integer, ties to even. x must be finite, and codes must fit. It
// panics unless dst has the length of x.
func GridCodes(dst []uint8, x []float32, low, inverse, bottom, top float32, zero int) {
	check(len(dst) == len(x), "GridCodes")
	n := len(x) &^ (Block - 1)
	best.gridCodes(dst[:n], x[:n], low, inverse, bottom, top, int32(zero))
	gridCodesPortable(dst[n:], x[n:], low, inverse, bottom, top, int32(zero))
}

func gridCodesPortable(dst []uint8, x []float32, low, inverse, bottom, top float32, zero int32) {
	for i, v := range x {
		dst[i] = uint8(int32(gridCode(v, low, inverse, bottom, top)) + zero)
	}
}

// gridCode returns v-low in steps of 1/inverse, clamped and rounded.
func gridCode(v, low, inverse, bottom, top float32) float32 {
	return RoundToEven(min(max(float32((v-low)*inverse), bottom), top))
}

// Bounds returns the smallest and the largest element of x, which must be finite. A bound
// of zero is +0. Bounds panics if x is empty.
func Bounds(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	n := blocks(len(x))
	if n > 0 {
		lo, hi = best.bounds(x[:n])
	}
	for _, v := range x[n:] {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo + 0, hi + 0
}

func boundsPortable(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo, hi
}
