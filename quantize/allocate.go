package quantize

import (
	"cmp"
	"fmt"
	"slices"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A choice is one step up for one matrix: to a scheme that takes more bytes and
// costs less.
type choice struct {
	tensor, scheme int
	bytes          int64   // more than the step below
	gain           float64 // nats less
}

// Only returns s for some of its schemes: what it would be had it been made for
// these.
func (s *Survey) Only(schemes []qtensor.Scheme) (*Survey, error) {
	places := make([]int, len(schemes))
	for i, x := range schemes {
		if places[i] = slices.Index(s.Schemes, x); places[i] < 0 {
			return nil, fmt.Errorf("scheme %v was not surveyed", x)
		}
	}
	some := &Survey{schemes, map[string][]float64{}}
	for name, costs := range s.cost {
		for _, at := range places {
			some.cost[name] = append(some.cost[name], costs[at])
		}
	}
	return some, nil
}

// Allocate returns base with a rule for each surveyed matrix, so that the plan
// takes at most bytes for its tensors and is predicted to diverge least, or,
// with bytes 0, takes least and diverges by at most kl. Matrices that a rule of
// base names keep its scheme. predicted is in nats per token.
func (s *Survey) Allocate(m *model.Model, base *Recipe, bytes int64, kl float64) (r *Recipe, predicted float64, err error) {
	full, err := base.full()
	if err != nil {
		return nil, 0, err
	}
	plan, err := NewPlan(m, base)
	if err != nil {
		return nil, 0, err
	}
	var (
		fixed   = plan.Bytes
		chosen  []int
		entries []Entry
		steps   []choice
	)
	for _, e := range plan.Tensors {
		costs := s.cost[e.Name]
		named := make([]bool, len(full.Rules))
		full.scheme(e.Slot, named)
		if costs == nil || slices.Contains(named, true) {
			continue
		}
		fixed -= e.Bytes
		ladder, sizes, err := s.ladder(e.Slot, costs)
		if err != nil {
			return nil, 0, err
		}
		for i := 1; i < len(ladder); i++ {
			from, to := ladder[i-1], ladder[i]
			steps = append(steps, choice{len(entries), to, sizes[to] - sizes[from], costs[from] - costs[to]})
		}
		fixed += sizes[ladder[0]]
		predicted += costs[ladder[0]]
		chosen, entries = append(chosen, ladder[0]), append(entries, e)
	}
	if bytes > 0 && fixed > bytes {
		return nil, 0, fmt.Errorf("the smallest schemes take %d bytes for tensors, more than the %d that the target leaves", fixed, bytes)
	}
	// The hull makes each matrix's own steps fall in worth, so they are met in order.
	slices.SortStableFunc(steps, func(a, b choice) int {
		return cmp.Compare(b.gain/float64(b.bytes), a.gain/float64(a.bytes))
	})
	full0 := make([]bool, len(entries)) // a step did not fit: those above it do not either
	for _, c := range steps {
		if bytes == 0 && predicted <= kl {
			break
		}
		if full0[c.tensor] || bytes > 0 && fixed+c.bytes > bytes {
			full0[c.tensor] = true
			continue
		}
		chosen[c.tensor] = c.scheme
		fixed += c.bytes
		predicted -= c.gain
	}
	if bytes == 0 && !(predicted <= kl) {
		return nil, 0, fmt.Errorf("the largest schemes are predicted to diverge by %.3g nats per token, more than the limit of %.3g", predicted, kl)
	}
	out := *base
	out.Rules = slices.Clone(base.Rules)
	for i, e := range entries {
		out.Rules = append(out.Rules, Rule{e.Name, s.Schemes[chosen[i]].String()})
	}
	return &out, predicted, nil
}

// ladder returns the schemes of the lower convex hull of bytes and cost, the
// smallest first, and the bytes of all.
func (s *Survey) ladder(slot model.Slot, costs []float64) (ladder []int, sizes []int64, err error) {
	sizes = make([]int64, len(s.Schemes))
	order := make([]int, len(s.Schemes))
	for i, x := range s.Schemes {
		e, err := newEntry(slot, qtensor.Scheme{}, x.String())
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
