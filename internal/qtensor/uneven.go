package qtensor

import (
	"math"

	"thimble/internal/kernel"
)

// An Uneven scheme has 16 values in each group, which are closer together near zero, where most
// weights are: a scale times a level of ggml's IQ4_NL. Its codes, one per byte, are Zero plus a
// level, so what computes with code - Zero serves it too. A stored row has the index of each
// level, in 4 bits.

// levelsIQ4 are 128 + kvalues_iq4nl of ggml-common.h.
var levelsIQ4 = [16]uint8{1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241}

// unevenIndices has the index of the level that is nearest to each number of 8 bits, unevenCodes
// that level. Of two as near, it is the lower one.
var unevenIndices, unevenCodes = func() (indices, codes [256]uint8) {
	for c := range codes {
		for i, l := range levelsIQ4 {
			if near := int(codes[c]); i == 0 || abs(int(l)-c) < abs(near-c) {
				indices[c], codes[c] = uint8(i), l
			}
		}
	}
	return indices, codes
}()

func abs(x int) int { return max(x, -x) }

// unevenSteps has for each level the step of evenly spaced ones with the same error: a value
// that rounds to it is anywhere between the middles of it and its neighbours.
var unevenSteps = func() (steps [256]float32) {
	for c, i := range unevenIndices {
		gap := func(at int) float64 { return float64(levelsIQ4[at+1]) - float64(levelsIQ4[at]) }
		below, above := gap(max(int(i)-1, 0)), gap(min(int(i), len(levelsIQ4)-2))
		cubes := float64(below*below*below) + float64(above*above*above)
		steps[c] = float32(math.Sqrt(cubes / (below + above)))
	}
	return steps
}()

// Even returns the scheme with evenly spaced codes that has every value of s: s, unless it is
// Uneven.
func (s Scheme) Even() Scheme {
	if s.Uneven {
		s.Uneven, s.Bits = false, 8
	}
	return s
}

// Codebook returns the code of s that is nearest to each code of its Even scheme; nil if they
// are the same.
func (s Scheme) Codebook() *[256]uint8 {
	if !s.Uneven {
		return nil
	}
	return &unevenCodes
}

// Step returns, for values that were rounded to a code of s, the root mean square of their
// errors, in scales, times the root of 12: 1 unless s is Uneven.
func (s Scheme) Step(code uint8) float32 {
	if s.Kind == Foreign {
		s = s.Layout.Scheme
	}
	if !s.Uneven {
		return 1
	}
	return unevenSteps[code]
}

// unpack writes the codes of a row of Codes of an Int scheme, one per byte.
func (s Scheme) unpack(codes []uint8, row []byte) {
	kernel.UnpackPlanes(codes, row, s.Bits)
	if s.Uneven {
		for i, c := range codes {
			codes[i] = levelsIQ4[c&15]
		}
	}
}

// indices returns the stored codes of those that a row has.
func (s Scheme) indices(codes []uint8) []uint8 {
	if !s.Uneven {
		return codes
	}
	stored := make([]uint8, len(codes))
	for i, c := range codes {
		stored[i] = unevenIndices[c]
	}
	return stored
}
