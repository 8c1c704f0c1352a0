package quantize

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A prediction from single matrices gives the right proportions but not the right size. So
// for a limit on divergence, MeasuredSearch quantizes the model, measures it on held-out
// pieces of the calibration text, and quantizes again with a corrected prediction, until
// the divergence is within the limit and not far below it.
const (
	initialFraction = 0.7  // predicted divergence of the first trial, as a fraction of the limit
	closeEnough     = 0.8  // fraction of the limit from which another trial is not worthwhile
	nextFraction    = 0.95 // corrected prediction of the next trial, as a fraction of the limit
	maxTrials       = 4
	hopeless        = 10 // multiple of the limit above which a prediction is not worth a trial
)

// top1KL returns the KL at which a top-1 agreement of a is expected: 1-a is about 0.55
// times the square root of the KL for models of natural language.
func top1KL(a float64) float64 { return (1 - a) * (1 - a) / (0.55 * 0.55) }

// A Measurement is the divergence of a quantized model on held-out text.
type Measurement struct {
	Tokens int     `json:"tokens"`         // scored
	KL     float64 `json:"kl_mean"`        // from the model it was made from, nats per token
	Top1   float64 `json:"top1_agreement"` // fraction of positions with the same most likely token
}

// A Trial is one quantization of a measured search, kept in memory.
type Trial struct {
	Recipe      *Recipe
	PredictedKL float64 // nats per token, by the survey alone
	Health      *Health
	Tensors     []*Matrix // in the plan's order
	Measured    Measurement

	bytes int64 // of the tensors in a file, by the plan
}

// A trialSink is the Sink of a Trial.
type trialSink struct{ *Trial }

func (t trialSink) Write(m *Matrix) error {
	same := *m // Run may reuse the struct, not the planes
	t.Tensors = append(t.Tensors, &same)
	return nil
}

// Sink returns a Sink that collects the tensors of a run in t.
func (t *Trial) Sink() Sink { return trialSink{t} }

// Model returns m with the tensors of t, which are those of plan.
func (t *Trial) Model(m *Model, plan *Plan) *Model {
	coarse := *m
	coarse.Tensors = map[string]*Matrix{}
	for i, e := range plan.Tensors {
		coarse.Tensors[e.Name] = t.Tensors[i]
	}
	return &coarse
}

// Replay writes the tensors to sink.
func (t *Trial) Replay(sink Sink) error {
	for _, m := range t.Tensors {
		if err := sink.Write(m); err != nil {
			return err
		}
	}
	return nil
}

// SearchOptions specify the parts of a measured search that its caller provides.
type SearchOptions struct {
	// Measure compares a quantized model with the one it was made from, on texts of
	// token ids.
	Measure func(ctx context.Context, coarse *Model, texts [][]int) (Measurement, error)

	// Special reports whether a token is special, for Health; nil if none is.
	Special func(id int) bool

	// Progress, if not nil, is called before a trial and after each of its tensors, with
	// the number of the trial, from 1, and of the weights done.
	Progress func(trial int, weights int64)
}

// MeasuredSearch quantizes m, at most four times, until it is within b's limit on
// divergence on the spare texts of c, which must not be empty. It returns the smallest
// trial within the limit. base and s are those of Choose. It does not use the Health and
// Journal of c.
func (b *Budget) MeasuredSearch(ctx context.Context, m *Model, base *Recipe, s *Survey, c *Calibration, o SearchOptions) (*Trial, error) {
	if len(c.Spare) == 0 {
		return nil, errors.New("divergence is measured on held-out pieces of the calibration text, and there are none")
	}
	a, err := newAllocator(s, m, base, nil, b.Fits)
	if err != nil {
		return nil, err
	}
	largest, err := a.within(math.MaxInt64)
	if err != nil {
		return nil, err
	}
	if x := b.exhausted(Measurement{KL: largest.predicted, Top1: 1}); x > hopeless {
		return nil, fmt.Errorf("even the largest schemes have a predicted divergence of KL %.2g, more than %d times %v; use a larger limit, or larger schemes", largest.predicted, hopeless, b)
	}
	aim := b.firstAim()
	var best, last *Trial
	for n := 1; n <= maxTrials; n++ {
		next, err := a.diverging(max(aim, largest.predicted))
		if err != nil {
			return nil, err
		}
		if last != nil && slices.Equal(next.recipe.Rules, last.Recipe.Rules) {
			break // no scheme lies between that and the limit
		}
		t := &Trial{Recipe: next.recipe, PredictedKL: next.predicted}
		if err := t.run(ctx, m, c, n, o); err != nil {
			return nil, err
		}
		x := b.exhausted(t.Measured)
		if x <= 1 && (best == nil || t.bytes < best.bytes) {
			best = t
		}
		if x <= 1 && x >= closeEnough {
			break
		}
		last, aim = t, math.Inf(1)
		if x > 0 {
			aim = t.PredictedKL * nextFraction / x
		}
	}
	if best == nil {
		return nil, fmt.Errorf("the smallest divergence tried is KL %.4g, top-1 agreement %.4f on held-out text, beyond %v", last.Measured.KL, last.Measured.Top1, b)
	}
	made := *best.Recipe
	made.PredictedKL = threeDigits(best.Measured.KL)
	best.Recipe = &made
	return best, nil
}

// firstAim returns the predicted KL of the first trial.
func (b *Budget) firstAim() float64 {
	aim := b.KL
	if b.Top1 > 0 && (aim == 0 || top1KL(b.Top1) < aim) {
		aim = top1KL(b.Top1)
	}
	return aim * initialFraction
}

// exhausted returns m as a multiple of b's limits, in terms of KL; above 1 it is beyond
// one of them.
func (b *Budget) exhausted(m Measurement) float64 {
	x := 0.0
	if b.KL > 0 {
		x = m.KL / b.KL
	}
	if b.Top1 > 0 {
		x = max(x, top1KL(m.Top1)/top1KL(b.Top1))
	}
	return x
}

// run quantizes m with t.Recipe, as trial n, and measures the result.
func (t *Trial) run(ctx context.Context, m *Model, c *Calibration, n int, o SearchOptions) error {
	plan, err := NewPlan(m, t.Recipe)
	if err != nil {
		return err
	}
	t.bytes = plan.Bytes
	special, progress := o.Special, func(int64) {}
	if special == nil {
		special = func(int) bool { return false }
	}
	if o.Progress != nil {
		progress = func(weights int64) { o.Progress(n, weights) }
	}
	t.Health = NewHealth(c, m, plan, special)
	texts := &Calibration{Texts: c.Texts, Health: t.Health, Ahead: c.Ahead, final: c.final}
	progress(0)
	if err := Run(ctx, m, plan, texts, trialSink{t}, progress); err != nil {
		return err
	}
	c.final = texts.final // for the next trial
	t.Measured, err = o.Measure(ctx, t.Model(m, plan), c.Spare)
	return err
}
