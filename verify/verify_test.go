package verify

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"runtime"
	"testing"

	"thimble/internal/logits"
	"thimble/verify/metric"
	"thimble/verify/reference"
	"thimble/verify/reference/referencetest"
)

// logs returns the logits that have the given probabilities, shifted.
func logs(shift float64, p ...float64) []float32 {
	x := make([]float32, len(p))
	for i, v := range p {
		x[i] = float32(math.Log(v) + shift)
	}
	return x
}

// near compares with a tolerance that is absolute up to 1 and relative above it.
func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(a), math.Abs(b)) || a != a && b != b
}

func TestRunByHand(t *testing.T) {
	const ln2 = math.Ln2
	ref := &referencetest.Rows{Width: 3, Logits: [][][]float32{
		{logs(0, 0.5, 0.25, 0.25), logs(1, 0.25, 0.25, 0.5)},
		{logs(-2, 0.5, 0.25, 0.25), {3, 3, 3}, logs(0, 0.25, 0.5, 0.25)},
	}}
	subject := &referencetest.Rows{Width: 3, Logits: [][][]float32{
		{logs(0, 0.25, 0.25, 0.5), logs(1, 0.25, 0.25, 0.5)},
		{logs(5, 0.5, 0.25, 0.25), {4, 4, 4}, logs(0, 0.25, 0.25, 0.5)},
	}}
	prompts := []reference.Prompt{{IDs: []int{0, 2}, From: 0, To: 2}, {IDs: []int{1, 0, 1}, From: 0, To: 3}}
	r, err := Run(t.Context(), reference.FromScorer(ref), subject, prompts, Options{})
	if err != nil {
		t.Fatal(err)
	}
	// Prompt 0: KL of the first position is 0.5 log 2 + 0.25 log 1/2 = log(2)/4,
	// of the second 0. Prompt 1: 0, 0 and log(2)/4.
	kl0, kl1 := ln2/8, ln2/12
	mean := 2 * ln2 / 4 / 5
	se := math.Sqrt(2/1*(math.Pow(2*(kl0-mean), 2)+math.Pow(3*(kl1-mean), 2))) / 5
	m := r.Metrics
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"kl_mean", float64(m.KLMean), mean},
		{"kl_mean_se", float64(m.KLMeanSE), se},
		{"kl_median", float64(m.KLMedian), 0},
		{"kl_p99", float64(m.KLP99), ln2 / 4},
		{"kl_hidden", float64(m.KLHidden), 0},
		{"top1_agreement", float64(m.Top1Agreement), 0.6}, // a tie in the reference counts either choice
		{"max_abs", float64(m.MaxAbs), 7},
		{"prompt 0 kl_mean", float64(r.Prompts[0].KLMean), kl0},
		{"prompt 1 kl_max", float64(r.Prompts[1].KLMax), ln2 / 4},
		// Next tokens: prompt 0 has id 2 after position 0; prompt 1 has 0 and 1.
		{"ppl_reference", float64(m.PPLReference), math.Exp((math.Log(4) + ln2 + math.Log(3)) / 3)},
		{"ppl", float64(m.PPL), math.Exp((ln2 + ln2 + math.Log(3)) / 3)},
		{"prompt 0 ppl", float64(r.Prompts[0].PPL), 2},
	} {
		if !near(c.got, c.want, 1e-7) { // the logits are rounded to float32
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
	if m.Tokens != 5 || r.Prompts[0].KLMaxAt != 0 || r.Prompts[1].KLMaxAt != 2 || !r.Pass {
		t.Errorf("tokens %d, worst positions %d and %d, pass %v", m.Tokens, r.Prompts[0].KLMaxAt, r.Prompts[1].KLMaxAt, r.Pass)
	}
}

func TestPerplexityAlone(t *testing.T) {
	subject := &referencetest.Rows{Width: 4, Logits: [][][]float32{{logs(0, 0.5, 0.25, 0.125, 0.125), logs(7, 0.125, 0.125, 0.25, 0.5)}}}
	r, err := Run(t.Context(), nil, subject, []reference.Prompt{{IDs: []int{0, 1}, From: 0, To: 2}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !near(float64(r.Metrics.PPL), 4, 1e-6) { // only position 0 has a next token, of probability 1/4
		t.Errorf("ppl = %v, want 4", r.Metrics.PPL)
	}
	for _, m := range MetricTable {
		if m.Unit != metric.Tokens {
			continue
		}
		if v := m.Of(&r.Metrics); v.Known() == m.Reference {
			t.Errorf("%s = %v without a reference", m.Name, v)
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(text, &back); err != nil || back.Metrics.KLMean.Known() || back.Metrics.PPL != r.Metrics.PPL {
		t.Errorf("%v: read back %+v from %s", err, back.Metrics, text)
	}
}

// referenceOf is like FromScorer, for a Scorer that may be nil.
func referenceOf(s *referencetest.Rows) reference.Reference {
	if s == nil {
		return nil
	}
	return reference.FromScorer(s)
}

func TestRunErrors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	good := &referencetest.Rows{Width: 2, Logits: [][][]float32{{{1, 2}, {3, 4}}}}
	bad := func(v float32) *referencetest.Rows {
		return &referencetest.Rows{Width: 2, Logits: [][][]float32{{{1, 2}, {3, v}}}}
	}
	one := []reference.Prompt{{IDs: []int{0, 1}, From: 0, To: 2}}
	for _, c := range []struct {
		ref, model *referencetest.Rows
		prompts    []reference.Prompt
		gates      string
		want       string
	}{
		{good, bad(nan), one, "", "prompt 0: position 1: the model's logit of token 1 is NaN; thimble convert names a weight that is not finite"},
		{nil, bad(inf), one, "", "prompt 0: position 1: the model's logit of token 1 is +Inf; thimble convert names a weight that is not finite"},
		{bad(-inf), good, one, "", "prompt 0: position 1: the reference's logit of token 1 is -Inf"},
		{good, good, nil, "", "there are no prompts to score"},
		{good, good, []reference.Prompt{{IDs: []int{0, 2}, From: 0, To: 2}}, "", "prompt 0, position 1: token id 2 is outside the model's vocabulary of 2"},
		{good, good, []reference.Prompt{{IDs: []int{0, -1}, From: 0, To: 2}}, "", "prompt 0, position 1: token id -1 is outside the model's vocabulary of 2"},
		{good, good, []reference.Prompt{{IDs: []int{0, 1}, From: 1, To: 1}}, "", "prompt 0: positions [1, 1) are not in a prompt of 2 tokens"},
		{good, good, []reference.Prompt{{IDs: []int{0, 1}, From: 0, To: 3}}, "", "prompt 0: positions [0, 3) are not in a prompt of 2 tokens"},
		{good, good, []reference.Prompt{{IDs: []int{1, 1}, From: 0, To: 2}}, "", "prompt 0: reference: no prompt 1"},
		{nil, good, []reference.Prompt{{IDs: []int{1, 1}, From: 0, To: 2}}, "", "prompt 0: model: no prompt 1"},
		{&referencetest.Rows{Width: 3, Logits: nil}, good, one, "", "the reference scores a vocabulary of 3, the model one of 2: they are not the same model"},
		{nil, good, one, "kl_mean<=1", "gate kl_mean<=1: kl_mean compares with a reference: name one by --reference or --against"},
		{good, good, one, "kl_mean_se<=1", "gate kl_mean_se<=1: these prompts and this reference give no kl_mean_se"},
	} {
		var o Options
		if c.gates != "" {
			g, err := ParseGate(c.gates)
			if err != nil {
				t.Fatal(err)
			}
			o.Gates = []Gate{g}
		}
		if _, err := Run(t.Context(), referenceOf(c.ref), c.model, c.prompts, o); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, referenceOf(good), good, one, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ended with %v", err)
	}
}

func TestSameBitsOnAnyCores(t *testing.T) {
	ref, subject, prompts := referencetest.Noisy(1, 257, 130, 1, 64, 65)
	var first string
	for _, procs := range []int{1, 8, 3} {
		before := runtime.GOMAXPROCS(procs)
		r, err := Run(t.Context(), reference.FromScorer(ref), subject, prompts, Options{Gates: gatePair(1, 0.5)})
		runtime.GOMAXPROCS(before)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(text)
		}
		if string(text) != first {
			t.Errorf("GOMAXPROCS %d: %s\nwant %s", procs, text, first)
		}
	}
}

func TestExtremeLogits(t *testing.T) {
	const big = math.MaxFloat32
	for _, c := range [][2][]float32{
		{{big, -big, 0}, {-big, big, 0}},
		{{0, 0, 0}, {big, 0, 0}},
		{{-big, -big, -big}, {0, 0, 0}},
		{{math.SmallestNonzeroFloat32, 0, 0}, {0, 0, 0}},
	} {
		ref := &referencetest.Rows{Width: 3, Logits: [][][]float32{{c[0], c[1]}}}
		subject := &referencetest.Rows{Width: 3, Logits: [][][]float32{{c[1], c[0]}}}
		r, err := Run(t.Context(), reference.FromScorer(ref), subject, []reference.Prompt{{IDs: []int{0, 1}, From: 0, To: 2}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range MetricTable {
			if m.Unit != metric.Tokens {
				continue
			}
			if v := float64(m.Of(&r.Metrics)); math.IsInf(v, 0) || m.Name != "kl_mean_se" && m.Name != "beyond_rounding" && metric.Find(integrityTable, m.Name) == nil && v != v {
				t.Errorf("%v: %s = %v", c, m.Name, v)
			}
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
	}
}

// With many prompts an interval extends 1.96 standard errors to either side. The same
// seed gives the same interval.
func TestIntervalWidth(t *testing.T) {
	ref, subject, prompts := referencetest.Noisy(5, 64, 9, 11, 12, 9, 8, 13, 10, 9, 7, 12, 11, 10, 9, 12, 8, 11, 10, 9, 12, 13, 9, 8, 10, 11, 12)
	measure := func(seed uint64) *Report {
		r, err := Run(t.Context(), reference.FromScorer(ref), subject, prompts, Options{Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b, again := measure(0), measure(1), measure(0)
	in := a.Intervals[0]
	if got, want := float64(in.High-in.Low)/2, float64(1.96*a.Metrics.KLMeanSE); in.Metric != "kl_mean" || got < 0.85*want || got > 1.25*want {
		t.Errorf("%v, want %.4g to either side of %.4g", in, want, float64(a.Metrics.KLMean))
	}
	if len(a.Intervals) != 6 {
		t.Errorf("%d intervals, want %d", len(a.Intervals), 6)
	}
	for i := range a.Intervals {
		if a.Intervals[i] != again.Intervals[i] {
			t.Errorf("%v, and then %v", a.Intervals[i], again.Intervals[i])
		}
		if m, _ := metricNamed(a.Intervals[i].Metric); m.Of(&a.Metrics) < a.Intervals[i].Low || m.Of(&a.Metrics) > a.Intervals[i].High {
			t.Errorf("%v does not hold %v", a.Intervals[i], m.Of(&a.Metrics))
		}
	}
	if a.Intervals[0] == b.Intervals[0] {
		t.Errorf("seeds 0 and 1 draw the same prompts")
	}
	if r, err := Run(t.Context(), reference.FromScorer(ref), subject, prompts[:1], Options{}); err != nil || r.Intervals != nil {
		t.Errorf("one prompt gives %v, %v", r.Intervals, err)
	}
}

// The listed worst positions are those that a search over all positions finds.
func TestWorstTokens(t *testing.T) {
	ref, subject, prompts := referencetest.Noisy(3, 64, 40, 9, 33)
	r, err := Run(t.Context(), reference.FromScorer(ref), subject, prompts, Options{})
	if err != nil {
		t.Fatal(err)
	}
	flips, five, worst := 0, 0, Token{}
	for n, p := range prompts {
		want, err := ref.Score(t.Context(), p.IDs)
		if err != nil {
			t.Fatal(err)
		}
		got, err := subject.Score(t.Context(), p.IDs)
		if err != nil {
			t.Fatal(err)
		}
		for at := p.From; at < p.To; at++ {
			a, b := make([]float32, 64), make([]float32, 64)
			if err := want.Logits(t.Context(), a, at, 1); err != nil {
				t.Fatal(err)
			}
			if err := got.Logits(t.Context(), b, at, 1); err != nil {
				t.Fatal(err)
			}
			var sumA, sumB, kl float64
			for i := range a {
				sumA += math.Exp(float64(a[i]))
				sumB += math.Exp(float64(b[i]))
			}
			for i := range a {
				p, q := math.Exp(float64(a[i]))/sumA, math.Exp(float64(b[i]))/sumB
				kl += p * math.Log(p/q)
			}
			best, choice := logits.Argmax(a), logits.Argmax(b)
			if best != choice {
				flips++
			}
			rank := 0
			for _, v := range b {
				if v > b[best] {
					rank++
				}
			}
			if rank < 5 {
				five++
			}
			if kl > float64(worst.KL) {
				worst = Token{Prompt: n, Position: at, KL: metric.Value(kl), Reference: metric.Choice{ID: best, PReference: metric.Value(math.Exp(float64(a[best])) / sumA)},
					Model: metric.Choice{ID: choice, PModel: metric.Value(math.Exp(float64(b[choice])) / sumB)}}
			}
		}
	}
	first := r.WorstTokens[0]
	if first.Prompt != worst.Prompt || first.Position != worst.Position || first.Reference.ID != worst.Reference.ID || first.Model.ID != worst.Model.ID ||
		!near(float64(first.KL), float64(worst.KL), 1e-9) || !near(float64(first.Reference.PReference), float64(worst.Reference.PReference), 1e-9) ||
		!near(float64(first.Model.PModel), float64(worst.Model.PModel), 1e-9) {
		t.Errorf("%+v, want %+v", first, worst)
	}
	if ids := prompts[first.Prompt].IDs; first.Before[len(first.Before)-1] != ids[first.Position] || first.Position+1 < len(ids) && first.Next != ids[first.Position+1] {
		t.Errorf("%+v is not from %v", first, ids)
	}
	if len(r.WorstTokens) != listedTokens || r.Flips.Count != flips || !near(float64(r.Metrics.Top5Agreement), float64(five)/float64(r.Metrics.Tokens), 1e-12) {
		t.Errorf("%d tokens, %d flips, top5 %v; want %d flips, %d of %d", len(r.WorstTokens), r.Flips.Count, r.Metrics.Top5Agreement, flips, five, r.Metrics.Tokens)
	}
	for i, f := range r.Flips.Worst {
		if f.Reference.ID == f.Model.ID || i > 0 && f.Reference.PReference-f.Model.PReference > r.Flips.Worst[i-1].Reference.PReference-r.Flips.Worst[i-1].Model.PReference {
			t.Errorf("flip %d: %+v", i, f)
		}
	}
}
