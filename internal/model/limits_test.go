package model

import (
	"fmt"
	"strings"
	"testing"
)

// Each limit of docs/SECURITY.md is where it says: the largest value passes, and the next is refused
// with a text that names the limit.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		limit  int
		change func(s *Spec, n int)
	}{
		{MaxBlocks, func(s *Spec, n int) { s.Blocks, s.Schedule = n, InOrder(n, 1) }},
		{MaxSteps, func(s *Spec, n int) { s.Schedule = append([]int{0, 1}, make([]int, n-2)...) }},
		{MaxWidth, func(s *Spec, n int) { s.Hidden = n }},
		{MaxWidth, func(s *Spec, n int) { s.FFN = n }},
		{MaxHeads, func(s *Spec, n int) { s.Heads, s.KVHeads = n, 1 }},
		{MaxVocab, func(s *Spec, n int) { s.Vocab = n }},
		{MaxLength, func(s *Spec, n int) { s.Context = n }},
		{MaxLength, func(s *Spec, n int) { s.Attention = []Attention{{Window: n}, {}} }},
		{MaxConv, func(s *Spec, n int) { s.Attention = []Attention{{Conv: n}, {}} }},
		{MaxConv, func(s *Spec, n int) { s.Attention, s.Delta = []Attention{{Delta: n}, {}}, Delta{1, 1, 1, 1} }},
		{MaxDelta, func(s *Spec, n int) { s.Attention, s.Delta = []Attention{{Delta: 4}, {}}, Delta{1, 1, n, 1} }},
		{MaxDelta, func(s *Spec, n int) { s.Attention, s.Delta = []Attention{{Delta: 4}, {}}, Delta{1, 1, 1, n} }},
		{MaxConv, func(s *Spec, n int) {
			s.Attention, s.Scan = []Attention{{Scan: n}, {}}, Scan{Heads: 1, HeadDim: 1, State: 1, Groups: 1}
		}},
		{MaxState, func(s *Spec, n int) {
			s.Attention, s.Scan = []Attention{{Scan: 4}, {}}, Scan{Heads: 1, HeadDim: n, State: 1, Groups: 1}
		}},
		{MaxState, func(s *Spec, n int) {
			s.Attention, s.Scan = []Attention{{Scan: 4}, {}}, Scan{Heads: 1, HeadDim: 1, State: n, Groups: 1}
		}},
		{MaxExperts, func(s *Spec, n int) { s.Experts = Experts{Count: n, Used: 1, FFN: 8} }},
	} {
		for _, n := range []int{c.limit, c.limit + 1} {
			s := tiny()
			c.change(&s, n)
			err := s.Check()
			if limited := err != nil && strings.Contains(err.Error(), fmt.Sprint(" to ", c.limit)); limited != (n > c.limit) {
				t.Errorf("%d of %d: %v", n, c.limit, err)
			}
		}
	}
}
