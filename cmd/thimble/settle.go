package main

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/urfave/cli/v2"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
	"thimble/verify"
	"thimble/verify/reference"
)

// A prediction of divergence from single matrices is right in proportion, not in
// height. So limits on what the file says, --max-kl and --min-top1, are kept by
// measuring: the model is quantized, heard on held-out pieces of the calibration
// text, and quantized again with the prediction put right, until it is within the
// limits and not far below them.
const (
	foretold  = 0.7 // of the measured divergence, before any is measured
	near      = 0.8 // of the limit: not worth another try
	margin    = 0.95
	mostTries = 4
)

// top1KL is the KL from which top-1 agreement a is first expected: 1-a grows with
// its root, by about 0.55 for models of natural language.
func top1KL(a float64) float64 { return (1 - a) * (1 - a) / (0.55 * 0.55) }

// A measurement is what held-out text says of a finished quantization.
type measurement struct {
	Tokens int     `json:"tokens"` // scored
	KL     float64 `json:"kl_mean"`
	Top1   float64 `json:"top1_agreement"`
}

// excessOf is how far beyond b's limits it is, as a multiple of KL: at most 1 is
// within.
func (b *budget) excessOf(m measurement) float64 {
	x := 0.0
	if b.kl > 0 {
		x = m.KL / b.kl
	}
	if b.top1 > 0 {
		x = max(x, top1KL(m.Top1)/top1KL(b.top1))
	}
	return x
}

// A settled is a finished quantization, kept in memory.
type settled struct {
	recipe    *quantize.Recipe
	predicted float64
	health    *quantize.Health
	tensors   []*qtensor.Matrix
	measured  measurement
}

// Write takes the next tensor of the plan.
func (s *settled) Write(m *qtensor.Matrix) error {
	same := *m // Run may use the struct again, not the planes
	s.tensors = append(s.tensors, &same)
	return nil
}

var errNoSpare = errors.New("--max-kl and --min-top1 are measured on pieces of the calibration text that are not calibrated on, and it is too short for any; " +
	"give a longer text or a smaller --calib-tokens")

// settle quantizes m until it keeps the limits of b on the spare pieces of cal.
func (b *budget) settle(c *cli.Context, m *model.Model, survey *quantize.Survey, base *quantize.Recipe, cal calibration) (*settled, error) {
	_, least, err := survey.Allocate(m, base, math.MaxInt64, 0) // of the largest schemes
	if err != nil {
		return nil, err
	}
	aim := b.firstAim()
	var best, last *settled
	for range mostTries {
		s := &settled{}
		if s.recipe, s.predicted, err = survey.Allocate(m, base, 0, max(aim, least)); err != nil {
			return nil, err
		}
		if last != nil && slices.Equal(s.recipe.Rules, last.recipe.Rules) {
			break // nothing between that and the limit
		}
		if err := s.run(c, m, cal); err != nil {
			return nil, err
		}
		over := b.excessOf(s.measured)
		if over <= 1 && (best == nil || s.size() < best.size()) {
			best = s
		}
		if over <= 1 && over >= near {
			break
		}
		last, aim = s, math.Inf(1)
		if over > 0 {
			aim = s.predicted * margin / over
		}
	}
	if best == nil {
		return nil, fmt.Errorf("the smallest divergence tried is KL %.4f, top-1 agreement %.4f on held-out text, beyond %s", last.measured.KL, last.measured.Top1, b)
	}
	return best, nil
}

// firstAim is the predicted KL that is tried first.
func (b *budget) firstAim() float64 {
	aim := b.kl
	if b.top1 > 0 && (aim == 0 || top1KL(b.top1) < aim) {
		aim = top1KL(b.top1)
	}
	return aim * foretold
}

// run quantizes m by s.recipe and measures what came of it.
func (s *settled) run(c *cli.Context, m *model.Model, cal calibration) error {
	plan, err := quantize.NewPlan(m, s.recipe)
	if err != nil {
		return err
	}
	s.health = quantize.NewHealth(cal.texts, m, plan, cal.special)
	cal.texts.Health = s.health
	weights, _ := m.Size()
	progress := newMeter(c, c.Command.Name, "M weights", 1e6)
	err = quantize.Run(c.Context, m, plan, cal.texts, s, func(done int64) { progress.at(done, weights) })
	progress.done()
	if err != nil {
		return err
	}
	s.measured, err = s.measure(c, m, plan, cal.texts.Spare)
	return err
}

func (s *settled) measure(c *cli.Context, m *model.Model, plan *quantize.Plan, spare [][]int) (out measurement, err error) {
	coarse := *m
	coarse.Tensors = map[string]*qtensor.Matrix{}
	for i, e := range plan.Tensors {
		coarse.Tensors[e.Name] = s.tensors[i]
	}
	original, err := reference.NewScorer(m, verify.Arithmetic{}, 0)
	if err != nil {
		return out, err
	}
	scorer, err := reference.NewScorer(&coarse, verify.Arithmetic{}, 0)
	if err != nil {
		return out, err
	}
	var prompts []reference.Prompt
	for _, ids := range spare {
		one, err := reference.TextPrompts(ids, len(ids), 1, -1)
		if err != nil {
			return out, err
		}
		prompts = append(prompts, one...)
	}
	report, err := compare(c, "measure", reference.FromScorer(original), scorer, prompts, verify.Options{})
	if err != nil {
		return out, err
	}
	return measurement{report.Metrics.Tokens, float64(report.Metrics.KLMean), float64(report.Metrics.Top1Agreement)}, nil
}

// size is the bytes of all tensors.
func (s *settled) size() (n int64) {
	for _, t := range s.tensors {
		n += t.Bytes()
	}
	return n
}

// replay writes the tensors to a sink.
func (s *settled) replay(sink quantize.Sink) error {
	for _, t := range s.tensors {
		if err := sink.Write(t); err != nil {
			return err
		}
	}
	return nil
}
