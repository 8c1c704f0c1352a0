package routing

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"thimble/internal/model"
)

// The experts that compute are the best of the best groups, as sorting finds them.
func TestGroups(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, e := range []model.Experts{
		{Count: 12, Used: 3, Groups: 4, UsedGroups: 2, GroupBest: 2, Sigmoid: true, Selects: true, Normalized: true},
		{Count: 12, Used: 4, Groups: 3, UsedGroups: 1, GroupBest: 1, Scale: 2},
		{Count: 12, Used: 3, Groups: 12, UsedGroups: 5, GroupBest: 1, Sigmoid: true, Selects: true},
		{Count: 12, Used: 5, Sigmoid: true, Selects: true},
	} {
		r := New(&e)
		for range 100 {
			logits, bias, weights := make([]float32, e.Count), make([]float32, e.Count), make([]float32, e.Count)
			for i := range logits {
				logits[i], bias[i] = float32(random.NormFloat64()), float32(random.NormFloat64()/2)
			}
			if !e.Selects {
				bias = nil
			}
			r.Weigh(weights, logits, bias)
			rank := func(i int) float32 {
				if bias == nil {
					return logits[i] // in the order of the scores
				}
				return Sigmoid(logits[i]) + bias[i]
			}
			want := slowly(&e, rank)
			for i, w := range weights {
				if (w != 0) != slices.Contains(want, i) {
					t.Fatalf("%+v: expert %d has weight %g, want %v to compute", e, i, w, want)
				}
			}
		}
	}
}

// slowly returns the experts that compute.
func slowly(e *model.Experts, rank func(i int) float32) []int {
	best := func(all []int, of func(i int) float32) []int {
		return slices.SortedStableFunc(slices.Values(all), func(a, b int) int { return cmp.Compare(of(b), of(a)) })
	}
	groups, size := max(e.Groups, 1), e.Count/max(e.Groups, 1)
	var numbers []int
	members := make([][]int, groups)
	for i := range e.Count {
		members[i/size] = append(members[i/size], i)
	}
	for g := range groups {
		numbers = append(numbers, g)
	}
	var all []int
	for _, g := range best(numbers, func(g int) (sum float32) {
		for _, i := range best(members[g], rank)[:e.GroupBest] {
			sum += rank(i)
		}
		return sum
	})[:max(e.UsedGroups, 1)] {
		all = append(all, members[g]...)
	}
	return best(all, rank)[:e.Used]
}
