package model

import (
	"cmp"
	"fmt"
	"math"

	"thimble/internal/defect"
	"thimble/internal/kernel"
)

// NoRope is the value of Attention.Rope for a block that does not rotate queries and
// keys (arXiv 2305.19466).
const NoRope = -1

// Rope is the rotary position embedding of RoFormer (arXiv 2104.09864) in the
// half-split layout: it rotates dimensions i and i+HeadDim/2 as a pair.
type Rope struct {
	Base    float64     `cbor:"base" json:"base"`
	Scaling RopeScaling `cbor:"scaling" json:"scaling"`
	Dims    int         `cbor:"dims,omitempty" json:"dims,omitempty"`     // leading dimensions of a head that are rotated, or trailing ones with a Latent; 0 means all
	Pairs   bool        `cbor:"pairs,omitempty" json:"pairs,omitempty"`   // the pairs are dimensions 2i and 2i+1 instead
	Factor  float64     `cbor:"factor,omitempty" json:"factor,omitempty"` // RopeLinear, RopeLlama3 and RopeYarn
	// RopeLlama3 divides a frequency by Factor if its wavelength is longer than
	// Original/LowFreq positions, keeps it if its wavelength is shorter than
	// Original/HighFreq, and interpolates between the two. RopeYarn does the same, but
	// interpolates by the index of the frequency (YaRN, arXiv 2309.00071, section 3.2).
	LowFreq  float64 `cbor:"lowfreq,omitempty" json:"lowfreq,omitempty"`
	HighFreq float64 `cbor:"highfreq,omitempty" json:"highfreq,omitempty"`
	Original int     `cbor:"original,omitempty" json:"original,omitempty"`
	// Fractional means that RopeYarn does not round the indices between which it
	// interpolates outwards to whole numbers.
	Fractional bool `cbor:"fractional,omitempty" json:"fractional,omitempty"`
	// Factors, (Dims/2), are the divisors of the frequencies of RopeFactors (LongRoPE,
	// arXiv 2402.13753).
	Factors []float64 `cbor:"factors,omitempty" json:"factors,omitempty"`
	// Scale multiplies cosines and sines, and so the rotated dimensions of queries and
	// keys; 0 means 1.
	Scale float64 `cbor:"scale,omitempty" json:"scale,omitempty"`
}

// MaxRopeFactor is the largest factor of a frequency, with which a dimension stays as it is.
// llama.cpp uses it, too.
const MaxRopeFactor = 1e30

// RopeScaling is the formula that adapts the rotary frequencies to a longer context.
type RopeScaling string

const (
	RopePlain   RopeScaling = ""
	RopeLinear  RopeScaling = "linear" // divides every frequency by Factor
	RopeLlama3  RopeScaling = "llama3"
	RopeYarn    RopeScaling = "yarn"
	RopeFactors RopeScaling = "factors" // divides each frequency by one of Factors
)

func (s *Spec) checkRopes() error {
	if len(s.Ropes) > MaxBlocks {
		return fmt.Errorf("%d additional ropes, want at most %d", len(s.Ropes), MaxBlocks)
	}
	dims, err := s.headsOfRopes()
	if err != nil {
		return err
	}
	for i := range s.Ropes {
		if err := s.Ropes[i].check(dims[1+i]); err != nil {
			return err
		}
	}
	return s.Rope.check(dims[0])
}

func (r *Rope) check(headDim int) error {
	positive := func(x float64) bool { return x > 0 && x < 1e30 }
	switch {
	case r.Dims < 0 || r.Dims > headDim || r.Dims%2 != 0:
		return fmt.Errorf("rope rotates %d dimensions, want an even number up to head dim %d", r.Dims, headDim)
	case !positive(r.Base):
		return fmt.Errorf("rope base is %g, want a positive number", r.Base)
	case r.Scale != 0 && !positive(r.Scale):
		return fmt.Errorf("rope scale is %g, want a positive number", r.Scale)
	case r.Scaling == RopeFactors:
		return r.checkFactors(headDim)
	case len(r.Factors) > 0:
		return fmt.Errorf("rope has factors, but its scaling is %q", string(r.Scaling))
	case r.Scaling == RopePlain:
		return nil
	case r.Scaling != RopeLinear && r.Scaling != RopeLlama3 && r.Scaling != RopeYarn:
		return defect.Unsupported("rope", "scaling %q", string(r.Scaling))
	case !positive(r.Factor):
		return fmt.Errorf("rope factor is %g, want a positive number", r.Factor)
	case r.Scaling == RopeLinear:
		return nil
	case !positive(r.LowFreq) || !positive(r.HighFreq) || r.HighFreq <= r.LowFreq:
		return fmt.Errorf("rope frequency factors are %g and %g, want 0 < low < high", r.LowFreq, r.HighFreq)
	case r.Original < 1 || r.Original > MaxLength:
		return fmt.Errorf("rope original length is %d, want 1 to %d", r.Original, MaxLength)
	}
	return nil
}

