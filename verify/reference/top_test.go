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

// near compares with a tolerance that is absolute up to 1 and relative above it.
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

// topOf returns the k largest logits of a position after which token 0 follows, with a
// tail if sampled is set.
func topOf(t *testing.T, logits []float32, k int, sampled bool) *topPrompt {
	t.Helper()
	e := newTopEncoding(k)
	e.begin(&Prompt{IDs: []int{0, 0}, To: 1})
	if _, err := e.rows(t.Context(), logits, 1); err != nil {
		t.Fatal(err)
	}
	all := []entry{raw(t, "prompt.0.input_ids", "I64", []int{2}, []int64{0, 0}), raw(t, "prompt.0.scored", "I64", []int{2}, []int64{0, 1})}
	for _, x := range e.tensors() {
		if sampled || !strings.HasPrefix(x.kind, "tail") {
			all = append(all, entry{"prompt.0." + x.kind, x.dtype, x.shape, x.data})
		}
	}
	return open(t, write(t, all...)).prompts[0].Distribution.(*topPrompt)
}

// roundoff is the most that rounding logsumexp to float32 can change a divergence here.
const roundoff = 1e-5

func TestCompactBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := rapid.IntRange(1, 30).Draw(rt, "vocab")
		k := rapid.IntRange(1, v).Draw(rt, "k")
		logit := rapid.Float32Range(-10, 10)
		want := rapid.SliceOfN(logit, v, v).Draw(rt, "want")
		got := rapid.SliceOfN(logit, v, v).Draw(rt, "got")
		full, err := metric.Compare(want, got, 0, make([]float64, v), metric.Storage{})
		if err != nil {
			rt.Fatal(err)
		}
		sampled := rapid.Bool().Draw(rt, "sampled")
		s, err := topOf(t, want, k, sampled).Compare(new(Scratch), 0, got, 0)
		if err != nil {
			rt.Fatal(err)
		}
		// The sum is below 16, so its float32 is off by at most 2^-21; that moves as
		// much probability between what was kept and what was not, at the cost of
		// the largest |log p/q|, here below 40.
		const slack = roundoff + 40.0/(1<<21)
		if full.KL < s.KL-s.Spare-slack || full.KL > s.KL+s.Hidden+slack {
			rt.Fatalf("divergence %v is outside [%v, %v]", full.KL, s.KL-s.Spare, s.KL+s.Hidden)
		}
		if k == v && s.Hidden != 0 {
			rt.Fatalf("all logits kept, yet %v hidden", s.Hidden)
		}
		if s.Top1 != full.Top1 && k == v || s.NLL != full.NLL || s.MaxAbs > full.MaxAbs {
			rt.Fatalf("compact %+v, full %+v", s, full)
		}
		if !near(s.RefNLL, full.RefNLL, roundoff) {
			rt.Fatalf("-log p of the next token is %v, want %v", s.RefNLL, full.RefNLL)
		}
	})
}

