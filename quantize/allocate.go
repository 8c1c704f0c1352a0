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
	some := &Survey{Schemes: schemes, Together: s.Together, cost: map[string][]float64{}}
	for name, costs := range s.cost {
		for _, c := range columns {
			some.cost[name] = append(some.cost[name], costs[c])
		}
	}
	return some, nil
}

// An allocator chooses a scheme for each surveyed matrix of one model, or for several
// matrices together. All start in their smallest scheme; the allocator then repeatedly takes
// the upgrade that gains most per byte.
type allocator struct {
	survey    *Survey
	base      *Recipe
	names     []string  // of the matrices to choose for, in the plan's order
	units     []int     // by matrix, the unit that it belongs to
	smallest  []int     // scheme of each unit
	bytes     int64     // of all tensors, with these matrices in their smallest schemes
	predicted float64   // nats per token, likewise
	upgrades  []upgrade // the best first
}

// An upgrade changes the scheme of one unit to one with more bytes and a lower cost.
type upgrade struct {
	unit, scheme int
	bytes        int64   // more than in the previous scheme
	gain         float64 // nats less than in the previous scheme
}

// A unit is one matrix, or several that have the same scheme.
type unit struct {
	costs  []float64 // of all its matrices, by scheme
	sizes  []int64   // likewise
	stored int64     // how often the file stores it
	bytes  int64     // in the schemes of the base recipe
	fits   []bool    // all its matrices can have the scheme
}

// An allocation is a choice of schemes.
type allocation struct {
	recipe    *Recipe
	bytes     int64   // of all tensors
	predicted float64 // nats per token
}

// newAllocator returns an allocator that adds rules to base. A matrix that a rule of base
// matches keeps that rule's scheme. Bytes count as often as the file stores a tensor; nil
// copies means once each. fits is Budget.Fits.
func newAllocator(s *Survey, m *Model, base *Recipe, copies func(name string) int, fits func(s Scheme, cols int) bool) (*allocator, error) {
	full, err := base.resolve()
	if err != nil {
		return nil, err
	}
	plan, err := NewPlan(m, base)
	if err != nil {
		return nil, err
	}
	a := &allocator{survey: s, base: base}
	var units []unit
	known := map[string]int{} // in units, by what holds the matrices together
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
		sizes, err := s.sizes(e.Slot)
		if err != nil {
			return nil, err
		}
		with := e.Name
		if s.Together != nil {
			with = cmp.Or(s.Together(e.Name), with)
		}
		i, joins := known[with]
		if !joins {
			i = len(units)
			known[with] = i
			units = append(units, unit{make([]float64, len(costs)), make([]int64, len(costs)), stored, 0, slices.Repeat([]bool{true}, len(costs))})
		}
		units[i].add(costs, sizes, e.Bytes)
		for x, scheme := range s.Schemes {
			if fits != nil && !fits(scheme, e.Cols) {
				units[i].fits[x] = false
			}
		}
		a.names, a.units = append(a.names, e.Name), append(a.units, i)
	}
	for i, u := range units {
		ladder := ladder(u.costs, u.sizes, u.fits)
		for step := 1; step < len(ladder); step++ {
			from, to := ladder[step-1], ladder[step]
			a.upgrades = append(a.upgrades, upgrade{i, to, u.stored * (u.sizes[to] - u.sizes[from]), u.costs[from] - u.costs[to]})
		}
		a.bytes += u.stored * (u.sizes[ladder[0]] - u.bytes)
		a.predicted += u.costs[ladder[0]]
		a.smallest = append(a.smallest, ladder[0])
	}
	// On a convex hull the upgrades of one unit have decreasing gains per byte, so sorting
	// keeps their order.
	slices.SortStableFunc(a.upgrades, func(a, b upgrade) int {
		return cmp.Compare(b.gain/float64(b.bytes), a.gain/float64(a.bytes))
	})
	return a, nil
}

// add adds a matrix to u.
func (u *unit) add(costs []float64, sizes []int64, bytes int64) {
	for x := range costs {
		u.costs[x] += costs[x]
		u.sizes[x] += sizes[x]
	}
	u.bytes += bytes
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
		if stuck[u.unit] || u.bytes > limit-out.bytes {
			stuck[u.unit] = true
			continue
		}
		chosen[u.unit] = u.scheme
		out.bytes += u.bytes
		out.predicted -= u.gain
	}
	r := *a.base
	r.Rules = slices.Clone(a.base.Rules)
	for i, name := range a.names {
		r.Rules = append(r.Rules, Rule{name, a.survey.Schemes[chosen[a.units[i]]].String()})
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

// sizes returns the bytes of a matrix in each scheme.
func (s *Survey) sizes(slot Slot) ([]int64, error) {
	sizes := make([]int64, len(s.Schemes))
	for i, x := range s.Schemes {
		e, err := newEntry(slot, Scheme{}, storage{scheme: x})
		if err != nil {
			return nil, err
		}
		sizes[i] = e.Bytes
	}
	return sizes, nil
}

// ladder returns those of the schemes that fit that are on the lower convex hull of bytes and
// cost, the smallest first. nil fits means all do.
func ladder(costs []float64, sizes []int64, fits []bool) (ladder []int) {
	var order []int
	for i := range costs {
		if fits == nil || fits[i] {
			order = append(order, i)
		}
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
	return ladder
}
