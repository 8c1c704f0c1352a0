// Package tuning changes the scales, minima, norm gains and biases of a quantized model so
// that its logits come closer to those of the model that it was made from. The codes stay.
package tuning

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"

	"thimble/internal/gradient"
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Rates are the sizes of steps of each kind of parameter: the part of the divergence that a
// first step at the full rate would remove if the divergence fell along its gradient. A rate
// of 0 leaves a kind as it is.
type Rates struct{ Scales, Mins, Gains, Biases float64 }

// Options specify a run.
type Options struct {
	Rates  Rates
	Epochs int // passes over the texts
	Batch  int // tokens of a step, in whole texts, at least one

	// Progress, if not nil, is called with the work done and its total, in tokens.
	Progress func(done, total int64)
	// Measured, if not nil, is called after each measurement on the held-out texts.
	Measured func(step int, kl float64)
}

// Defaults returns the Options with which the divergence falls most on held-out text
// (docs/QUANTIZATION.md).
func Defaults() Options {
	return Options{Rates: Rates{Scales: 0.1, Mins: 0.1, Gains: 0.1, Biases: 0.1}, Epochs: 1, Batch: 1024}
}

// Check returns an error that names a feature of s with which Tune cannot work.
func Check(s *model.Spec) error { return gradient.Check(s) }

// measurements is the number of times that a run measures the divergence on held-out texts,
// besides the first. It ends after patience of them without a new least.
const (
	measurements = 4
	patience     = 3
)

// A Result is what a run has reached.
type Result struct {
	Tensors       map[string]*qtensor.Matrix // those that changed
	Before, After float64                    // mean KL on the held-out texts, nats per token
	Steps, Best   int                        // steps made, and the one after which the tensors are
}

// Adam (arXiv 1412.6980, algorithm 1).
const (
	beta1   = 0.9
	beta2   = 0.95
	epsilon = 1e-12
	// most is the largest change of a parameter, in its unit, so that a scale keeps its sign.
	most = 0.5
	// warmUp is the share of the steps over which the rates rise. They then fall to 0 along
	// a cosine.
	warmUp = 0.1
)

// Tune tunes coarse, which was made from original and has tensors of the same names, on texts,
// and stops when the divergence on the held-out texts no longer falls. The
// result has the same bits on any machine.
func Tune(ctx context.Context, original, coarse *model.Model, on Texts, o Options) (*Result, error) {
	texts := on.Texts
	t, err := newTuner(ctx, original, coarse, on.HeldOut, o)
	if err != nil {
		return nil, err
	}
	each := max(1, o.Batch/len(texts[0]))
	batches := (len(texts) + each - 1) / each
	steps := o.Epochs * batches
	t.total = int64(o.Epochs*tokens(texts) + (measurements+1)*tokens(on.HeldOut))
	best, err := t.measure(ctx)
	if err != nil {
		return nil, err
	}
	r := &Result{Before: best, After: best}
	kept, worse := t.deltas(), 0
	for step := 1; step <= steps && worse < patience; step++ {
		from := (step - 1) % batches * each
		if err := t.step(ctx, texts[from:min(from+each, len(texts))], step, rate(step, steps)); err != nil {
			return nil, err
		}
		r.Steps = step
		if step*measurements/steps == (step-1)*measurements/steps {
			continue
		}
		kl, err := t.measure(ctx)
		if err != nil {
			return nil, err
		}
		if o.Measured != nil {
			o.Measured(step, kl)
		}
		if kl < r.After {
			r.After, r.Best, worse = kl, step, 0
			kept = t.deltas()
			continue
		}
		worse++
		if err := t.back(kept); err != nil {
			return nil, err
		}
	}
	if err := t.back(kept); err != nil {
		return nil, err
	}
	r.Tensors = t.tuned
	if o.Progress != nil {
		o.Progress(t.total, t.total)
	}
	return r, nil
}

// rate returns the factor of the rates in a step, counted from 1.
func rate(step, steps int) float64 {
	x := float64(step) / (float64(steps) + 1)
	if x < warmUp {
		return x / warmUp
	}
	return (1 + kernel.Cos64(math.Pi*(x-warmUp)/(1-warmUp))) / 2
}

// A tuner is the state of a run.
type tuner struct {
	original, m *model.Model // m has the tuned tensors
	tuned       map[string]*qtensor.Matrix
	gradients   gradient.Gradients
	parameters  []parameter
	held        []held
	rates       [kinds]float64 // of a step at the full rate
	o           Options
	done, total int64
}

