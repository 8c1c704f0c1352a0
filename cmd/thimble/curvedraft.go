package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
	"thimble/verify"
	"thimble/verify/reference"
)

// A drafting is a curve being made.
type drafting struct {
	*curve
	c       *cli.Context
	m       *model.Model
	rows    []*row
	out     *folder
	prompts [][]reference.Prompt // by text
	texts   *quantize.Calibration
}

// choose calibrates, surveys and plans all rows, so that what cannot be done is
// known before anything long begins.
func (d *drafting) choose() error {
	if err := d.calibrate(); err != nil {
		return err
	}
	survey, err := d.survey()
	if err != nil {
		return err
	}
	for _, r := range d.rows {
		if err := r.choose(d.m, survey); err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
	}
	return nil
}

// calibrate reads the text, if any row wants it.
func (d *drafting) calibrate() error {
	shared := &quantize.Recipe{}
	if slices.ContainsFunc(d.rows, func(r *row) bool { return r.calibrated }) {
		shared.Method = quantize.MethodGPTQ
	}
	cal, err := calibrationOf(d.c, d.m, shared)
	if err != nil {
		return err
	}
	d.texts = cal.texts
	if cal.note != "" {
		d.Notes = append(d.Notes, cal.note)
	}
	if cal.texts != nil {
		d.Calibration = (*curveText)(shared.Texts)
	}
	for _, r := range d.rows {
		if r.calibrated {
			r.recipe.Texts = shared.Texts
		}
	}
	return nil
}

// survey makes the survey of all schemes that some row may choose, and tells each
// row its own.
func (d *drafting) survey() (*quantize.Survey, error) {
	var all []qtensor.Scheme
	for _, r := range d.rows {
		if r.budget == nil {
			continue
		}
		var err error
		if r.budget.schemes, err = candidateSchemes(r.candidates, d.m, r.target); err != nil {
			return nil, fmt.Errorf("row %s: schemes: %w", r.name, err)
		}
		for _, s := range r.budget.schemes {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	if all == nil {
		return nil, nil
	}
	d.Survey = &cost{}
	defer d.Survey.start()()
	return takeSurvey(d.c, d.m, d.texts, all)
}

// remembered is how many bytes of final hidden states the reference keeps.
const remembered = 128 << 20

// measure makes every row's file and compares it with the model.
func (d *drafting) measure() error {
	scorer, err := reference.NewScorer(d.m, verify.Arithmetic{}, 0)
	if err != nil {
		return err
	}
	var hashed []string // if some row makes a file
	if slices.ContainsFunc(d.rows, func(r *row) bool { return r.file == "" }) {
		hashed = d.m.Files
	}
	sources, err := startHashing(d.c.Context, hashed, nil)
	if err != nil {
		return err
	}
	defer sources.stop()
	ref := reference.FromScorer(reference.CacheLogits(scorer, remembered/(4*d.m.Spec.Hidden)))
	for i, r := range d.rows {
		label := fmt.Sprintf("%s (%d of %d)", r.name, i+1, len(d.rows))
		if err := d.row(r, sources, ref, label); err != nil {
			return fmt.Errorf("row %s: %w", r.name, err)
		}
	}
	return nil
}

func (d *drafting) row(r *row, sources *hashing, ref reference.Reference, label string) error {
	done := curveRow{Name: r.name, File: r.file, PredictedKL: r.predicted, kind: r.kind}
	out := r.file
	if out == "" {
		done.Recipe, out = r.plan.Recipe, d.out.file(fileName(r.name)+".thimble")
		stop := done.start()
		if err := d.write(r, sources, out, label); err != nil {
			return err
		}
		stop()
		if !d.c.Bool(keepFlag.Name) {
			defer os.Remove(out)
		}
	}
	q, err := openSound(out, nil)
	if err != nil {
		return err
	}
	defer q.Close()
	info, err := identity(d.c.Context, q, nil)
	if err != nil {
		return err
	}
	done.Bytes, done.SHA256, done.BitsPerWeight = info.Bytes, info.SHA256, info.BitsPerWeight
	scorer, err := reference.NewScorer(q, verify.Arithmetic{}, 0)
	if err != nil {
		return err
	}
	for i := range d.prompts {
		report, err := compare(d.c, label+": verify", ref, scorer, d.prompts[i], verify.Options{})
		if err != nil {
			return err
		}
		m := report.Metrics
		d.Texts[i].Tokens, d.Texts[i].PPL = m.Tokens, m.PPLReference
		done.Measured = append(done.Measured, curvePoint{m.KLMean, m.KLMeanSE, m.KLP99, m.Top1Agreement, m.PPL, m.PPL / m.PPLReference})
	}
	d.Rows = append(d.Rows, done)
	return nil
}

// write makes r's container.
func (d *drafting) write(r *row, sources *hashing, out, label string) error {
	texts := d.texts
	if !r.calibrated {
		texts = nil
	}
	progress := newMeter(d.c, label+": quantize", "million weights", 1e6)
	defer progress.done()
	_, err := writeContainer(d.m, sources, r.plan, out, false, func(sink quantize.Sink) error {
		return quantize.Run(d.c.Context, d.m, r.plan, texts, sink, func(done int64) { progress.at(done, d.Weights) })
	})
	return err
}

// start measures a cost from now on, until stop.
func (k *cost) start() (stop func()) {
	debug.FreeOSMemory() // what was garbage before is none of it
	known, begun := resetPeak(), time.Now()
	return func() {
		k.Seconds = time.Since(begun).Seconds()
		if known {
			k.Peak = peakMemory()
		}
	}
}
