package verify

import (
	"math"
	"math/bits"
	"slices"

	"thimble/internal/kernel"
)

// An Interval is where a metric would lie, 95 times in 100, had other prompts
// of the same kind been scored.
type Interval struct {
	Metric string `json:"metric"`
	Low    Value  `json:"low"`
	High   Value  `json:"high"`
}

// resamples is how many times the prompts are drawn again.
const resamples = 1000

// totals are sums over the positions of one prompt, or of some prompts.
type totals struct {
	tokens, kl, top1, top5 float64
	next, nll, refNLL      float64 // next counts the positions with a next token
}

func (t *totals) add(u *totals) {
	t.tokens += u.tokens
	t.kl += u.kl
	t.top1 += u.top1
	t.top5 += u.top5
	t.next += u.next
	t.nll += u.nll
	t.refNLL += u.refNLL
}

func totalsOf(scores []score) (t totals) {
	for i := range scores {
		s := &scores[i]
		t.tokens++
		t.kl += s.kl
		if s.top1 {
			t.top1++
		}
		if s.top5 {
			t.top5++
		}
		if s.nll == s.nll {
			t.next++
			t.nll += s.nll
			t.refNLL += s.refNLL
		}
	}
	return t
}

// ratios are the metrics that follow from totals. Only these have an interval.
var ratios = []struct {
	metric string
	of     func(*totals) float64
}{
	{"kl_mean", func(t *totals) float64 { return t.kl / t.tokens }},
	{"top1_agreement", func(t *totals) float64 { return t.top1 / t.tokens }},
	{"top5_agreement", func(t *totals) float64 { return t.top5 / t.tokens }},
	{"ppl_reference", func(t *totals) float64 { return kernel.Exp64(t.refNLL / t.next) }},
	{"ppl", func(t *totals) float64 { return kernel.Exp64(t.nll / t.next) }},
	{"ppl_ratio", func(t *totals) float64 { return kernel.Exp64((t.nll - t.refNLL) / t.next) }},
}

// bootstrap returns the intervals of those of the ratios that were measured,
// none for less than two prompts.
//
// Prompts are drawn with replacement, as many as there are, and each metric is
// computed anew (Efron and Tibshirani, An Introduction to the Bootstrap, section
// 13.3). Reference and model are scored on the same draw, so what makes a text
// hard for both cancels in their ratio. Quantiles are those of the expanded
// percentile interval (Hesterberg 2015, "What Teachers Should Know about the
// Bootstrap", section 5.3), which is as wide for few prompts as Student's t.
func bootstrap(prompts []scored, measured *Metrics, seed uint64) []Interval {
	n := len(prompts)
	if n < 2 {
		return nil
	}
	each := make([]totals, n)
	for i := range prompts {
		each[i] = totalsOf(prompts[i].scores)
	}
	drawn := make([][]float64, len(ratios))
	random := splitMix(seed)
	for range resamples {
		var t totals
		for range n {
			t.add(&each[random.below(n)])
		}
		for k := range ratios {
			if v := ratios[k].of(&t); v == v { // a draw of prompts without next tokens has no perplexity
				drawn[k] = append(drawn[k], min(v, math.MaxFloat64))
			}
		}
	}
	tail := tailShare(n)
	var found []Interval
	for k := range ratios {
		m, err := metricNamed(ratios[k].metric)
		if err != nil || !m.of(measured).Known() || len(drawn[k]) == 0 {
			continue
		}
		slices.Sort(drawn[k])
		found = append(found, Interval{m.name, Value(quantile(drawn[k], tail)), Value(quantile(drawn[k], 1-tail))})
	}
	return found
}

// resampled is the interval of one figure of n items, as of bootstrap: of makes it
// of the items that next draws, as many as there are.
func resampled(n int, seed uint64, of func(next func() int) float64) (low, high float64) {
	drawn := make([]float64, resamples)
	random := splitMix(seed)
	for i := range drawn {
		drawn[i] = of(func() int { return random.below(n) })
	}
	slices.Sort(drawn)
	tail := tailShare(n)
	return quantile(drawn, tail), quantile(drawn, 1-tail)
}

// tailShare is the share of draws left out at either end: that of a normal
// distribution beyond sqrt(n/(n-1)) times the 97.5 % quantile of Student's t
// with n-1 degrees of freedom; 2.5 % for many prompts and less for few.
func tailShare(n int) float64 {
	x := math.Sqrt(float64(n)/float64(n-1)) * studentQuantile(n-1)
	// Abramowitz and Stegun, 26.2.17: within 7.5e-8.
	t := 1 / (1 + float64(0.2316419*x))
	sum := 0.0
	for _, b := range []float64{1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.319381530} {
		sum = float64((sum + b) * t)
	}
	return kernel.Exp64(-x*x/2) / math.Sqrt(2*math.Pi) * sum
}

// studentQuantile is the 97.5 % quantile of Student's t: from tables for few
// degrees of freedom, else Abramowitz and Stegun, 26.7.5.
func studentQuantile(freedom int) float64 {
	few := [...]float64{12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060}
	if freedom <= len(few) {
		return few[freedom-1]
	}
	const z = 1.959963985
	const z3, z5, z7 = z * z * z, z * z * z * z * z, z * z * z * z * z * z * z
	v := float64(freedom)
	return z + (z3+z)/4/v + (5*z5+16*z3+3*z)/96/(v*v) + (3*z7+19*z5+17*z3-15*z)/384/(v*v*v)
}

// splitMix is SplitMix64 (Steele, Lea and Flood 2014), with its state.
type splitMix uint64

func (s *splitMix) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n): the upper half of the product of n and 64
// random bits, even to within n in 2^64.
func (s *splitMix) below(n int) int {
	high, _ := bits.Mul64(s.next(), uint64(n))
	return int(high)
}
