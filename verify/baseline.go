package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/verify/metric"
)

// The Outcome of a Figure.
const (
	Better = "better"
	Worse  = "worse"
	Same   = "same"  // within the tolerance
	Noise  = "noise" // beyond it, but other prompts, or another run, could reverse the verdict
)

// A Baseline identifies an earlier report and lists what has changed since.
type Baseline struct {
	Path    string   `json:"path"`
	SHA256  string   `json:"model_sha256,omitempty"` // of the model that the earlier report measured
	Figures []Figure `json:"figures"`                // empty if there was no baseline yet
	Written bool     `json:"written,omitempty"`      // the file now holds this report
}

// A Figure is one number that both reports have.
type Figure struct {
	Name    string       `json:"name"`
	Before  metric.Value `json:"before"`
	Now     metric.Value `json:"now"`
	Low     metric.Value `json:"low"` // of the difference: 95 % interval over the choice of prompts, or range over all runs; null if unknown
	High    metric.Value `json:"high"`
	Allowed metric.Value `json:"allowed"` // tolerated difference for the worse
	Outcome string       `json:"outcome"` // Better, Worse, Same or Noise
}

// CompareBaseline compares r with before, the baseline in the file at path, which must
// have the same prompts, reference and arithmetic. r fails if a figure is worse by more
// than the tolerance and the noise. before is nil if there is no baseline yet. seed is
// that of the intervals' random draws.
func (r *Report) CompareBaseline(before *Report, path string, tolerance Tolerance, seed uint64) error {
	r.Baseline = &Baseline{Path: path, Figures: []Figure{}}
	if before == nil {
		return nil
	}
	if err := checkComparable(before, r); err != nil {
		return err
	}
	r.Baseline.SHA256 = before.Model.SHA256
	for i := range baselineMetrics {
		m := &baselineMetrics[i]
		a, b := m.of(before), m.of(r)
		if !a.Known() || !b.Known() {
			continue
		}
		f := Figure{Name: m.name, Before: a, Now: b, Low: metric.Unknown, High: metric.Unknown}
		f.Allowed = metric.Value(m.allowed(float64(a), tolerance))
		if low, high, ok := m.spread(before, r, seed); ok {
			f.Low, f.High = low, high
		}
		f.Outcome = m.outcome(&f)
		r.Baseline.Figures = append(r.Baseline.Figures, f)
		r.Pass = r.Pass && f.Outcome != Worse
	}
	return nil
}

// allowed returns the tolerated difference for the worse.
func (m *baselineMetric) allowed(before float64, t Tolerance) float64 {
	allowed, ok := t[m.name]
	if !ok {
		allowed = m.tolerance
	}
	if !m.share {
		allowed *= math.Abs(before)
	}
	return max(allowed, m.floor)
}

// outcome returns the Outcome of f.
func (m *baselineMetric) outcome(f *Figure) string {
	change := float64(f.Now) - float64(f.Before)
	if math.Abs(change) <= float64(f.Allowed) {
		return Same
	}
	if f.Low.Known() && f.Low <= 0 && f.High >= 0 {
		return Noise
	}
	if (change > 0) == m.more {
		return Better
	}
	return Worse
}

// Improved reports whether a figure of r is better than in the baseline.
func (r *Report) Improved() bool {
	return r.Baseline != nil && slices.ContainsFunc(r.Baseline.Figures, func(f Figure) bool { return f.Outcome == Better })
}

// Compared reports whether there was a baseline to compare with. b may be nil.
func (b *Baseline) Compared() bool { return b != nil && len(b.Figures) > 0 }

// Worse returns the figures that are worse than in the baseline. b may be nil.
func (b *Baseline) Worse() (all []*Figure) {
	if b == nil {
		return nil
	}
	for i := range b.Figures {
		if f := &b.Figures[i]; f.Outcome == Worse {
			all = append(all, f)
		}
	}
	return all
}

// checkComparable returns an error that names the differing field if r cannot be
// compared with before.
func checkComparable(before, r *Report) error {
	differ := func(field, then, now, why string) error {
		return fmt.Errorf("the baseline %s is of another run: its %s is %s, here it is %s%s; make a new one for this",
			defect.Printable(r.Baseline.Path), field, defect.Printable(then), defect.Printable(now), why)
	}
	a, b := before.Arithmetic.String(), r.Arithmetic.String()
	switch {
	case before.AgainstSHA256 != r.AgainstSHA256:
		return differ("against_sha256", abbreviate(before.AgainstSHA256), abbreviate(r.AgainstSHA256), ", another reference")
	case a != b:
		return differ("arithmetic", a, b, "")
	case before.Metrics.Tokens != r.Metrics.Tokens:
		return differ("metrics.tokens", fmt.Sprint(before.Metrics.Tokens), fmt.Sprint(r.Metrics.Tokens), ", another text, --context or --chunks")
	case before.PromptsSHA256 != r.PromptsSHA256 || len(before.Prompts) != len(r.Prompts):
		return differ("prompts_sha256", abbreviate(before.PromptsSHA256), abbreviate(r.PromptsSHA256), ", another text, --context, --chunks or tokenizer")
	}
	for i := range r.Prompts {
		if then, now := before.Prompts[i].Tokens, r.Prompts[i].Tokens; then != now {
			return differ(fmt.Sprintf("prompts[%d].tokens", i), fmt.Sprint(then), fmt.Sprint(now), "")
		}
	}
	if then, now := shapes(before), shapes(r); then != "" && now != "" && then != now {
		return differ("tensors", "a list of others", "that of the model's names and shapes", ", another model")
	}
	if before.Speed != nil && r.Speed != nil {
		if field, then, now := differingSpeed(before.Speed, r.Speed); field != "" {
			return differ("speed."+field, then, now, "")
		}
	}
	return nil
}

// shapes lists the model's tensors without their schemes.
func shapes(r *Report) string {
	var b strings.Builder
	for _, t := range r.Tensors {
		fmt.Fprintf(&b, "%s %dx%d\n", t.Name, t.Rows, t.Cols)
	}
	return b.String()
}

// abbreviate returns the beginning of a digest.
func abbreviate(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest[:min(12, len(digest))]
}
