package verify

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// The first numbers of the reference implementation (Vigna, splitmix64.c).
func TestSplitMix(t *testing.T) {
	s := splitMix(1234567)
	for _, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := s.next(); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	var seen [7]int
	for range 7000 {
		seen[s.below(7)]++
	}
	for i, n := range seen {
		if n < 850 || n > 1150 {
			t.Errorf("%d came %d times of 7000", i, n)
		}
	}
}

func TestTailShare(t *testing.T) {
	for _, c := range []struct {
		n    int
		want float64
	}{{2, 0}, {10, 0.0085506}, {40, 0.0202575}, {100000, 0.024998}} {
		if got := tailShare(c.n); math.Abs(got-c.want) > 1e-5 {
			t.Errorf("%d prompts leave out %.6f, want %.6f", c.n, got, c.want)
		}
	}
	for freedom, want := range map[int]float64{1: 12.7062, 8: 2.3060, 9: 2.26216, 30: 2.04227, 1000: 1.96234} {
		if got := studentQuantile(freedom); math.Abs(got-want) > 5e-4 {
			t.Errorf("Student's t with %d: %.5f, want %.5f", freedom, got, want)
		}
	}
}

// drawPrompts are prompts whose divergence is spread as those of texts are: far
// to the right, and alike within a prompt. Its mean over all texts is 1.
func drawPrompts(random *rand.Rand, n int) []scored {
	prompts := make([]scored, n)
	for i := range prompts {
		own := math.Exp(0.4*random.NormFloat64() - 0.08)
		prompts[i].scores = make([]score, 20)
		for at := range prompts[i].scores {
			s := noScore()
			s.kl = own * random.ExpFloat64()
			s.top1 = random.Float64() < 0.9
			prompts[i].scores[at] = s
		}
	}
	return prompts
}

// Of 400 intervals, each from other prompts, about 95 % hold the true mean.
func TestIntervalCoverage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, prompts := range []int{8, 32} {
		kl, top1 := 0, 0
		const times = 400
		for i := range times {
			for _, in := range bootstrap(drawPrompts(random, prompts), &Metrics{
				KLMean: 1, Top1Agreement: 0.9, Top5Agreement: unknown, PPL: unknown, PPLReference: unknown, PPLRatio: unknown,
			}, uint64(i)) {
				switch {
				case in.Metric == "kl_mean" && in.Low <= 1 && 1 <= in.High:
					kl++
				case in.Metric == "top1_agreement" && in.Low <= 0.9 && 0.9 <= in.High:
					top1++
				}
			}
		}
		t.Logf("%d prompts: kl_mean %.1f%%, top1_agreement %.1f%%", prompts, 100*float64(kl)/times, 100*float64(top1)/times)
		for _, hits := range []int{kl, top1} {
			if share := float64(hits) / times; share < 0.9 || share > 0.99 {
				t.Errorf("%d prompts: %.1f%% of the intervals hold what they should", prompts, 100*share)
			}
		}
	}
}

