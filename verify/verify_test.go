package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"thimble/internal/qtensor"
)

// rows is a Subject whose logits are written down: those of position p of the
// prompt whose first id is i are at i, p.
type rows struct {
	vocab  int
	logits [][][]float32
}

func (r *rows) Vocab() int { return r.vocab }

func (r *rows) Score(_ context.Context, ids []int) (Logits, error) {
	if ids[0] >= len(r.logits) {
		return nil, fmt.Errorf("no prompt %d", ids[0])
	}
	return promptRows(r.logits[ids[0]]), nil
}

type promptRows [][]float32

func (p promptRows) Rows(_ context.Context, dst []float32, from, n int) error {
	for i, row := range p[from : from+n] {
		copy(dst[i*len(row):(i+1)*len(row)], row)
	}
	return nil
}

// logs returns the logits that have the given probabilities, shifted.
func logs(shift float64, p ...float64) []float32 {
	x := make([]float32, len(p))
	for i, v := range p {
		x[i] = float32(math.Log(v) + shift)
	}
	return x
}

// near compares with a tolerance that is relative above 1.
func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(a), math.Abs(b)) || a != a && b != b
}

func TestRunByHand(t *testing.T) {
	const ln2 = math.Ln2
	ref := &rows{3, [][][]float32{
		{logs(0, 0.5, 0.25, 0.25), logs(1, 0.25, 0.25, 0.5)},
		{logs(-2, 0.5, 0.25, 0.25), {3, 3, 3}, logs(0, 0.25, 0.5, 0.25)},
	}}
	subject := &rows{3, [][][]float32{
		{logs(0, 0.25, 0.25, 0.5), logs(1, 0.25, 0.25, 0.5)},
		{logs(5, 0.5, 0.25, 0.25), {4, 4, 4}, logs(0, 0.25, 0.25, 0.5)},
	}}
	prompts := []Prompt{{[]int{0, 2}, 0, 2}, {[]int{1, 0, 1}, 0, 3}}
	r, err := Run(t.Context(), ref, subject, prompts, Options{})
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
	subject := &rows{4, [][][]float32{{logs(0, 0.5, 0.25, 0.125, 0.125), logs(7, 0.125, 0.125, 0.25, 0.5)}}}
	r, err := Run(t.Context(), nil, subject, []Prompt{{[]int{0, 1}, 0, 2}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !near(float64(r.Metrics.PPL), 4, 1e-6) { // only position 0 has a next token, of probability 1/4
		t.Errorf("ppl = %v, want 4", r.Metrics.PPL)
	}
	for _, m := range metrics {
		if v := m.of(&r.Metrics); v.Known() == m.reference {
			t.Errorf("%s = %v without a reference", m.name, v)
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

func TestRunErrors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	good := &rows{2, [][][]float32{{{1, 2}, {3, 4}}}}
	bad := func(v float32) *rows { return &rows{2, [][][]float32{{{1, 2}, {3, v}}}} }
	one := []Prompt{{[]int{0, 1}, 0, 2}}
	for _, c := range []struct {
		ref, model Subject
		prompts    []Prompt
		gates      string
		want       string
	}{
		{good, bad(nan), one, "", "prompt 0: position 1: the model's logit of token 1 is NaN"},
		{nil, bad(inf), one, "", "prompt 0: position 1: the model's logit of token 1 is +Inf"},
		{bad(-inf), good, one, "", "prompt 0: position 1: the reference's logit of token 1 is -Inf"},
		{good, good, nil, "", "there are no prompts to score"},
		{good, good, []Prompt{{[]int{0, 2}, 0, 2}}, "", "prompt 0, position 1: token id 2 is outside the model's vocabulary of 2"},
		{good, good, []Prompt{{[]int{0, -1}, 0, 2}}, "", "prompt 0, position 1: token id -1 is outside the model's vocabulary of 2"},
		{good, good, []Prompt{{[]int{0, 1}, 1, 1}}, "", "prompt 0: positions [1, 1) are not in a prompt of 2 tokens"},
		{good, good, []Prompt{{[]int{0, 1}, 0, 3}}, "", "prompt 0: positions [0, 3) are not in a prompt of 2 tokens"},
		{good, good, []Prompt{{[]int{1, 1}, 0, 2}}, "", "prompt 0: reference: no prompt 1"},
		{nil, good, []Prompt{{[]int{1, 1}, 0, 2}}, "", "prompt 0: model: no prompt 1"},
		{&rows{3, nil}, good, one, "", "the reference scores a vocabulary of 3, the model one of 2: they are not the same model"},
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
		if _, err := Run(t.Context(), c.ref, c.model, c.prompts, o); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, good, good, one, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run ended with %v", err)
	}
}

func TestTextPrompts(t *testing.T) {
	ids := make([]int, 23)
	for i := range ids {
		ids[i] = i
	}
	ps, err := TextPrompts(ids, 7, 0, 99)
	if err != nil {
		t.Fatal(err)
	}
	want := []Prompt{{[]int{99, 1, 2, 3, 4, 5, 6}, 3, 6}, {[]int{99, 8, 9, 10, 11, 12, 13}, 3, 6}, {[]int{99, 15, 16, 17, 18, 19, 20}, 3, 6}}
	if fmt.Sprint(ps) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", ps, want)
	}
	if ps, err = TextPrompts(ids, 8, 1, -1); err != nil || len(ps) != 1 || ps[0].IDs[0] != 0 || ps[0].From != 4 || ps[0].To != 7 {
		t.Errorf("got %v, %v", ps, err)
	}
	if !slices.Equal(ids[:8], []int{0, 1, 2, 3, 4, 5, 6, 7}) {
		t.Error("TextPrompts wrote to its input")
	}
	for _, c := range []struct {
		context, chunks int
		want            string
	}{
		{2, 0, "a context of 2 tokens is out of range, want 3 to 16777216"},
		{24, 0, "the text has 23 tokens, less than one chunk of 24: use a longer text or a smaller --context"},
		{8, 3, "the text has 23 tokens, enough for 2 chunks of 8, not for 3: use a longer text or --chunks 2"},
		{8, -1, "-1 chunks: want a positive number, or 0 for the whole text"},
	} {
		if _, err := TextPrompts(ids, c.context, c.chunks, -1); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

// noisy returns a Subject of random logits and one with some noise added, and
// prompts for them.
func noisy(seed uint64, vocab int, lengths ...int) (ref, subject *rows, prompts []Prompt) {
	rng := rand.New(rand.NewPCG(seed, 1))
	ref, subject = &rows{vocab: vocab}, &rows{vocab: vocab}
	for i, n := range lengths {
		var a, b [][]float32
		ids := make([]int, n)
		for t := range n {
			x, y := make([]float32, vocab), make([]float32, vocab)
			for j := range x {
				x[j] = float32(3 * rng.NormFloat64())
				y[j] = x[j] + float32(0.3*rng.NormFloat64())
			}
			a, b = append(a, x), append(b, y)
			ids[t] = rng.IntN(vocab)
		}
		ids[0] = i
		ref.logits, subject.logits = append(ref.logits, a), append(subject.logits, b)
		prompts = append(prompts, Prompt{ids, 0, n})
	}
	return ref, subject, prompts
}

func TestSameBitsOnAnyCores(t *testing.T) {
	ref, subject, prompts := noisy(1, 257, 130, 1, 64, 65)
	var first string
	for _, procs := range []int{1, 8, 3} {
		before := runtime.GOMAXPROCS(procs)
		r, err := Run(t.Context(), ref, subject, prompts, Options{Gates: gatePair(1, 0.5)})
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

// slowKL is the definition, naively: the divergence and the two -log p of token 0.
func slowKL(want, got []float32) (kl, nllWant, nllGot float64) {
	soft := func(x []float32) []float64 {
		p, sum := make([]float64, len(x)), 0.0
		top := float64(slices.Max(x))
		for i, v := range x {
			p[i] = math.Exp(float64(v) - top)
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	p, q := soft(want), soft(got)
	for i := range p {
		kl += p[i] * math.Log(p[i]/q[i])
	}
	return kl, -math.Log(p[0]), -math.Log(q[0])
}

func TestCompareMatchesSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.IntRange(1, 40).Draw(t, "vocab")
		logit := rapid.Float32Range(-20, 20)
		want := rapid.SliceOfN(logit, v, v).Draw(t, "want")
		got := rapid.SliceOfN(logit, v, v).Draw(t, "got")
		var l lane
		s, err := l.compare(want, got, 0)
		if err != nil {
			t.Fatal(err)
		}
		kl, nllWant, nllGot := slowKL(want, got)
		if !near(s.kl, kl, 1e-12) || !near(s.refNLL, nllWant, 1e-12) || !near(s.nll, nllGot, 1e-12) {
			t.Fatalf("got %v %v %v, want %v %v %v", s.kl, s.refNLL, s.nll, kl, nllWant, nllGot)
		}
		if s.kl < 0 || s.cosine < -1 || s.cosine > 1 || s.maxAbs < 0 {
			t.Fatalf("out of range: %+v", s)
		}
		alone, err := l.predict(got, 0)
		if err != nil || alone.nll != s.nll {
			t.Fatalf("alone %v, beside a reference %v, %v", alone.nll, s.nll, err)
		}
	})
}

func TestCompareProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Multiples of 1/64 below 64, so that adding a shift is exact.
		logit := rapid.Custom(func(t *rapid.T) float32 { return float32(rapid.IntRange(-4095, 4095).Draw(t, "n")) / 64 })
		v := rapid.IntRange(1, 40).Draw(t, "vocab")
		want := rapid.SliceOfN(logit, v, v).Draw(t, "want")
		got := rapid.SliceOfN(logit, v, v).Draw(t, "got")
		var l lane
		same, err := l.compare(want, want, -1)
		if err != nil || same.kl != 0 || !same.top1 || same.maxAbs != 0 || !near(same.cosine, 1, 1e-15) {
			t.Fatalf("compared with itself: %+v, %v", same, err)
		}
		before, err := l.compare(want, got, -1)
		if err != nil {
			t.Fatal(err)
		}
		shift := float32(rapid.IntRange(-1000, 1000).Draw(t, "shift"))
		for i := range got {
			got[i] += shift
		}
		after, err := l.compare(want, got, -1)
		if err != nil || !near(before.kl, after.kl, 1e-12) || before.top1 != after.top1 {
			t.Fatalf("shifted by %v: %+v became %+v, %v", shift, before, after, err)
		}
	})
}

func TestExtremeLogits(t *testing.T) {
	const big = math.MaxFloat32
	for _, c := range [][2][]float32{
		{{big, -big, 0}, {-big, big, 0}},
		{{0, 0, 0}, {big, 0, 0}},
		{{-big, -big, -big}, {0, 0, 0}},
		{{math.SmallestNonzeroFloat32, 0, 0}, {0, 0, 0}},
	} {
		ref := &rows{3, [][][]float32{{c[0], c[1]}}}
		subject := &rows{3, [][][]float32{{c[1], c[0]}}}
		r, err := Run(t.Context(), ref, subject, []Prompt{{[]int{0, 1}, 0, 2}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metrics {
			if v := float64(m.of(&r.Metrics)); math.IsInf(v, 0) || m.name != "kl_mean_se" && m.name != "beyond_rounding" && v != v {
				t.Errorf("%v: %s = %v", c, m.name, v)
			}
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
	}
}

func schemeOf(t *testing.T, text string) qtensor.Scheme {
	t.Helper()
	s, err := qtensor.ParseScheme(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