func (r *Rope) checkFactors(headDim int) error {
	if want := cmp.Or(r.Dims, headDim) / 2; len(r.Factors) != want {
		return fmt.Errorf("rope has %d factors, want one for each of %d frequencies", len(r.Factors), want)
	}
	for _, x := range r.Factors {
		if !(x > 0 && x <= MaxRopeFactor) {
			return fmt.Errorf("a rope factor is %g, want a positive number", x)
		}
	}
	return nil
}

// RopeOf returns the rotary embedding of a block, or nil if the block has none.
func (s *Spec) RopeOf(block int) *Rope {
	switch at := s.AttentionOf(block).Rope; {
	case at == NoRope:
		return nil
	case at > 0:
		return &s.Ropes[at-1]
	}
	return &s.Rope
}

// Frequency returns the i-th of dims/2 frequencies, in radians per position:
// Base^(-2i/dims), rounded to float32 as in training code, then scaled.
func (r *Rope) Frequency(i, dims int) float64 {
	f := float64(float32(1 / kernel.Pow64(r.Base, float64(2*i)/float64(dims))))
	keep := 1.0 // share of f itself; the rest is f/Factor
	switch r.Scaling {
	case RopePlain:
		return f
	case RopeLinear:
		return f / r.Factor // arXiv 2306.15595, equation 4
	case RopeFactors:
		return f / r.Factors[i]
	case RopeLlama3:
		turns := float64(r.Original) * f / (2 * math.Pi) // full rotations over the original context
		switch {
		case turns < r.LowFreq:
			return f / r.Factor
		case turns > r.HighFreq:
			return f
		}
		keep = (turns - r.LowFreq) / (r.HighFreq - r.LowFreq)
	case RopeYarn:
		low, high := r.yarnRange(dims)
		keep = 1 - min(max((float64(i)-low)/(high-low), 0), 1)
	}
	return float64((1-keep)*(f/r.Factor)) + float64(keep*f)
}

// yarnRange returns the indices between which RopeYarn interpolates, as transformers
// computes them: those of the frequencies with HighFreq and LowFreq rotations over the
// original context.
func (r *Rope) yarnRange(dims int) (low, high float64) {
	index := func(rotations float64) float64 {
		return float64(dims) * kernel.Log64(float64(r.Original)/(rotations*2*math.Pi)) / (2 * kernel.Log64(r.Base))
	}
	low, high = index(r.HighFreq), index(r.LowFreq)
	if !r.Fractional {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(dims-1))
	if low == high {
		high += 0.001
	}
	return low, high
}

// YarnScale returns the factor of the queries and keys in YaRN with the given Factor, which m
// weighs (transformers, _compute_yarn_parameters, get_mscale).
func YarnScale(factor, m float64) float64 {
	if factor <= 1 {
		return 1
	}
	return float64(0.1*m*kernel.Log64(factor)) + 1
}

// headsOfRopes returns the width of the heads that each rotary embedding rotates: first
// Rope, then Ropes.
func (s *Spec) headsOfRopes() ([]int, error) {
	dims := make([]int, 1+len(s.Ropes))
	for b := range s.Blocks {
		r, n := s.AttentionOf(b).Rope, s.Of(b).HeadDim
		if r == NoRope {
			continue
		}
		if dims[r] != 0 && dims[r] != n {
			return nil, defect.Unsupported("rope", "one rotary embedding of heads %d and %d wide", dims[r], n)
		}
		dims[r] = n
	}
	for r, n := range dims {
		if n == 0 {
			dims[r] = s.HeadDim
		}
	}
	return dims, nil
}

// HeadOf returns the width of the heads that rotary embedding i rotates: 0 is Rope, i is
// Ropes[i-1]. s must have passed Check.
func (s *Spec) HeadOf(i int) int {
	dims, _ := s.headsOfRopes()
	return dims[i]
}
