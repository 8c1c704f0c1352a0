package metric

import "math/bits"

// SplitMix is the state of the random number generator SplitMix64 (Steele, Lea and
// Flood 2014).
type SplitMix uint64

// Next returns 64 random bits.
func (s *SplitMix) Next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Below returns a number in [0, n): the upper half of the product of n and 64
// random bits, uniform to within n in 2^64.
func (s *SplitMix) Below(n int) int {
	high, _ := bits.Mul64(s.Next(), uint64(n))
	return int(high)
}