// With many prompts an interval is 1.96 standard errors to either side, and the
// same for the same seed.
func TestIntervalWidth(t *testing.T) {
	ref, subject, prompts := noisy(5, 64, 9, 11, 12, 9, 8, 13, 10, 9, 7, 12, 11, 10, 9, 12, 8, 11, 10, 9, 12, 13, 9, 8, 10, 11, 12)
	measure := func(seed uint64) *Report {
		r, err := Run(t.Context(), ref, subject, prompts, Options{Seed: seed})
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
	if len(a.Intervals) != len(ratios) {
		t.Errorf("%d intervals, want %d", len(a.Intervals), len(ratios))
	}
	for i := range a.Intervals {
		if a.Intervals[i] != again.Intervals[i] {
			t.Errorf("%v, and then %v", a.Intervals[i], again.Intervals[i])
		}
		if m, _ := metricNamed(a.Intervals[i].Metric); m.of(&a.Metrics) < a.Intervals[i].Low || m.of(&a.Metrics) > a.Intervals[i].High {
			t.Errorf("%v does not hold %v", a.Intervals[i], m.of(&a.Metrics))
		}
	}
	if a.Intervals[0] == b.Intervals[0] {
		t.Errorf("seeds 0 and 1 draw the same prompts")
	}
	if r, err := Run(t.Context(), ref, subject, prompts[:1], Options{}); err != nil || r.Intervals != nil {
		t.Errorf("one prompt gives %v, %v", r.Intervals, err)
	}
}

func TestUndecided(t *testing.T) {
	for _, c := range []struct {
		op                      string
		value, low, high, limit float64
		undecided               bool
		tokens                  int64
	}{
		{"<=", 1, 0.8, 1.4, 1.5, false, 0},
		{"<=", 1, 0.8, 1.4, 1.4, false, 0},
		{"<=", 1, 0.8, 1.4, 1.1, true, 16000}, // 0.4 is four times 0.1
		{"<=", 1, 0.8, 1.4, 0.9, true, 4000},  // missed, and 0.2 twice 0.1
		{"<=", 1, 0.8, 1.4, 1, true, 0},
		{"<=", 1, 0.8, 1.4, 0.7, false, 0},
		{">=", 0.9, 0.85, 0.93, 0.86, true, 1600},
		{">=", 0.9, 0.85, 0.93, 0.85, false, 0},
		{">=", 0.9, 0.85, 0.93, 0.94, false, 0},
	} {
		check := Check{Gate: Gate{"kl_mean", c.op, c.limit}, Value: Value(c.value)}
		check.weigh(Interval{"kl_mean", Value(c.low), Value(c.high)}, 1000)
		if check.Undecided != c.undecided || c.tokens != 0 && math.Abs(float64(check.Tokens-c.tokens)) > 0.07*float64(c.tokens) || c.tokens == 0 && check.Tokens != 0 {
			t.Errorf("%+v: %+v", c, check)
		}
	}
	if got := roundUp(123456); got != 130000 {
		t.Errorf("rounded up to %d", got)
	}

	// A Run that meets its gates, one of them narrowly.
	ref, subject, prompts := noisy(3, 64, 40, 9, 33, 12, 7, 20)
	gates := []Gate{{"kl_mean", "<=", 0.034}, {"top1_agreement", ">=", 0.5}, {"kl_p99", "<=", 0.104}}
	for _, c := range []struct {
		strict bool
		first  string
	}{
		{false, "PASS  kl_mean 0.03082, top1_agreement 0.8595, kl_p99 0.1038"},
		{true, "FAIL  on what is undecided"},
	} {
		r, err := Run(t.Context(), ref, subject, prompts, Options{Gates: gates, Strict: c.strict})
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(r.String(), "\n")
		if r.Pass == c.strict || lines[0] != c.first || !strings.HasPrefix(lines[1], "UNDECIDED  kl_mean <= 0.034, it may be 0.02") ||
			!strings.HasPrefix(lines[2], "           use more tokens, about ") || strings.Count(r.String(), "UNDECIDED") != 1 {
			t.Errorf("strict %v, pass %v: %s", c.strict, r.Pass, r)
		}
		text, err := json.Marshal(r.Gates)
		if err != nil || !strings.Contains(string(text), `"undecided":true,"tokens_needed":`) {
			t.Errorf("%v: %s", err, text)
		}
	}
}

// What is listed of the worst positions is what a search over all of them finds.
func TestWorstTokens(t *testing.T) {
	ref, subject, prompts := noisy(3, 64, 40, 9, 33)
	r, err := Run(t.Context(), ref, subject, prompts, Options{})
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
			if err := want.Rows(t.Context(), a, at, 1); err != nil {
				t.Fatal(err)
			}
			if err := got.Rows(t.Context(), b, at, 1); err != nil {
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
			best, _ := argmax(a)
			choice, _ := argmax(b)
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
				worst = Token{Prompt: n, Position: at, KL: Value(kl), Reference: Choice{ID: best, PReference: Value(math.Exp(float64(a[best])) / sumA)},
					Model: Choice{ID: choice, PModel: Value(math.Exp(float64(b[choice])) / sumB)}}
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
