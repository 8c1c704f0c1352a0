package metric

import (
	"math"
	"slices"

	"thimble/internal/kernel"
)

// An Interval is the 95 % confidence interval of a metric: the range in which it
// would lie 95 times in 100 if other prompts of the same kind were scored.
type Interval struct {
	Metric string `json:"metric"`
	Low    Value  `json:"low"`
	High   Value  `json:"high"`
}

// resamples is the number of bootstrap draws.
const resamples = 1000

// totals are sums over the positions of one prompt, or of several prompts.
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

func totalsOf(scores []Score) (t totals) {
	for i := range scores {
		s := &scores[i]
		t.tokens++
		t.kl += s.KL
		if s.Top1 {
			t.top1++
		}
		if s.Top5 {
			t.top5++
		}
		if s.NLL == s.NLL {
			t.next++
			t.nll += s.NLL
			t.refNLL += s.RefNLL
		}
	}
	return t
}

// ratios are the metrics that can be computed from totals. Only these have an
// interval.
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

// Bootstrap returns the intervals of the metrics in measured that are known and
// can be computed from sums over positions. prompts holds the scores of each
// prompt. Bootstrap returns nil for fewer than two prompts.
//
// Each draw takes as many prompts as there are, with replacement, and computes
// every metric from them (Efron and Tibshirani, An Introduction to the Bootstrap,
// section 13.3). Reference and model are scored on the same draw, so their ratio
// does not depend on how hard the drawn texts are for both. The quantiles are those
// of the expanded percentile interval (Hesterberg 2015, "What Teachers Should Know
// about the Bootstrap", section 5.3), which for few prompts is as wide as the
// interval from Student's t.
func Bootstrap(prompts [][]Score, measured *Summary, seed uint64) []Interval {
	n := len(prompts)
	if n < 2 {
		return nil
	}
	each := make([]totals, n)
	for i, scores := range prompts {
		each[i] = totalsOf(scores)
	}
	drawn := make([][]float64, len(ratios))
	random := SplitMix(seed)
	for range resamples {
		var t totals
		for range n {
			t.add(&each[random.Below(n)])
		}
		for k := range ratios {
			if v := ratios[k].of(&t); v == v { // a draw of prompts without next tokens has no perplexity
				drawn[k] = append(drawn[k], min(v, math.MaxFloat64))
			}
		}
	}
	tail := tailShare(n)
	var all []Interval
	for k := range ratios {
		e := Find(Table, ratios[k].metric)
		if !e.Of(measured).Known() || len(drawn[k]) == 0 {
			continue
		}
		slices.Sort(drawn[k])
		all = append(all, Interval{e.Name, Value(Quantile(drawn[k], tail)), Value(Quantile(drawn[k], 1-tail))})
	}
	return all
}

// Resample returns the 95 % interval of one figure of n items, as Bootstrap does;
// n is at least 2. It calls figure once for each draw. figure calls next n times
// for the indices of the drawn items and returns the figure computed from them.
func Resample(n int, seed uint64, figure func(next func() int) float64) (low, high float64) {
	drawn := make([]float64, resamples)
	random := SplitMix(seed)
	for i := range drawn {
		drawn[i] = figure(func() int { return random.Below(n) })
	}
	slices.Sort(drawn)
	tail := tailShare(n)
	return Quantile(drawn, tail), Quantile(drawn, 1-tail)
}

// MeanInterval returns the 95 % interval of the mean of x, whose values lie
// between least and most. ok is false for fewer than two values.
//
// If all values are equal, every draw has the same mean, although the population
// may hold other values. The interval then allows for the largest share of other
// values that n items miss with a probability of 2.5 % (Clopper and Pearson 1934),
// and takes each of them to be as far away as possible.
func MeanInterval(x []float64, least, most float64, seed uint64) (low, high float64, ok bool) {
	n := len(x)
	if n < 2 {
		return 0, 0, false
	}
	if slices.Min(x) == slices.Max(x) {
		share := 1 - kernel.Exp64(kernel.Log64(0.025)/float64(n))
		return x[0] - float64(share*(x[0]-least)), x[0] + float64(share*(most-x[0])), true
	}
	low, high = Resample(n, seed, func(next func() int) float64 {
		total := 0.0
		for range n {
			total += x[next()]
		}
		return total / float64(n)
	})
	return low, high, true
}

// tailShare returns the share of draws to leave out at either end: the probability
// that a standard normal variable exceeds sqrt(n/(n-1)) times the 97.5 % quantile
// of Student's t with n-1 degrees of freedom. It is 2.5 % for many prompts and less
// for few.
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

// studentQuantile returns the 97.5 % quantile of Student's t: from a table for few
// degrees of freedom, otherwise by Abramowitz and Stegun, 26.7.5.
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