// Both bounds are attained: the lower one if the reference shares the rest as the model
// does, the upper one if the rest goes to the tokens that are least likely in the model.
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
		full, err := metric.Compare(c.want, got, -1, make([]float64, len(got)), metric.Storage{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := topOf(t, c.want, 2, false).Compare(new(Scratch), 0, got, -1)
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

func TestTailErrors(t *testing.T) {
	got := []float32{4, 3, 2, 1, 0, -1}
	lse := float32(logits.LogSumExp(got, nil))
	for _, c := range []struct {
		scored  []int64
		next    float32
		counts  []int32
		ids     []int32
		logits  []float32
		step    float32
		want    string
		opening bool
	}{
		{[]int64{1, 2}, 0, []int32{2}, []int32{3, 1}, []float32{1, 3}, 0.2, "", false},
		{[]int64{2, 2}, 0, []int32{2}, []int32{3, 1}, []float32{1, 3}, 0.2, "prompt.0.scored: positions [2, 2) are not in a prompt of 2 tokens", true},
		{[]int64{1, 1 << 62}, 0, []int32{2}, []int32{3, 1}, []float32{1, 3}, 0.2, "prompt.0.scored: positions [1, 4611686018427387904) are not in a prompt of 2 tokens", true},
		{[]int64{0, 2}, 0, []int32{2}, []int32{3, 1}, []float32{1, 3}, 0.2, "prompt.0.topk_ids: shape is [1, 1], want [2, any]", true},
		{[]int64{1, 2}, 0, []int32{3}, []int32{3, 1}, []float32{1, 3}, 0.2, "prompt.0.tail_ids: shape is [2], want [3]", true},
		{[]int64{1, 2}, 0, []int32{0}, []int32{3, 1}, []float32{1, 3}, 0.2, "prompt.0.tail_ids: want no elements, as tail_counts says", true},
		{[]int64{1, 2}, 0, []int32{-1}, []int32{3, 1}, []float32{1, 3}, 0.2, "prompt.0.tail_counts: row 0: -1 tokens, want 0 to 4194304", true},
		{[]int64{1, 2}, 0, []int32{2}, []int32{3, 1}, []float32{1, 3}, 0, "prompt.0.tail_step: is 0, want more than 0 and at most 1", true},
		{[]int64{1, 2}, 0, []int32{2}, []int32{3, 1}, []float32{1, 3}, float32(math.NaN()), "prompt.0.tail_step: is NaN, want more than 0 and at most 1", true},
		{[]int64{1, 2}, 0, []int32{2}, []int32{3, 0}, []float32{1, 3}, 0.2, "prompt.0.tail_ids: row 0: token 0 occurs twice", false},
		{[]int64{1, 2}, 0, []int32{2}, []int32{3, 6}, []float32{1, 3}, 0.2, "prompt.0.tail_ids: row 0: token id 6 is outside the model's vocabulary of 6", false},
		{[]int64{1, 2}, 0, []int32{2}, []int32{3, 1}, []float32{1, 5}, 0.2, "prompt.0.tail_logits: row 0: token 1 has a larger logit than one of topk_ids", false},
		{[]int64{1, 2}, float32(math.Inf(1)), []int32{2}, []int32{3, 1}, []float32{1, 3}, 0.2, "prompt.0.next_logits: row 0: is +Inf, and the largest logit 4", false},
	} {
		k := len(c.ids)
		path := write(t,
			raw(t, "prompt.0.input_ids", "I64", []int{2}, []int64{0, 0}),
			raw(t, "prompt.0.scored", "I64", []int{2}, c.scored),
			raw(t, "prompt.0.topk_ids", "I32", []int{1, 1}, []int32{0}),
			raw(t, "prompt.0.topk_logits", "F32", []int{1, 1}, []float32{4}),
			raw(t, "prompt.0.logsumexp", "F32", []int{1}, []float32{lse}),
			raw(t, "prompt.0.next_logits", "F32", []int{1}, []float32{c.next}),
			raw(t, "prompt.0.tail_counts", "I32", []int{1}, c.counts),
			raw(t, "prompt.0.tail_ids", "I32", []int{k}, c.ids),
			raw(t, "prompt.0.tail_logits", "F32", []int{k}, c.logits),
			raw(t, "prompt.0.tail_step", "F32", []int{1}, []float32{c.step}),
		)
		f, err := Open(path)
		if (err != nil) != c.opening {
			t.Errorf("want %q, Open returns %v", c.want, err)
		}
		if err == nil {
			defer f.Close()
			_, err = f.prompts[0].Distribution.Compare(new(Scratch), 1, got, -1)
		}
		if text := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && !strings.Contains(text, "safetensors: "+c.want) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

// A tail that lists every token is not a sample.
func TestTailIsNoSample(t *testing.T) {
	want := make([]float32, 300)
	e := newTopEncoding(1)
	e.begin(&Prompt{IDs: []int{0}, To: 1})
	if _, err := e.rows(t.Context(), want, 1); err != nil {
		t.Fatal(err)
	}
	all := []entry{raw(t, "prompt.0.input_ids", "I64", []int{1}, []int64{0})}
	for _, x := range e.tensors() {
		if x.kind == tensorTailStep {
			x.data = appendFloat(nil, 0.5)
		}
		all = append(all, entry{"prompt.0." + x.kind, x.dtype, x.shape, x.data})
	}
	_, err := open(t, write(t, all...)).prompts[0].Distribution.Compare(new(Scratch), 0, want, -1)
	if err == nil || !strings.Contains(err.Error(), "prompt.0.tail_counts: row 0: 299 tokens less likely than 0.5 are no sample of a probability of 0.9967") {
		t.Error(err)
	}
}

func TestKeepOrder(t *testing.T) {
	logits := []float32{1, 5, 3, 5, 3, 2, 5}
	for k := 1; k <= len(logits); k++ {
		p := topOf(t, logits, k, false)
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
