package verify

import (
	"math"
	"slices"
)

// What a figure did since a baseline.
const (
	better = "better"
	worse  = "worse"
	same   = "same"  // to within what is tolerated
	noise  = "noise" // by more, but other prompts, or another run, could well have told otherwise
)

// A Baseline is a report that a later one is held to, and what has moved since.
type Baseline struct {
	Path    string   `json:"path"`
	SHA256  string   `json:"model_sha256,omitempty"` // of the model that it is about
	Figures []Figure `json:"figures"`                // none where there was no baseline yet
	Written bool     `json:"written,omitempty"`      // the file is this report now
}

// A Figure is one number then and now.
type Figure struct {
	Name    string `json:"name"`
	Before  Value  `json:"before"`
	Now     Value  `json:"now"`
	Low     Value  `json:"low"` // of the difference: 95 % over the choice of prompts, or all runs; null where nothing tells
	High    Value  `json:"high"`
	Allowed Value  `json:"allowed"` // difference for the worse
	Outcome string `json:"outcome"` // "better", "worse", "same" or "noise"
}

// HoldTo compares r with the baseline in the file at path, which must be of the
// same prompts, reference and arithmetic, and fails r if a figure is worse than
// tolerance allows and beyond noise. before is nil where there is none yet.
// Draws are made from seed.
func (r *Report) HoldTo(before *Report, path string, tolerance Tolerance, seed uint64) error {
	r.Baseline = &Baseline{Path: path, Figures: []Figure{}}
	if before == nil {
		return nil
	}
	if err := r.comparable(before); err != nil {
		return err
	}
	r.Baseline.SHA256 = before.Model.SHA256
	for i := range watched {
		w := &watched[i]
		a, b := w.of(before), w.of(r)
		if !a.Known() || !b.Known() {
			continue
		}
		f := Figure{Name: w.name, Before: a, Now: b, Low: unknown, High: unknown}
		f.Allowed = Value(w.allowed(float64(a), tolerance))
		if low, high, ok := w.spread(before, r, seed); ok {
			f.Low, f.High = low, high
		}
		f.Outcome = w.outcome(&f)
		r.Baseline.Figures = append(r.Baseline.Figures, f)
		r.Pass = r.Pass && f.Outcome != worse
	}
	return nil
}

// allowed is the difference for the worse that is tolerated.
func (w *watchedFigure) allowed(before float64, t Tolerance) float64 {
	part, ok := t[w.name]
	if !ok {
		part = w.tolerance
	}
	if w.share {
		return max(part, w.floor)
	}
	return max(part*math.Abs(before), w.floor)
}

// outcome says what f did.
func (w *watchedFigure) outcome(f *Figure) string {
	change := float64(f.Now) - float64(f.Before)
	if math.Abs(change) <= float64(f.Allowed) {
		return same
	}
	if f.Low.Known() && f.Low <= 0 && f.High >= 0 {
		return noise
	}
	if (change > 0) == w.more {
		return better
	}
	return worse
}

// Improved reports whether a figure of r is better than in the baseline.
func (r *Report) Improved() bool {
	return r.Baseline != nil && slices.ContainsFunc(r.Baseline.Figures, func(f Figure) bool { return f.Outcome == better })
}

// held reports whether r was compared with a baseline.
func (r *Report) held() bool { return r.Baseline != nil && len(r.Baseline.Figures) > 0 }

// worse are the figures that are worse than in the baseline.
func (r *Report) worse() (all []*Figure) {
	if r.Baseline == nil {
		return nil
	}
	for i := range r.Baseline.Figures {
		if f := &r.Baseline.Figures[i]; f.Outcome == worse {
			all = append(all, f)
		}
	}
	return all
}
