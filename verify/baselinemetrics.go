package verify

import (
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/verify/metric"
)

// A baselineMetric is a figure that must not get worse than in a baseline.
type baselineMetric struct {
	name      string
	more      bool    // more is better
	share     bool    // tolerance is a difference; otherwise it is a fraction of the baseline's value
	tolerance float64 // the default, which a policy may replace
	floor     float64 // smaller differences never matter
	of        func(*Report) metric.Value

	prompts func(*PromptReport) metric.Value // the figure of one prompt, as a mean that can be averaged; nil if there is none
	mean    func(float64) float64            // turns the average into the figure
	runs    func(*Report) []float64          // the figure of each run; nil if it is not measured in runs
}

var baselineMetrics = []baselineMetric{
	{name: "kl_mean", tolerance: 0.01, floor: 1e-6, of: func(r *Report) metric.Value { return r.Metrics.KLMean },
		prompts: func(p *PromptReport) metric.Value { return p.KLMean }, mean: identity},
	{name: "top1_agreement", more: true, share: true, tolerance: 0.001, of: func(r *Report) metric.Value { return r.Metrics.Top1Agreement },
		prompts: func(p *PromptReport) metric.Value { return p.Top1Agreement }, mean: identity},
	{name: "ppl", tolerance: 0.001, of: func(r *Report) metric.Value { return r.Metrics.PPL },
		prompts: func(p *PromptReport) metric.Value { return metric.Value(kernel.Log64(float64(p.PPL))) }, mean: kernel.Exp64},
	{name: "bytes", tolerance: 0.001, of: func(r *Report) metric.Value { return metric.Value(r.Model.Bytes) }},
	{name: "bits_per_weight", tolerance: 0.001, of: func(r *Report) metric.Value { return metric.Value(r.Model.BitsPerWeight) }},
	{name: "prefill", more: true, tolerance: 0.1, of: func(r *Report) metric.Value { return speedOf(r, (*Speed).prefill) }, runs: func(r *Report) []float64 { return r.Speed.Prefill }},
	{name: "decode", more: true, tolerance: 0.1, of: func(r *Report) metric.Value { return speedOf(r, (*Speed).decode) }, runs: func(r *Report) []float64 { return r.Speed.Decode }},
	{name: "memory", tolerance: 0.05, of: func(r *Report) metric.Value { return speedOf(r, (*Speed).memory) }},
}

func identity(x float64) float64 { return x }

// speedOf returns a figure of bench, or Unknown if r has no Speed.
func speedOf(r *Report, of func(*Speed) metric.Value) metric.Value {
	if r.Speed == nil {
		return metric.Unknown
	}
	return of(r.Speed)
}

func (s *Speed) prefill() metric.Value { return metric.Value(Median(s.Prefill)) }
func (s *Speed) decode() metric.Value  { return metric.Value(Median(s.Decode)) }

func (s *Speed) memory() metric.Value {
	if s.Memory == 0 {
		return metric.Unknown
	}
	return metric.Value(s.Memory)
}

// IsShare reports whether f is a share, so that its difference counts in percentage
// points. Other figures differ by a fraction of Before.
func (f *Figure) IsShare() bool {
	i := slices.IndexFunc(baselineMetrics, func(m baselineMetric) bool { return m.name == f.Name })
	return i >= 0 && baselineMetrics[i].share
}

// spread returns the spread of a figure's difference between two reports of the same
// prompts: its 95 % interval over the choice of prompts, or its range over all runs. ok
// is false if the reports allow neither.
func (m *baselineMetric) spread(before, now *Report, seed uint64) (low, high metric.Value, ok bool) {
	switch {
	case m.prompts != nil && len(now.Prompts) > 1:
		return m.paired(before.Prompts, now.Prompts, seed)
	case m.runs != nil:
		a, b := m.runs(before), m.runs(now)
		if len(a) > 1 && len(b) > 1 {
			return metric.Value(slices.Min(b) - slices.Max(a)), metric.Value(slices.Max(b) - slices.Min(a)), true
		}
	}
	return metric.Unknown, metric.Unknown, false
}

// paired draws prompts as metric.Bootstrap does, and computes the difference of the two
// reports on the same draw. A prompt that is hard for both models then hardly changes
// the difference, so paired detects far smaller ones than a comparison of two intervals.
func (m *baselineMetric) paired(before, now []PromptReport, seed uint64) (low, high metric.Value, ok bool) {
	type pair struct{ tokens, before, now float64 }
	var all []pair
	for i := range now {
		a, b, n := m.prompts(&before[i]), m.prompts(&now[i]), float64(now[i].Tokens)
		if a.Known() && b.Known() {
			all = append(all, pair{n, float64(n * float64(a)), float64(n * float64(b))})
		}
	}
	if len(all) < 2 {
		return metric.Unknown, metric.Unknown, false
	}
	from, to := metric.Resample(len(all), seed, func(next func() int) float64 {
		var t pair
		for range all {
			p := all[next()]
			t.tokens, t.before, t.now = t.tokens+p.tokens, t.before+p.before, t.now+p.now
		}
		return min(m.mean(t.now/t.tokens), math.MaxFloat64) - min(m.mean(t.before/t.tokens), math.MaxFloat64)
	})
	return metric.Value(from), metric.Value(to), true
}
