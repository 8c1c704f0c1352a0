package quantize

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// surveyed invents a survey of the first n matrices of m.
func surveyed(t testing.TB, m *model.Model, n int, seed uint64, schemes ...string) *Survey {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, seed))
	s := &Survey{cost: map[string][]float64{}}
	for _, text := range schemes {
		s.Schemes = append(s.Schemes, scheme(t, text))
	}
	for _, slot := range m.Spec.Slots() {
		if slot.Role == model.Vector || len(s.cost) == n {
			continue
		}
		size := math.Exp(3 * r.NormFloat64())
		for _, x := range s.Schemes {
			s.cost[slot.Name] = append(s.cost[slot.Name], size*math.Exp2(-2*float64(x.Bits))*(0.7+0.6*r.Float64()))
		}
	}
	return s
}

// A combination is one choice of schemes for all surveyed matrices.
type combination struct {
	bytes int64
	cost  float64
}

// combinations lists all of them.
func combinations(t testing.TB, m *model.Model, s *Survey, base *Recipe) []combination {
	t.Helper()
	plan, err := NewPlan(m, base)
	if err != nil {
		t.Fatal(err)
	}
	all := []combination{{}}
	for _, e := range plan.Tensors {
		costs := s.cost[e.Name]
		var more []combination
		for _, c := range all {
			if costs == nil {
				more = append(more, combination{c.bytes + e.Bytes, c.cost})
			}
			for i, v := range costs {
				codes, scales, mins, err := s.Schemes[i].Sizes(e.Rows, e.Cols)
				if err != nil {
					t.Fatal(err)
				}
				more = append(more, combination{c.bytes + codes + scales + mins, c.cost + v})
			}
		}
		all = more
	}
	return all
}

// allocated carries out an allocation and returns what its plan takes.
func allocated(t testing.TB, m *model.Model, s *Survey, base *Recipe, bytes int64, kl float64) (plan *Plan, predicted float64) {
	t.Helper()
	best, err := allocate(s, m, base, bytes, kl)
	if err != nil {
		t.Fatal(err)
	}
	if plan, err = NewPlan(m, best.recipe); err != nil {
		t.Fatal(err)
	}
	if plan.Bytes != best.bytes {
		t.Errorf("a plan of %d bytes, said to take %d", plan.Bytes, best.bytes)
	}
	return plan, best.predicted
}

// allocate keeps a limit of bytes, or with 0 bytes of kl.
func allocate(s *Survey, m *model.Model, base *Recipe, bytes int64, kl float64) (allocation, error) {
	a, err := newAllocator(s, m, base, nil, nil)
	switch {
	case err != nil:
		return allocation{}, err
	case bytes > 0:
		return a.within(bytes)
	}
	return a.diverging(kl)
}

