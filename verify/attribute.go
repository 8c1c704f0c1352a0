package verify

import (
	"context"
	"fmt"
	"math"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A Stage is a model on the way from the reference to what runs on a phone, each
// with all that comes before it.
type Stage struct {
	Stage      string         `json:"stage"` // source, converted, weights, activations, kv
	Arithmetic ArithmeticInfo `json:"arithmetic"`
	KLMean     Value          `json:"kl_mean"`        // from the source
	Added      Value          `json:"kl_added"`       // to the stage before
	Top1       Value          `json:"top1_agreement"` // with the source
	PPLRatio   Value          `json:"ppl_ratio"`      // to the source
}

// Names of the stages.
const (
	stageSource      = "source"
	stageConverted   = "converted"
	stageWeights     = "weights"
	stageActivations = "activations"
	stageKV          = "kv"
)

// An attribution is what is run to tell the stages apart.
type attribution struct {
	name       string
	model      *model.Model
	arithmetic Arithmetic
}

// Attribute tells which stage costs how much: conversion, rounding weights,
// activations, keys and values. done is the report of the model in arithmetic a,
// against ref, on the same prompts; what a does not round is rounded to 8 bits in
// the last stages. ref may run once only, see Remember.
func Attribute(ctx context.Context, reference, subject *model.Model, ref Subject, prompts []Prompt, a Arithmetic, done *Report, progress func(stage string, done, total int)) ([]Stage, error) {
	stages := []Stage{{Stage: stageSource, Arithmetic: Describe(Arithmetic{}), Top1: 1, PPLRatio: 1}}
	for _, s := range attributionsOf(reference, subject, a) {
		m := done.Metrics
		if s.model != subject || s.arithmetic != a {
			run, err := NewSubjectWith(s.model, s.arithmetic, 0)
			if err != nil {
				return nil, err
			}
			var o Options
			if progress != nil {
				o.Progress = func(done, total int) { progress(s.name, done, total) }
			}
			report, err := Run(ctx, ref, run, prompts, o)
			if err != nil {
				return nil, fmt.Errorf("stage %s: %w", s.name, err)
			}
			m = report.Metrics
		}
		stages = append(stages, Stage{
			Stage: s.name, Arithmetic: Describe(s.arithmetic), KLMean: m.KLMean, Added: m.KLMean - stages[len(stages)-1].KLMean,
			Top1: m.Top1Agreement, PPLRatio: m.PPLRatio,
		})
	}
	return stages, nil
}

func attributionsOf(reference, subject *model.Model, a Arithmetic) (all []attribution) {
	before, known := converted(reference, subject)
	if before == nil {
		before = subject // nothing is in integers
	}
	if known {
		all = append(all, attribution{stageConverted, before, Arithmetic{}})
	}
	var now Arithmetic
	if before != subject {
		all = append(all, attribution{stageWeights, subject, now})
		now.Activations = a.Activations
		now.Activations.Int8 = true
		if layersInIntegers(subject) {
			all = append(all, attribution{stageActivations, subject, now})
		} else {
			now.Activations = a.Activations
		}
	}
	now.Keys, now.Values = a.Keys, a.Values
	if now.Keys.Kind == qtensor.F32 && now.Values.Kind == qtensor.F32 {
		now.Keys = qtensor.Scheme{Kind: qtensor.Int, Bits: 8}
		now.Values = now.Keys
	}
	return append(all, attribution{stageKV, subject, now})
}

// layersInIntegers says whether there are activations to round.
func layersInIntegers(m *model.Model) bool {
	for _, s := range m.Spec.Slots() {
		if (s.Role == model.Linear || s.Name == m.HeadName()) && !m.Tensors[s.Name].Scheme.Float() {
			return true
		}
	}
	return false
}

// converted is the model as it was before its weights were rounded, as far as it
// can be known: what it computes and the tensors that it keeps as floats are its
// own, the others, with their biases, which may have been turned with them, are
// the reference's. It is nil if all are floats, and not known if the reference
// has no such tensor.
func converted(reference, subject *model.Model) (before *model.Model, known bool) {
	m := *subject
	m.Tensors = make(map[string]*qtensor.Matrix, len(subject.Tensors))
	any := false
	for name, w := range subject.Tensors {
		of := subject.Tensors[strings.TrimSuffix(name, model.BiasSuffix)]
		if of == nil {
			of = w
		}
		if of.Scheme.Float() {
			m.Tensors[name] = w
			continue
		}
		any = true
		source := reference.Tensors[name]
		if source == nil || source.Rows != w.Rows || source.Cols != w.Cols {
			return &m, false
		}
		m.Tensors[name] = source
	}
	if !any {
		return nil, true
	}
	return &m, true
}

// writeStages is the table of stages.
func (r *Report) writeStages(b *strings.Builder) {
	if len(r.Stages) == 0 {
		return
	}
	fmt.Fprintf(b, "\n  %-12s %10s %10s %7s %10s\n", "stage", "kl_mean", "kl_added", "top1", "ppl_ratio")
	most := 0.0
	for _, s := range r.Stages {
		most = max(most, float64(s.Added))
	}
	for _, s := range r.Stages {
		bar := ""
		if most > 0 && s.Added > 0 {
			bar = strings.Repeat("#", int(math.Ceil(20*float64(s.Added)/most)))
		}
		line := fmt.Sprintf("  %-12s %10s %10s %7s %10s  %s", s.Stage, figure(s.KLMean), figure(s.Added), share(s.Top1), figure(s.PPLRatio), bar)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	if last := r.Stages[len(r.Stages)-1]; last.Arithmetic.String() != float32Name {
		writeWrapped(b, "each with those before it; the last has "+last.Arithmetic.String())
	}
}
