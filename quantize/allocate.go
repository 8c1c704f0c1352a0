package quantize

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Only returns the part of s for the given schemes.
func (s *Survey) Only(schemes []Scheme) (*Survey, error) {
	columns := make([]int, len(schemes))
	for i, x := range schemes {
		if columns[i] = slices.Index(s.Schemes, x); columns[i] < 0 {
			return nil, fmt.Errorf("scheme %v was not surveyed", x)
		}
	}
	some := &Survey{schemes, map[string][]float64{}}
	for name, costs := range s.cost {
		for _, c := range columns {
			some.cost[name] = append(some.cost[name], costs[c])
		}
	}
	return some, nil
}

// An allocator chooses a scheme for each surveyed matrix of one model. All matrices start
// in their smallest scheme; the allocator then repeatedly takes the upgrade that gains
// most per byte.
type allocator struct {
	survey    *Survey
	base      *Recipe
	names     []string  // of the matrices to choose for, in the plan's order
	smallest  []int     // scheme of each matrix
	bytes     int64     // of all tensors, with these matrices in their smallest schemes
	predicted float64   // nats per token, likewise
	upgrades  []upgrade // the best first
}

// An upgrade changes the scheme of one matrix to one with more bytes and a lower cost.
type upgrade struct {
	matrix, scheme int
	bytes          int64   // more than in the previous scheme
	gain           float64 // nats less than in the previous scheme
}

// An allocation is a choice of schemes.
type allocation struct {
	recipe    *Recipe
	bytes     int64   // of all tensors
	predicted float64 // nats per token
}

// newAllocator returns an allocator that adds rules to base. A matrix that a rule of base
// matches keeps that rule's scheme. Bytes count as often as the file stores a tensor; nil
// copies means once each.
func newAllocator(s *Survey, m *Model, base *Recipe, copies func(name string) int) (*allocator, error) {
	full, err := base.resolve()
	if err != nil {
		return nil, err
	}
	plan, err := NewPlan(m, base)
	if err != nil {
		return nil, err
	}
	a := &allocator{survey: s, base: base}
	for _, e := range plan.Tensors {
		stored := int64(1)
		if copies != nil {
			stored = int64(copies(e.Name))
		}
		a.bytes += stored * e.Bytes
		costs := s.cost[e.Name]
		named := make([]bool, len(full.rules))
		full.storage(e.Slot, named)
		if costs == nil || slices.Contains(named, true) {
			continue
		}
		ladder, sizes, err := s.ladder(e.Slot, costs)
		if err != nil {
			return nil, err
		}
		for i := 1; i < len(ladder); i++ {
			from, to := ladder[i-1], ladder[i]
			a.upgrades = append(a.upgrades, upgrade{len(a.names), to, stored * (sizes[to] - sizes[from]), costs[from] - costs[to]})
		}
		a.bytes += stored * (sizes[ladder[0]] - e.Bytes)
		a.predicted += costs[ladder[0]]
		a.smallest, a.names = append(a.smallest, ladder[0]), append(a.names, e.Name)
	}
	// On a convex hull the upgrades of one matrix have decreasing gains per byte, so sorting
	// keeps their order.
	slices.SortStableFunc(a.upgrades, func(a, b upgrade) int {
		return cmp.Compare(b.gain/float64(b.bytes), a.gain/float64(a.bytes))
	})
	return a, nil
}

// within returns the allocation of at most limit bytes for tensors with the least
// predicted divergence.
func (a *allocator) within(limit int64) (allocation, error) {
	if a.bytes > limit {
		return allocation{}, fmt.Errorf("the smallest schemes take %d bytes for tensors, more than the %d available", a.bytes, limit)
	}
	return a.spend(limit, math.Inf(-1)), nil
}

// diverging returns the smallest allocation with a predicted divergence of at most limit
// nats per token.
func (a *allocator) diverging(limit float64) (allocation, error) {
	best := a.spend(math.MaxInt64, limit)
	if !(best.predicted <= limit) {
		return allocation{}, fmt.Errorf("even the largest schemes have a predicted divergence of %.3g nats per token, more than the limit of %.3g", best.predicted, limit)
	}
	return best, nil
}

// spend takes upgrades until the prediction is at most enough, except those that would
// make the tensors exceed limit bytes. Every limit between the bytes of its result and
// limit therefore gives the same result, and any smaller limit a different one.
func (a *allocator) spend(limit int64, enough float64) allocation {
	out := allocation{bytes: a.bytes, predicted: a.predicted}
	chosen := slices.Clone(a.smallest)
	stuck := make([]bool, len(chosen)) // an upgrade did not fit, so later ones are not taken either
	for _, u := range a.upgrades {
		if out.predicted <= enough {
			break
		}
		if stuck[u.matrix] || u.bytes > limit-out.bytes {
			stuck[u.matrix] = true
			continue
		}
		chosen[u.matrix] = u.scheme
		out.bytes += u.bytes
		out.predicted -= u.gain
	}
	r := *a.base
	r.Rules = slices.Clone(a.base.Rules)
	for i, name := range a.names {
		r.Rules = append(r.Rules, Rule{name, a.survey.Schemes[chosen[i]].String()})
	}
	r.PredictedKL = threeDigits(out.predicted)
	out.recipe = &r
	return out
}

// threeDigits rounds a prediction to the digits that mean something, so that a file does
// not depend on the last bits of a sum.
func threeDigits(x float64) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(max(0, x), 'g', 3, 64), 64) // FormatFloat writes what ParseFloat reads
	return rounded
}

// ladder returns the schemes on the lower convex hull of bytes and cost, the smallest
// first, and the bytes of every scheme.
func (s *Survey) ladder(slot Slot, costs []float64) (ladder []int, sizes []int64, err error) {
	sizes = make([]int64, len(s.Schemes))
	order := make([]int, len(s.Schemes))
	for i, x := range s.Schemes {
		e, err := newEntry(slot, Scheme{}, storage{scheme: x})
		if err != nil {
			return nil, nil, err
		}
		sizes[i], order[i] = e.Bytes, i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(sizes[a], sizes[b]), cmp.Compare(costs[a], costs[b]))
	})
	worth := func(a, b int) float64 { return (costs[a] - costs[b]) / float64(sizes[b]-sizes[a]) }
	for _, i := range order {
		if n := len(ladder); n > 0 && (sizes[i] == sizes[ladder[n-1]] || costs[i] >= costs[ladder[n-1]]) {
			continue
		}
		for n := len(ladder); n > 1 && worth(ladder[n-1], i) >= worth(ladder[n-2], ladder[n-1]); n-- {
			ladder = ladder[:n-1]
		}
		ladder = append(ladder, i)
	}
	return ladder, sizes, nil
}