// largestStep returns the most that one matrix changes by between neighbouring
// schemes on its hull.
func largestStep(t testing.TB, m *model.Model, s *Survey) (most combination) {
	t.Helper()
	for _, slot := range m.Spec.Slots() {
		costs := s.cost[slot.Name]
		if costs == nil {
			continue
		}
		sizes, err := s.sizes(slot)
		ladder := ladder(costs, sizes, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(ladder); i++ {
			a, b := ladder[i-1], ladder[i]
			most.bytes, most.cost = max(most.bytes, sizes[b]-sizes[a]), max(most.cost, costs[a]-costs[b])
		}
	}
	return most
}

// Matrices that something holds together get one scheme, whatever limit stops between their
// upgrades, and the limit is kept.
func TestTogether(t *testing.T) {
	m := livelyModel(t, nil)
	base := &Recipe{Scheme: "int4/g32"}
	s := surveyed(t, m, 9, 3, "int3/g32", "int4/g32", "int5/g32", "int8/g32")
	held := map[string]string{"blocks.0.q": "qkv", "blocks.0.k": "qkv", "blocks.0.v": "qkv"}
	s.Together = func(name string) string { return held[name] }
	seen := map[Scheme]bool{}
	least, err := newAllocator(s, m, base, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for limit := least.bytes; limit < 2*least.bytes; limit += least.bytes / 30 {
		best, err := allocate(s, m, base, limit, 0)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := NewPlan(m, best.recipe)
		if err != nil {
			t.Fatal(err)
		}
		schemes := map[string]Scheme{}
		for _, e := range plan.Tensors {
			schemes[e.Name] = e.To
		}
		q := schemes["blocks.0.q"]
		if seen[q] = true; schemes["blocks.0.k"] != q || schemes["blocks.0.v"] != q || plan.Bytes > limit || plan.Bytes != best.bytes {
			t.Errorf("%d bytes: %d, said to be %d, with %v, %v, %v", limit, plan.Bytes, best.bytes, q, schemes["blocks.0.k"], schemes["blocks.0.v"])
		}
	}
	if len(seen) < 2 {
		t.Errorf("all limits gave %v", seen)
	}
}

// An allocation keeps its limit, and no other combination of schemes that keeps it
// is better by more than one step of one matrix.
func TestAllocate(t *testing.T) {
	m := livelyModel(t, nil)
	base := &Recipe{Scheme: "int4/g32"}
	for seed := range uint64(5) {
		s := surveyed(t, m, 6, seed, "int3/g32", "int4/g32", "int5/g32", "int8/g32")
		all := combinations(t, m, s, base)
		step := largestStep(t, m, s)
		least, most := slices.MinFunc(all, byBytes).bytes, slices.MaxFunc(all, byBytes).bytes
		for i := range 9 {
			limit := least + (most-least)*int64(i)/8
			plan, predicted := allocated(t, m, s, base, limit, 0)
			best := math.Inf(1)
			for _, c := range all {
				if c.bytes <= limit {
					best = min(best, c.cost)
				}
			}
			if plan.Bytes > limit {
				t.Errorf("seed %d: %d bytes, the limit is %d", seed, plan.Bytes, limit)
			}
			if predicted < best*(1-1e-9) || predicted > best+step.cost {
				t.Errorf("seed %d, %d bytes: predicts %v, the best is %v, a step at most %v", seed, limit, predicted, best, step.cost)
			}
			if sum := planned(s, plan); math.Abs(sum-predicted) > 1e-9*sum {
				t.Errorf("seed %d, %d bytes: predicts %v, its plan costs %v", seed, limit, predicted, sum)
			}
			checkDivergenceLimit(t, m, s, base, all, predicted*1.001)
		}
	}
}

// checkDivergenceLimit allocates for a limit on divergence.
func checkDivergenceLimit(t *testing.T, m *model.Model, s *Survey, base *Recipe, all []combination, kl float64) {
	t.Helper()
	plan, predicted := allocated(t, m, s, base, 0, kl)
	step := largestStep(t, m, s)
	best := int64(math.MaxInt64)
	for _, c := range all {
		if c.cost <= kl {
			best = min(best, c.bytes)
		}
	}
	if predicted > kl || plan.Bytes < best || plan.Bytes > best+step.bytes {
		t.Errorf("KL %v: predicts %v in %d bytes, the fewest are %d, a step at most %d", kl, predicted, plan.Bytes, best, step.bytes)
	}
}

func byBytes(a, b combination) int { return int(a.bytes - b.bytes) }

// planned returns what a plan costs by the survey.
func planned(s *Survey, p *Plan) (sum float64) {
	for _, e := range p.Tensors {
		if costs := s.cost[e.Name]; costs != nil {
			sum += costs[slices.Index(s.Schemes, e.To)]
		}
	}
	return sum
}

// Allocation keeps the rules of the base, and the same survey gives the same recipe.
func TestAllocateKeepsRules(t *testing.T) {
	m := livelyModel(t, nil)
	base := &Recipe{Scheme: "int4/g32", Rules: []Rule{{"blocks.*.down", "int6/row"}, {"embed", "f16"}}}
	s := surveyed(t, m, 99, 1, "int3/g32", "int4/g32", "int8/g32")
	all := slices.Clone(base.Rules)
	first, err := allocate(s, m, base, 20000, 0)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, base.Rules); diff != "" {
		t.Errorf("the base recipe was changed: %s", diff)
	}
	plan, err := NewPlan(m, first.recipe)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range plan.Tensors {
		switch {
		case strings.HasSuffix(e.Name, ".down") && e.To != scheme(t, "int6/row"), e.Name == model.Embed && e.To.Kind != qtensor.F16:
			t.Errorf("%s becomes %v against a rule", e.Name, e.To)
		}
	}
	for range 5 {
		again, err := allocate(s, m, base, 20000, 0)
		if diff := cmp.Diff(first.recipe, again.recipe); err != nil || diff != "" {
			t.Fatalf("%v: %s", err, diff)
		}
	}
}

func TestAllocateRefuses(t *testing.T) {
	m := livelyModel(t, nil)
	s := surveyed(t, m, 99, 1, "int3/g32", "int8/g32")
	base := &Recipe{Scheme: "int4/g32"}
	plan, err := NewPlan(m, &Recipe{Scheme: "int3/g32"})
	if err != nil {
		t.Fatal(err)
	}
	allocated(t, m, s, base, plan.Bytes, 0)
	best := allocatedBest(s)
	for _, c := range []struct {
		base  *Recipe
		bytes int64
		kl    float64
		want  string
	}{
		{base, plan.Bytes - 1, 0, fmt.Sprintf("the smallest schemes take %d bytes for tensors, more than the %d available", plan.Bytes, plan.Bytes-1)},
		{base, 0, best / 2, fmt.Sprintf("even the largest schemes have a predicted divergence of %.3g nats per token, more than the limit of %.3g", best, best/2)},
		{&Recipe{}, 1, 0, "no scheme is given"},
		{&Recipe{Scheme: "int4/g32", Rules: []Rule{{"nothing", "int8/g32"}}}, 1, 0, `rule "nothing" matches no tensor`},
	} {
		if _, err := allocate(s, m, c.base, c.bytes, c.kl); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("error is %v, want %q", err, c.want)
		}
	}
}

