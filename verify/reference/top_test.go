package reference

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"thimble/internal/logits"
	"thimble/verify/metric"
)

// near compares with a tolerance that is relative above 1.
func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(a), math.Abs(b)) || a != a && b != b
}

// compactRow opens a compact reference of one position.
func compactRow(t *testing.T, ids []int32, logits []float32, total float32) *topPrompt {
	t.Helper()
	k := len(ids)
	r := open(t, write(t,
		raw(t, "prompt.0.input_ids", "I64", []int{1}, []int64{0}),
		raw(t, "prompt.0.topk_ids", "I32", []int{1, k}, ids),
		raw(t, "prompt.0.topk_logits", "F32", []int{1, k}, logits),
		raw(t, "prompt.0.logsumexp", "F32", []int{1}, []float32{total}),
	))
	return r.prompts[0].Distribution.(*topPrompt)
}

// topOf returns the k largest logits.
func topOf(t *testing.T, logits []float32, k int) *topPrompt {
	t.Helper()
	e := newTopEncoding(k)
	if _, err := e.rows(t.Context(), logits, 1); err != nil {
		t.Fatal(err)
	}
	r := open(t, write(t,
		raw(t, "prompt.0.input_ids", "I64", []int{1}, []int64{0}),
		entry{"prompt.0.topk_ids", "I32", []int{1, k}, e.ids},
		entry{"prompt.0.topk_logits", "F32", []int{1, k}, e.logits},
		entry{"prompt.0.logsumexp", "F32", []int{1}, e.lse},
	))
	return r.prompts[0].Distribution.(*topPrompt)
}

// roundoff is what float32's rounding of logsumexp can do to a divergence here.
const roundoff = 1e-5

func TestCompactBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := rapid.IntRange(1, 30).Draw(rt, "vocab")
		k := rapid.IntRange(1, v).Draw(rt, "k")
		logit := rapid.Float32Range(-10, 10)
		want := rapid.SliceOfN(logit, v, v).Draw(rt, "want")
		got := rapid.SliceOfN(logit, v, v).Draw(rt, "got")
		full, err := metric.Compare(want, got, 0, make([]float64, v))
		if err != nil {
			rt.Fatal(err)
		}
		s, err := topOf(t, want, k).Compare(new(Scratch), 0, got, 0)
		if err != nil {
			rt.Fatal(err)
		}
		// The sum is below 16, so its float32 is off by at most 2^-21; that moves as
		// much probability between what was kept and what was not, at the cost of
		// the largest |log p/q|, here below 40.
		const slack = roundoff + 40.0/(1<<21)
		if full.KL < s.KL-slack || full.KL > s.KL+s.Hidden+slack {
			rt.Fatalf("divergence %v is outside [%v, %v]", full.KL, s.KL, s.KL+s.Hidden)
		}
		if k == v && s.Hidden != 0 {
			rt.Fatalf("all logits kept, yet %v hidden", s.Hidden)
		}
		if s.Top1 != full.Top1 && k == v || s.NLL != full.NLL || s.MaxAbs > full.MaxAbs {
			rt.Fatalf("compact %+v, full %+v", s, full)
		}
		if s.RefNLL == s.RefNLL && !near(s.RefNLL, full.RefNLL, roundoff) {
			rt.Fatalf("-log p of the next token is %v, want %v", s.RefNLL, full.RefNLL)
		}
	})
}

// Both bounds are reached: the lower where the rest is shared as the model has
// it, the upper where it goes to the tokens that the model likes least.
func TestCompactBoundsAreTight(t *testing.T) {
	got := []float32{2, 1, 0.5, -1, 0, -3, 1.5, -2}
	for _, c := range []struct {
		name  string
		want  []float32
		reach func(s metric.Score) float64
	}{
		{"lower", []float32{5, 4, 0.5 - 1, -1 - 1, 0 - 1, -3 - 1, 1.5 - 1, -2 - 1}, func(s metric.Score) float64 { return s.KL }},
		{"upper", []float32{5, 4, -99, 4, -99, 4, -99, 4}, func(s metric.Score) float64 { return s.KL + s.Hidden }},
		{"upper, a part left over", []float32{5, 4, -99, 3, -99, 4, -99, 4}, func(s metric.Score) float64 { return s.KL + s.Hidden }},
	} {
		full, err := metric.Compare(c.want, got, -1, make([]float64, len(got)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := topOf(t, c.want, 2).Compare(new(Scratch), 0, got, -1)
		if err != nil {
			t.Fatal(err)
		}
		if bound := c.reach(s); math.Abs(bound-full.KL) > roundoff {
			t.Errorf("%s bound is %v, the divergence %v", c.name, bound, full.KL)
		}
	}
}

func TestCompactErrors(t *testing.T) {
	got := []float32{1, 2, 3}
	lse := float32(logits.LogSumExp(got, nil))
	nan := float32(math.NaN())
	for _, c := range []struct {
		ids    []int32
		logits []float32
		total  float32
		want   string
	}{
		{[]int32{2, 3}, []float32{3, 2}, lse, "prompt.0.topk_ids: row 0: token id 3 is outside the model's vocabulary of 3"},
		{[]int32{2, -1}, []float32{3, 2}, lse, "prompt.0.topk_ids: row 0: token id -1 is outside the model's vocabulary of 3"},
		{[]int32{2, 2}, []float32{3, 2}, lse, "prompt.0.topk_ids: row 0: token 2 occurs twice"},
		{[]int32{2, 1}, []float32{3, nan}, lse, "prompt.0.topk_logits: row 0: the logit of token 1 is NaN"},
		{[]int32{2, 1}, []float32{3, 2}, nan, "prompt.0.logsumexp: row 0: is NaN"},
		{[]int32{2, 1}, []float32{3, 2}, 3, "prompt.0.logsumexp: row 0: contradicts the kept logits: with it all tokens together have a probability of 1.368"},
		{[]int32{2, 1}, []float32{3, 2}, 5, "prompt.0.logsumexp: row 0: contradicts the kept logits: with it all tokens together have a probability of 0.2349"},
		{[]int32{2, 1}, []float32{3, 2}, 3e38, "prompt.0.logsumexp: row 0: contradicts the kept logits: with it all tokens together have a probability of 0"},
	} {
		_, err := compactRow(t, c.ids, c.logits, c.total).Compare(new(Scratch), 0, got, -1)
		if err == nil || !strings.HasSuffix(err.Error(), "safetensors: "+c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	if _, err := compactRow(t, []int32{2, 1}, []float32{3, 2}, lse).Compare(new(Scratch), 0, got, -1); err != nil {
		t.Error(err)
	}
}

func TestKeepOrder(t *testing.T) {
	logits := []float32{1, 5, 3, 5, 3, 2, 5}
	for k := 1; k <= len(logits); k++ {
		p := topOf(t, logits, k)
		row, err := p.row(0, len(logits), make([]bool, len(logits)))
		if err != nil {
			t.Fatal(err)
		}
		if want := []int32{1, 3, 6, 2, 4, 5, 0}[:k]; !slices.Equal(row.ids, want) {
			t.Errorf("top %d is %v, want %v", k, row.ids, want)
		}
		for i, id := range row.ids {
			if row.logits[i] != logits[id] {
				t.Error(fmt.Sprint("logits ", row.logits, " of ", row.ids))
			}
		}
	}
}
