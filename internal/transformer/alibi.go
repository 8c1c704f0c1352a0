package transformer

import (
	"thimble/internal/kernel"
	"thimble/internal/model"
)

// alibiSlopes returns the slope of each head, (Heads), or nil without ALiBi. For a power of
// two of heads they are 2^(-Alibi i/n), i = 1 to n. Otherwise they are those for the next
// power, every second one first (arXiv 2108.12409, footnote 7, and its code).
func alibiSlopes(s *model.Spec) []float32 {
	if s.Alibi == 0 {
		return nil
	}
	n := 1
	for n < s.Heads {
		n *= 2
	}
	slope := func(i int) float32 { return float32(1 / kernel.Pow64(2, float64(i)*s.Alibi/float64(n))) }
	slopes := make([]float32, 0, s.Heads)
	if n == s.Heads {
		for i := range n {
			slopes = append(slopes, slope(i+1))
		}
		return slopes
	}
	for i := 2; i <= n; i += 2 {
		slopes = append(slopes, slope(i))
	}
	for i := 1; len(slopes) < s.Heads; i += 2 {
		slopes = append(slopes, slope(i))
	}
	return slopes
}

// lowerByDistance adds ALiBi's bias to the scores p of one query for the keys up to its own
// position, the last.
func lowerByDistance(p []float32, slope float32) {
	last := len(p) - 1
	for j := range p {
		p[j] -= float32(slope * float32(last-j))
	}
}
