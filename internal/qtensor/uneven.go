package qtensor

import "thimble/internal/kernel"

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
