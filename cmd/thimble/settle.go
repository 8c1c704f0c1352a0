package main

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"thimble/internal/model"
	"thimble/quantize"
	"thimble/verify"
)

var errNoSpare = errors.New("--max-kl and --min-top1 are measured on pieces of the calibration text that are not calibrated on, and it is too short for any; " +
	"give a longer text or a smaller --calib-tokens")

// settle quantizes m until it keeps the limits of b on the spare pieces of cal.
func (b *budget) settle(c *cli.Context, m *model.Model, survey *quantize.Survey, base *quantize.Recipe, cal calibration) (*quantize.Trial, error) {
	weights, _ := m.Size()
	progress := newMeter(c, c.Command.Name, "M weights", 1e6)
	defer func() { progress.done() }()
	return b.limit().MeasuredSearch(c.Context, m, base, survey, cal.texts, quantize.SearchOptions{
		Special: cal.special,
		Progress: func(_ int, done int64) {
			if done == 0 {
				progress = newMeter(c, c.Command.Name, "M weights", 1e6)
			}
			progress.at(done, weights)
		},
		Measure: func(_ context.Context, coarse *model.Model, texts [][]int) (quantize.Measurement, error) {
			progress.done()
			return measureOn(c, m, coarse, texts)
		},
	})
}

// measureOn compares coarse with m on texts.
func measureOn(c *cli.Context, m, coarse *model.Model, texts [][]int) (out quantize.Measurement, err error) {
	reference, err := verify.NewSubject(m, 0)
	if err != nil {
		return out, err
	}
	subject, err := verify.NewSubject(coarse, 0)
	if err != nil {
		return out, err
	}
	var prompts []verify.Prompt
	for _, ids := range texts {
		one, err := verify.TextPrompts(ids, len(ids), 1, -1)
		if err != nil {
			return out, err
		}
		prompts = append(prompts, one...)
	}
	report, err := compare(c, "measure", reference, subject, prompts, verify.Options{})
	if err != nil {
		return out, err
	}
	return quantize.Measurement{Tokens: report.Metrics.Tokens, KL: float64(report.Metrics.KLMean), Top1: float64(report.Metrics.Top1Agreement)}, nil
}
