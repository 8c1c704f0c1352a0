package thimble

import (
	"context"
	"fmt"
	"math"
	"slices"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
	"thimble/verify"
	"thimble/verify/reference"
)

const (
	initialFraction = 0.7 // of the measured divergence, before any is measured
	near            = 0.8 // of the limit: not worth another try
	margin          = 0.95
	mostTries       = 4
)

func top1KL(a float64) float64 { return (1 - a) * (1 - a) / (0.55 * 0.55) }

// A Measurement is what held-out text says of a finished quantization.
type Measurement struct {
	Tokens int     `json:"tokens"` // scored
	KL     float64 `json:"kl_mean"`
	Top1   float64 `json:"top1_agreement"`
}

func (b *Budget) excessOf(m Measurement) float64 {
	x := 0.0
	if b.KL > 0 {
		x = m.KL / b.KL
	}
	if b.Top1 > 0 {
		x = max(x, top1KL(m.Top1)/top1KL(b.Top1))
	}
	return x
}

// A trial is a finished quantization, kept in memory.
type trial struct {
	recipe    *Recipe
	predicted float64
	health    *quantize.Health
	tensors   []*qtensor.Matrix
	measured  Measurement
}

func (s *trial) Write(m *qtensor.Matrix) error {
	same := *m // Run may use the struct again, not the planes
	s.tensors = append(s.tensors, &same)
	return nil
}

func (q *quantization) measuredSearch(ctx context.Context, survey *quantize.Survey) (*trial, error) {
	b, m, base := q.Budget, q.m, q.recipe
	_, least, err := survey.Allocate(m, base, math.MaxInt64, 0) // of the largest schemes
	if err != nil {
		return nil, err
	}
	aim := b.firstAim()
	var best, last *trial
	for range mostTries {
		s := &trial{}
		if s.recipe, s.predicted, err = survey.Allocate(m, base, 0, max(aim, least)); err != nil {
			return nil, err
		}
		if last != nil && slices.Equal(s.recipe.Rules, last.recipe.Rules) {
			break // nothing between that and the limit
		}
		if err := s.run(ctx, q); err != nil {
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

func (b *Budget) firstAim() float64 {
	aim := b.KL
	if b.Top1 > 0 && (aim == 0 || top1KL(b.Top1) < aim) {
		aim = top1KL(b.Top1)
	}
	return aim * initialFraction
}

func (s *trial) run(ctx context.Context, q *quantization) error {
	plan, err := quantize.NewPlan(q.m, s.recipe)
	if err != nil {
		return err
	}
	s.health = quantize.NewHealth(q.cal.Calibration, q.m, plan, q.cal.special)
	q.cal.Health = s.health
	weights, _ := q.m.Size()
	report := q.Progress.stage(q.stage, Weights)
	if err := quantize.Run(ctx, q.m, plan, q.cal.Calibration, s, func(done int64) { report(done, weights) }); err != nil {
		return err
	}
	s.measured, err = s.measure(ctx, q, plan)
	return err
}

func (s *trial) measure(ctx context.Context, q *quantization, plan *quantize.Plan) (out Measurement, err error) {
	coarse := *q.m
	coarse.Tensors = map[string]*qtensor.Matrix{}
	for i, e := range plan.Tensors {
		coarse.Tensors[e.Name] = s.tensors[i]
	}
	return measure(ctx, q.m, &coarse, q.cal.Spare, q.Progress)
}

// measure scores texts with m and with coarse, which is m quantized.
func measure(ctx context.Context, m, coarse *model.Model, texts [][]int, progress Progress) (out Measurement, err error) {
	original, err := reference.NewScorer(m, Arithmetic{}, 0)
	if err != nil {
		return out, err
	}
	scorer, err := reference.NewScorer(coarse, Arithmetic{}, 0)
	if err != nil {
		return out, err
	}
	var prompts []reference.Prompt
	for _, ids := range texts {
		one, err := reference.TextPrompts(ids, len(ids), 1, -1)
		if err != nil {
			return out, err
		}
		prompts = append(prompts, one...)
	}
	tokens := progress.stage("measure", Tokens)
	report, err := verify.Run(ctx, reference.FromScorer(original), scorer, prompts, verify.Options{Progress: func(done, total int) { tokens(int64(done), int64(total)) }})
	if err != nil {
		return out, err
	}
	return Measurement{report.Metrics.Tokens, float64(report.Metrics.KLMean), float64(report.Metrics.Top1Agreement)}, nil
}

func (s *trial) size() (n int64) {
	for _, t := range s.tensors {
		n += t.Bytes()
	}
	return n
}

func (s *trial) replay(sink quantize.Sink) error {
	for _, t := range s.tensors {
		if err := sink.Write(t); err != nil {
			return err
		}
	}
	return nil
}