// allocatedBest returns the least divergence that a survey predicts.
func allocatedBest(s *Survey) (sum float64) {
	for _, costs := range s.cost {
		sum += slices.Min(costs)
	}
	return sum
}

// A ladder is the lower hull: every scheme lies on or above the line between the
// two steps around it.
func TestLadderIsTheLowerHull(t *testing.T) {
	slot := model.Slot{Name: "x", Rows: 8, Cols: 256, Role: model.Linear}
	r := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		s := &Survey{}
		var costs []float64
		for range 1 + r.IntN(9) {
			s.Schemes = append(s.Schemes, qtensor.Scheme{Kind: qtensor.Int, Bits: 2 + r.IntN(7), Group: 32 << r.IntN(3), Asym: r.IntN(2) == 0})
			costs = append(costs, float64(r.IntN(100)))
		}
		sizes, err := s.sizes(slot)
		ladder := ladder(costs, sizes, nil)
		if err != nil {
			t.Fatal(err)
		}
		if costs[ladder[len(ladder)-1]] != slices.Min(costs) || sizes[ladder[0]] != slices.Min(sizes) {
			t.Fatalf("ladder %v does not span sizes %v and costs %v", ladder, sizes, costs)
		}
		for i := 1; i < len(ladder); i++ {
			a, b := ladder[i-1], ladder[i]
			if sizes[b] <= sizes[a] || costs[b] >= costs[a] {
				t.Fatalf("ladder %v of sizes %v and costs %v does not fall", ladder, sizes, costs)
			}
			for k, c := range costs {
				if sizes[k] < sizes[a] || sizes[k] > sizes[b] {
					continue
				}
				line := costs[a] + (costs[b]-costs[a])*float64(sizes[k]-sizes[a])/float64(sizes[b]-sizes[a])
				if c < line-1e-9 {
					t.Fatalf("scheme %d lies below ladder %v of sizes %v and costs %v", k, ladder, sizes, costs)
				}
			}
		}
	}
}

// A survey for some of its schemes equals a survey of these alone.
func TestSurveyOnly(t *testing.T) {
	m := livelyModel(t, nil)
	texts := randomTexts(3, 40, m.Spec.Vocab)
	of := func(names ...string) *Survey {
		var schemes []qtensor.Scheme
		for _, name := range names {
			schemes = append(schemes, scheme(t, name))
		}
		s, err := NewSurvey(t.Context(), m, texts, schemes, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := of("int8/g32", "int4/g32/asym")
	got, err := of("int4/g32", "int4/g32/asym", "int6/g64", "int8/g32").Only(want.Schemes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.cost, got.cost); diff != "" || !slices.Equal(want.Schemes, got.Schemes) {
		t.Errorf("%v %v", got.Schemes, diff)
	}
	if _, err := got.Only([]qtensor.Scheme{scheme(t, "int5/g32")}); err == nil || err.Error() != "scheme int5/g32/sym was not surveyed" {
		t.Errorf("error is %v", err)
	}
}
