package verify

import (
	"math"
	"slices"

	"thimble/internal/kernel"
)

// A watched figure is one that must not get worse than in a baseline.
type watchedFigure struct {
	name      string
	more      bool    // is better
	share     bool    // tolerance is a difference, else a part of what the baseline has
	tolerance float64 // unless a policy says otherwise
	floor     float64 // differences up to here never matter
	of        func(*Report) Value

	prompts func(*PromptReport) Value // the same of one prompt, as means that can be averaged; or nil
	mean    func(float64) float64     // makes the figure of the average
	runs    func(*Report) []float64   // what was measured several times; or nil
}

var watched = []watchedFigure{
	{name: "kl_mean", tolerance: 0.01, floor: 1e-6, of: func(r *Report) Value { return r.Metrics.KLMean },
		prompts: func(p *PromptReport) Value { return p.KLMean }, mean: asItIs},
	{name: "top1_agreement", more: true, share: true, tolerance: 0.001, of: func(r *Report) Value { return r.Metrics.Top1Agreement },
		prompts: func(p *PromptReport) Value { return p.Top1Agreement }, mean: asItIs},
	{name: "ppl", tolerance: 0.001, of: func(r *Report) Value { return r.Metrics.PPL },
		prompts: func(p *PromptReport) Value { return Value(kernel.Log64(float64(p.PPL))) }, mean: kernel.Exp64},
	{name: "bytes", tolerance: 0.001, of: func(r *Report) Value { return Value(r.Model.Bytes) }},
	{name: "bits_per_weight", tolerance: 0.001, of: func(r *Report) Value { return Value(r.Model.BitsPerWeight) }},
	{name: "prefill", more: true, tolerance: 0.1, of: func(r *Report) Value { return r.speed((*Speed).prefill) }, runs: func(r *Report) []float64 { return r.Speed.Prefill }},
	{name: "decode", more: true, tolerance: 0.1, of: func(r *Report) Value { return r.speed((*Speed).decode) }, runs: func(r *Report) []float64 { return r.Speed.Decode }},
	{name: "memory", tolerance: 0.05, of: func(r *Report) Value { return r.speed((*Speed).memory) }},
}

func asItIs(x float64) float64 { return x }

func (s *Speed) prefill() Value { return Value(Median(s.Prefill)) }
func (s *Speed) decode() Value  { return Value(Median(s.Decode)) }

func (s *Speed) memory() Value {
	if s.Memory == 0 {
		return unknown
	}
	return Value(s.Memory)
}

// speed is a figure of what bench measured, if it did.
func (r *Report) speed(of func(*Speed) Value) Value {
	if r.Speed == nil {
		return unknown
	}
	return of(r.Speed)
}

// spread is where the difference of a figure between two reports of the same
// prompts lies, for 95 of 100 choices of prompts or for any of the runs. ok is
// false where there is nothing to tell it by.
func (w *watchedFigure) spread(before, now *Report, seed uint64) (low, high Value, ok bool) {
	switch {
	case w.prompts != nil && len(now.Prompts) > 1:
		return w.paired(before.Prompts, now.Prompts, seed)
	case w.runs != nil:
		a, b := w.runs(before), w.runs(now)
		if len(a) > 1 && len(b) > 1 {
			return Value(slices.Min(b) - slices.Max(a)), Value(slices.Max(b) - slices.Min(a)), true
		}
	}
	return unknown, unknown, false
}

// paired draws prompts as bootstrap does, and takes the difference of both reports
// on the same draw: what makes a prompt hard for both models cancels, so that far
// smaller differences show than by two intervals side by side.
func (w *watchedFigure) paired(before, now []PromptReport, seed uint64) (low, high Value, ok bool) {
	type pair struct{ tokens, before, now float64 }
	var all []pair
	for i := range now {
		a, b, n := w.prompts(&before[i]), w.prompts(&now[i]), float64(now[i].Tokens)
		if a.Known() && b.Known() {
			all = append(all, pair{n, float64(n * float64(a)), float64(n * float64(b))})
		}
	}
	if len(all) < 2 {
		return unknown, unknown, false
	}
	from, to := resampled(len(all), seed, func(next func() int) float64 {
		var t pair
		for range all {
			p := all[next()]
			t.tokens, t.before, t.now = t.tokens+p.tokens, t.before+p.before, t.now+p.now
		}
		return min(w.mean(t.now/t.tokens), math.MaxFloat64) - min(w.mean(t.before/t.tokens), math.MaxFloat64)
	})
	return Value(from), Value(to), true
}
