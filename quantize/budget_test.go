package quantize

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize/rounding"
)

func TestBudgetCheck(t *testing.T) {
	schemes := []Scheme{scheme(t, "int4/g32"), scheme(t, "int8/g32")}
	for _, c := range []struct {
		b    Budget
		want string // "" for none
	}{
		{Budget{File: 1e6, Schemes: schemes}, ""},
		{Budget{Bits: 4.5, Schemes: schemes}, ""},
		{Budget{KL: 0.01, Top1: 0.9, Schemes: schemes}, ""},
		{Budget{Top1: 0.9, Schemes: schemes}, ""},
		{Budget{Schemes: schemes}, "a budget limits one of file size, bits per weight, and divergence"},
		{Budget{File: 1e6, KL: 0.1, Schemes: schemes}, "a budget limits one of"},
		{Budget{File: -1, Schemes: schemes}, "a budget of -1 bytes: want a positive number"},
		{Budget{Bits: 64, Schemes: schemes}, "a budget of 64 bits per weight: want a number between 0 and 64"},
		{Budget{Bits: math.NaN(), Schemes: schemes}, "a budget of NaN bits per weight"},
		{Budget{KL: -1, Schemes: schemes}, "a budget of KL -1: want a positive number of nats per token"},
		{Budget{KL: math.Inf(1), Schemes: schemes}, "a budget of KL +Inf"},
		{Budget{Top1: 1, Schemes: schemes}, "a budget of top-1 agreement 1: want a fraction between 0 and 1"},
		{Budget{Bits: 4}, "a budget needs schemes to choose from"},
		{Budget{Bits: 4, Schemes: []Scheme{{Kind: qtensor.F16}}}, "f16 is not an integer scheme"},
	} {
		err := c.b.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%v: error is %v, want %q", &c.b, err, c.want)
		}
	}
}

// A budget takes all of the default schemes.
func TestDefaultSchemes(t *testing.T) {
	for _, names := range [][]string{DefaultSchemes(), WideSchemes()} {
		b := Budget{Bits: 5}
		for text := range slices.Values(names) {
			b.Schemes = append(b.Schemes, scheme(t, text))
		}
		if err := b.Check(); err != nil || len(b.Schemes) < 7 {
			t.Errorf("%d schemes, %v", len(b.Schemes), err)
		}
	}
}

func TestBudgetCompletesARecipe(t *testing.T) {
	b := &Budget{Schemes: []Scheme{scheme(t, "int5/g64"), scheme(t, "int4/g32")}}
	tied, untied := testModel(t), livelyModel(t, func(s *model.Spec) { s.Tied = false })
	for _, c := range []struct {
		m          *Model
		have, want Recipe
	}{
		{tied, Recipe{}, Recipe{Scheme: "int5/g64/sym"}},
		{untied, Recipe{}, Recipe{Scheme: "int5/g64/sym", Embedding: "int8/g32"}},
		{untied, Recipe{Scheme: "f16", Embedding: "keep"}, Recipe{Scheme: "f16", Embedding: "keep"}},
	} {
		before := c.have
		if diff := cmp.Diff(&c.want, b.Complete(c.m, &c.have)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, c.have); diff != "" {
			t.Errorf("the recipe was changed: %s", diff)
		}
	}
}

