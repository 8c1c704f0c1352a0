package qtensor

import (
	"encoding/binary"
	"math"
	"slices"
)

// A row of short scales has a float16 factor F, and for each group a code of 4 bits that stands
// for F times a number of ShortLevels. kernel.TransposeShort has the order of bytes.
//
// Products of F and a level are float16 numbers, because ShortFactor gives F few bits. So all
// that reads or chooses float16 scales serves short ones too.

// ShortLevels returns the levels by code. Up to 4 bits, it pays to choose the side of zero that
// has one code more: there are eight levels of each sign, a fifth of a factor of two apart. With
// more bits there are 16, an eighth of a factor of two apart. They are rounded to 6 bits.
func (s Scheme) ShortLevels() *[16]float32 {
	if s.Bits <= 4 {
		return &signedLevels
	}
	return &levels
}

var (
	signedLevels = scaled(64, 56, 49, 42, 37, 32, 28, 24, -64, -56, -49, -42, -37, -32, -28, -24)
	levels       = scaled(64, 59, 54, 49, 45, 41, 38, 35, 32, 29.5, 27, 24.5, 22.5, 20.5, 19, 17.5)
)

func scaled(by64 ...float32) (x [16]float32) {
	for i, v := range by64 {
		x[i] = v / 64
	}
	return x
}

const (
	factorBits  = 5   // of the significand of a factor
	factorLeast = -17 // every factor is a multiple of 2 to this power
)

// ShortFactor returns the largest factor that is not above x, or the least one.
func ShortFactor(x float32) float32 {
	unit := factorUnit(x)
	return float32(max(math.Floor(float64(x)/unit), 1) * unit)
}

// NextShortFactor returns the smallest factor above f, which is one.
func NextShortFactor(f float32) float32 { return f + float32(factorUnit(f)) }

// factorUnit returns the distance of factors as large as x.
func factorUnit(x float32) float64 {
	_, exp := math.Frexp(float64(x))
	return math.Ldexp(1, max(exp-factorBits, factorLeast))
}

// setShort stores the float16 bits of scales, each a level of a common factor or zero, in row.
// Others become the nearest level of the factor of the largest.
func (s Scheme) setShort(row []byte, scales []uint16) {
	clear(row)
	factor, ok := s.commonFactor(scales)
	if !ok {
		factor = ShortFactor(largestScale(scales))
	}
	if factor == 0 {
		return
	}
	f, _ := ToFloat16(factor)
	binary.LittleEndian.PutUint16(row[len(row)-2:], f)
	for g, b := range scales {
		code, _ := s.level(FromFloat16(b), factor)
		row[g/2] |= code << (g % 2 * 4)
	}
}

// largestScale returns the largest magnitude of scales.
func largestScale(scales []uint16) float32 {
	most := uint16(0)
	for _, b := range scales {
		most = max(most, b&^(1<<15))
	}
	return FromFloat16(most)
}

// commonFactor returns a factor of which all scales are levels, 0 if all are zero. ok is false if
// there is none.
func (s Scheme) commonFactor(scales []uint16) (factor float32, ok bool) {
	most := largestScale(scales)
	if most == 0 {
		return 0, true
	}
	for _, l := range s.ShortLevels() {
		f := most / l
		between := func(b uint16) bool {
			_, exact := s.level(FromFloat16(b), f)
			return !exact
		}
		if f > 0 && f <= MaxFloat16 && f == ShortFactor(f) && !slices.ContainsFunc(scales, between) {
			return f, true
		}
	}
	return 0, false
}

// level returns the code of the level of factor that is nearest to scale, and whether it is
// exact. Zero is exact: a group of zeros has any scale.
func (s Scheme) level(scale, factor float32) (code uint8, exact bool) {
	least := float32(math.Inf(1))
	for i, l := range s.ShortLevels() {
		d := scale - float32(factor*l)
		if d < 0 {
			d = -d
		}
		if d < least {
			code, least = uint8(i), d
		}
	}
	return code, least == 0 || scale == 0
}