func newTuner(ctx context.Context, original, coarse *model.Model, texts [][]int, o Options) (*tuner, error) {
	if err := gradient.Check(&coarse.Spec); err != nil {
		return nil, err
	}
	m := *coarse
	m.Tensors = maps.Clone(coarse.Tensors)
	t := &tuner{original: original, m: &m, tuned: map[string]*qtensor.Matrix{}, o: o}
	t.gradients = gradient.New(coarse, func(s model.Slot) bool { return t.tunes(s) })
	for _, slot := range coarse.Spec.Slots() {
		if g := t.gradients[slot.Name]; g != nil {
			w := cloned(coarse.Tensors[slot.Name])
			t.tuned[slot.Name], m.Tensors[slot.Name] = w, w
			t.parameters = append(t.parameters, parametersOf(&m.Spec, slot, coarse.Tensors[slot.Name], w, g, o.Rates)...)
		}
	}
	if len(t.parameters) == 0 {
		return nil, errors.New("there is nothing to tune: no matrix is stored as integers")
	}
	if err := t.store(); err != nil {
		return nil, err
	}
	var err error
	t.held, err = heldOut(ctx, original, texts)
	return t, err
}

// tunes reports whether a tensor has parameters.
func (t *tuner) tunes(s model.Slot) bool {
	w := t.m.Tensors[s.Name]
	if s.Role != model.Vector {
		return w.Scheme.Kind == qtensor.Int && !w.Scheme.Short && (t.o.Rates.Scales > 0 || t.o.Rates.Mins > 0)
	}
	return !s.Fixed() && t.o.Rates.list()[ofVector(s.Name)] > 0
}

// cloned returns a copy of w that shares its codes if it is of integers.
func cloned(w *qtensor.Matrix) *qtensor.Matrix {
	c := *w
	c.Scales, c.Mins = append([]byte(nil), w.Scales...), append([]byte(nil), w.Mins...)
	if w.Scheme.Kind != qtensor.Int {
		c.Codes, c.Source = make([]byte, w.RowBytes()*w.Rows), nil
	}
	return &c
}

// step makes one step on a batch.
func (t *tuner) step(ctx context.Context, texts [][]int, step int, rate float64) error {
	t.gradients.Clear()
	sum := 0.0
	for _, part := range parts(texts, t.m.Spec.Vocab) {
		h, err := hidden(ctx, t.original, part)
		if err != nil {
			return err
		}
		target := func(ctx context.Context, dst []float32, first, n int) error { return h.Logits(ctx, dst, first, n) }
		kl, err := t.gradients.Add(ctx, t.m, part, target)
		if err != nil {
			return err
		}
		for _, v := range kl {
			sum += v
		}
		t.report(tokens(part))
	}
	for i := range t.parameters {
		if !t.parameters[i].observe(1 / float32(tokens(texts))) {
			return fmt.Errorf("tuning: the gradient of %s is not finite", t.parameters[i].name)
		}
	}
	if step == 1 {
		t.setRates(sum / float64(tokens(texts)))
	}
	for i := range t.parameters {
		p := &t.parameters[i]
		p.move(step, rate*t.rates[p.kind])
	}
	return t.store()
}

// setRates sets the size of steps, given the divergence of the first batch.
func (t *tuner) setRates(kl float64) {
	var slope [kinds]float64
	for i := range t.parameters {
		slope[t.parameters[i].kind] += t.parameters[i].slope()
	}
	for k, share := range t.o.Rates.list() {
		if slope[k] > 0 {
			t.rates[k] = share * kl / slope[k]
		}
	}
}

// back returns to the given changes, with steps a quarter as large from there on.
func (t *tuner) back(deltas [][]float32) error {
	for i := range t.parameters {
		copy(t.parameters[i].delta, deltas[i])
		clear(t.parameters[i].first)
	}
	for k := range t.rates {
		t.rates[k] /= 4
	}
	return t.store()
}

// store writes the values of all parameters to the tensors, rounded to their types.
func (t *tuner) store() error {
	for i := range t.parameters {
		if err := t.parameters[i].store(); err != nil {
			return fmt.Errorf("tuning: %s: %w", t.parameters[i].name, err)
		}
	}
	return nil
}

// deltas returns a copy of the changes of all parameters.
func (t *tuner) deltas() (all [][]float32) {
	for i := range t.parameters {
		all = append(all, append([]float32(nil), t.parameters[i].delta...))
	}
	return all
}

func (t *tuner) report(n int) {
	if t.done += int64(n); t.o.Progress != nil {
		t.o.Progress(min(t.done, t.total), t.total)
	}
}

func tokens(texts [][]int) (n int) {
	for _, ids := range texts {
		n += len(ids)
	}
	return n
}