// Choose lowers the limit on tensors by each excess of the file until there is none,
// and sizes no plan twice.
func TestBudgetOfAFile(t *testing.T) {
	m := livelyModel(t, nil)
	base := &Recipe{Scheme: "int4/g32"}
	size := func(p *Plan) (int64, error) { // header, tensors on pages
		bytes := int64(len(p.Recipe)) + 100
		for _, e := range p.Tensors {
			bytes = (bytes+127)/128*128 + e.Bytes
		}
		return bytes, nil
	}
	most := 0
	for seed := range uint64(5) {
		s := surveyed(t, m, 99, seed, "int2/g64", "int3/g32", "int4/g64", "int4/g32", "int5/g32/asym", "int6/g64", "int8/g32")
		a, err := newAllocator(s, m, base, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for limit := a.bytes; limit < 4*a.bytes; limit += a.bytes / 7 {
			want, failed := naiveFile(t, a, m, limit, size)
			var sized []string
			r, predicted, err := (&Budget{File: limit}).Choose(m, base, s, File{Size: func(p *Plan) (int64, error) {
				sized = append(sized, p.Recipe)
				return size(p)
			}})
			if (err != nil) != failed {
				t.Fatalf("seed %d, %d bytes: %v", seed, limit, err)
			}
			most = max(most, len(sized))
			if slices.Sort(sized); len(slices.Compact(slices.Clone(sized))) != len(sized) {
				t.Errorf("seed %d, %d bytes: a plan was sized twice", seed, limit)
			}
			if err == nil && (predicted != want.predicted || !slices.Equal(r.Rules, want.recipe.Rules)) {
				t.Errorf("seed %d, %d bytes: chose %v, want %v", seed, limit, r.Rules, want.recipe.Rules)
			}
		}
	}
	t.Logf("at most %d plans were sized", most)
	boom := errors.New("boom")
	s := surveyed(t, m, 99, 1, "int3/g32", "int8/g32")
	if _, _, err := (&Budget{File: 1e9}).Choose(m, base, s, File{Size: func(*Plan) (int64, error) { return 0, boom }}); err != boom {
		t.Errorf("error is %v, want %v", err, boom)
	}
}

// A file may store some tensors more than once. A limit on it then counts each copy, and
// is not met by a file much smaller than it need be.
func TestCopies(t *testing.T) {
	m := livelyModel(t, nil)
	copies := func(name string) int {
		if strings.HasPrefix(name, "blocks.0.") {
			return 3
		}
		return 1
	}
	size := func(p *Plan) (bytes int64, err error) {
		for _, e := range p.Tensors {
			bytes += int64(copies(e.Name)) * e.Bytes
		}
		return bytes + 999, nil
	}
	s := surveyed(t, m, 99, 1, "int2/g64", "int3/g32", "int4/g64", "int4/g32", "int5/g32/asym", "int6/g64", "int8/g32")
	base := &Recipe{Scheme: "int4/g32"}
	smallest, err := newAllocator(s, m, base, copies, nil)
	if err != nil {
		t.Fatal(err)
	}
	largest := int64(0)
	for _, slot := range m.Spec.Slots() {
		largest = max(largest, int64(slot.Rows)*int64(slot.Cols)*3) // more than any upgrade takes
	}
	for limit := smallest.bytes + 999; limit < 3*smallest.bytes; limit += smallest.bytes / 9 {
		r, _, err := (&Budget{File: limit}).Choose(m, base, s, File{Size: size, Copies: copies})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := NewPlan(m, r)
		if err != nil {
			t.Fatal(err)
		}
		if bytes, _ := size(plan); bytes > limit || bytes < limit-largest && plan.BitsPerWeight() < 7 {
			t.Errorf("a file of %d bytes for a limit of %d", bytes, limit)
		}
	}
}

// naiveFile lowers the limit on tensors until the file is small enough.
func naiveFile(t *testing.T, a *allocator, m *Model, limit int64, size func(*Plan) (int64, error)) (best allocation, failed bool) {
	t.Helper()
	for tensors := limit; ; {
		best, err := a.within(tensors)
		if err != nil {
			return best, true
		}
		plan, err := NewPlan(m, best.recipe)
		if err != nil {
			t.Fatal(err)
		}
		bytes, _ := size(plan)
		if bytes <= limit {
			return best, false
		}
		tensors -= bytes - limit
	}
}

// searched runs a measured search on a model whose measured divergence is off times
// the predicted one.
func searched(t *testing.T, b *Budget, off float64) (trial *Trial, trials int, err error) {
	t.Helper()
	m := livelyModel(t, nil)
	s := surveyed(t, m, 99, 1, "int2/g64", "int3/g32", "int4/g64", "int4/g32", "int5/g32/asym", "int6/g64", "int8/g32")
	scale := 0.0
	for _, costs := range s.cost {
		scale += slices.Max(costs)
	}
	for _, costs := range s.cost { // the smallest schemes diverge by 1
		for i := range costs {
			costs[i] /= scale
		}
	}
	c := randomTexts(3, 40, m.Spec.Vocab)
	c.Spare = randomTexts(1, 20, m.Spec.Vocab).Texts
	mine := &Health{}
	c.Health = mine
	weights, done := int64(0), int64(-1)
	base := &Recipe{Scheme: "int4/g32", Method: rounding.MethodGPTQ, Texts: &Texts{}}
	trial, err = b.MeasuredSearch(t.Context(), m, base, s, c, SearchOptions{
		Progress: func(n int, w int64) {
			if w == 0 {
				trials++
			}
			if n != trials || w != 0 && w <= done {
				t.Errorf("trial %d, %d weights after trial %d, %d", n, w, trials, done)
			}
			done = w
		},
		Measure: func(_ context.Context, coarse *Model, texts [][]int) (Measurement, error) {
			if err := coarse.Check(); err != nil || len(texts) != 1 {
				t.Errorf("%d texts, %v", len(texts), err)
			}
			weights, _ = coarse.Size()
			sum := 0.0
			for name, costs := range s.cost {
				sum += costs[slices.Index(s.Schemes, coarse.Tensors[name].Scheme)]
			}
			kl := off * sum
			return Measurement{Tokens: 10, KL: kl, Top1: 1 - 0.55*math.Sqrt(kl)}, nil
		},
	})
	if err == nil && (done != weights || trial.Health == nil || trial.Health == mine || len(mine.Inputs) > 0) {
		t.Errorf("%d of %d weights, health %v", done, weights, trial.Health)
	}
	return trial, trials, err
}

// A search ends within the limit and not far below it, if predictions are off by the
// same factor throughout.
func TestMeasuredSearch(t *testing.T) {
	if testing.Short() {
		t.Skip("quantizes many times")
	}
	for _, off := range []float64{0.5, 1, 1.4, 3} {
		for _, b := range []*Budget{{KL: 0.05}, {Top1: 1 - 0.55*math.Sqrt(0.05)}, {KL: 0.05, Top1: 0.5}, {KL: 1, Top1: 1 - 0.55*math.Sqrt(0.05)}} {
			trial, trials, err := searched(t, b, off)
			if err != nil {
				t.Errorf("%v, off by %g: %v", b, off, err)
				continue
			}
			if kl := trial.Measured.KL; kl > 0.05*(1+1e-9) || kl < 0.6*0.05 || trials > 3 {
				t.Errorf("%v, off by %g: KL %.4f after %d trials", b, off, kl, trials)
			}
			if math.Abs(trial.PredictedKL*off-trial.Measured.KL) > 1e-9 {
				t.Errorf("%v, off by %g: KL %g predicted, %g measured", b, off, trial.PredictedKL, trial.Measured.KL)
			}
			var out collect
			if err := trial.Replay(&out); err != nil || !slices.Equal(out, trial.Tensors) {
				t.Errorf("replayed %d tensors of %d, %v", len(out), len(trial.Tensors), err)
			}
		}
	}
	if _, trials, err := searched(t, &Budget{KL: 1e-4}, 1); err == nil || trials != 1 ||
		!strings.HasPrefix(err.Error(), "the smallest divergence tried is KL 0.0") || !strings.HasSuffix(err.Error(), "beyond a KL of 0.0001") {
		t.Errorf("error after %d trials is %v", trials, err)
	}
	m := livelyModel(t, nil)
	if _, err := (&Budget{KL: 1}).MeasuredSearch(t.Context(), m, &Recipe{Scheme: "int4/g32"}, &Survey{}, randomTexts(1, 9, 30), SearchOptions{}); err == nil ||
		!strings.Contains(err.Error(), "and there are none") {
		t.Errorf("error is %v", err)
	}
}
