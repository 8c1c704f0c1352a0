package verify

import (
	"context"
	"fmt"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/verify/metric"
	"thimble/verify/reference"
)

// A Stage is a model between the reference and the integer model that a phone runs. Each
// stage includes those before it.
type Stage struct {
	Stage      string         `json:"stage"` // StageSource and so on
	Arithmetic ArithmeticInfo `json:"arithmetic"`
	KLMean     metric.Value   `json:"kl_mean"`        // from the source
	Added      metric.Value   `json:"kl_added"`       // to the stage before
	Top1       metric.Value   `json:"top1_agreement"` // with the source
	PPLRatio   metric.Value   `json:"ppl_ratio"`      // to the source
}

// The names of stages.
const (
	StageSource      = "source"
	StageConverted   = "converted"
	StageWeights     = "weights"
	StageActivations = "activations"
	StageKV          = "kv"
)

// StageOptions are the inputs of Attribute.
type StageOptions struct {
	Source     *Model              // the source of Subject
	Subject    *Model              // the model that Done reports on
	Reference  reference.Reference // of Source; CacheLogits runs it only once
	Prompts    []reference.Prompt
	Arithmetic Arithmetic // in which Done was measured
	Done       *Report    // of Subject against Reference, on Prompts

	Progress func(stage string, done, total int) // called with the positions scored so far; may be nil
}

// Attribute measures the cost of each stage: of conversion, and of rounding weights,
// activations, keys and values. If o.Arithmetic does not round the activations, keys or
// values, their stages round them to 8 bits.
func Attribute(ctx context.Context, o StageOptions) ([]Stage, error) {
	stages := []Stage{{Stage: StageSource, Arithmetic: Describe(Arithmetic{}), Top1: 1, PPLRatio: 1}}
	for _, s := range o.runs() {
		m := o.Done.Metrics
		if s.model != o.Subject || s.arithmetic != o.Arithmetic {
			scorer, err := reference.NewScorer(s.model, s.arithmetic, 0)
			if err != nil {
				return nil, err
			}
			var run Options
			if o.Progress != nil {
				run.Progress = func(done, total int) { o.Progress(s.stage, done, total) }
			}
			report, err := Run(ctx, o.Reference, scorer, o.Prompts, run)
			if err != nil {
				return nil, fmt.Errorf("stage %s: %w", s.stage, err)
			}
			m = report.Metrics
		}
		stages = append(stages, Stage{
			Stage: s.stage, Arithmetic: Describe(s.arithmetic), KLMean: m.KLMean, Added: m.KLMean - stages[len(stages)-1].KLMean,
			Top1: m.Top1Agreement, PPLRatio: m.PPLRatio,
		})
	}
	return stages, nil
}

// A stageRun describes the run that measures a stage.
type stageRun struct {
	stage      string
	model      *Model
	arithmetic Arithmetic
}

// runs lists the stages after the source.
func (o *StageOptions) runs() (all []stageRun) {
	before, known := beforeRounding(o.Source, o.Subject)
	if before == nil {
		before = o.Subject // nothing is stored as integers
	}
	if known {
		all = append(all, stageRun{StageConverted, before, Arithmetic{}})
	}
	a := o.Arithmetic
	var now Arithmetic
	if before != o.Subject {
		all = append(all, stageRun{StageWeights, o.Subject, now})
		now.Activations = a.Activations
		now.Activations.Int8 = true
		if hasIntegerLayers(o.Subject) {
			all = append(all, stageRun{StageActivations, o.Subject, now})
		} else {
			now.Activations = a.Activations
		}
	}
	now.Keys, now.Values = a.Keys, a.Values
	if now.Keys.Kind == qtensor.F32 && now.Values.Kind == qtensor.F32 {
		now.Keys = qtensor.Scheme{Kind: qtensor.Int, Bits: 8}
		now.Values = now.Keys
	}
	return append(all, stageRun{StageKV, o.Subject, now})
}

// hasIntegerLayers reports whether m has activations to round.
func hasIntegerLayers(m *Model) bool {
	for _, s := range m.Spec.Slots() {
		if (s.Role == model.Linear || s.Name == m.HeadName()) && !m.Tensors[s.Name].Scheme.Float() {
			return true
		}
	}
	return false
}

// beforeRounding reconstructs the subject before its weights were rounded. The Spec and
// the tensors that it keeps as floats are the subject's own. The other tensors are the
// source's, and so are their biases, which may have been rotated with them.
// beforeRounding returns nil if all tensors are floats. known is false if the source
// lacks a tensor.
func beforeRounding(source, subject *Model) (before *Model, known bool) {
	m := *subject
	m.Tensors = make(map[string]*qtensor.Matrix, len(subject.Tensors))
	rounded := false
	for name, w := range subject.Tensors {
		weights := subject.Tensors[strings.TrimSuffix(name, model.BiasSuffix)]
		if weights == nil {
			weights = w
		}
		if weights.Scheme.Float() {
			m.Tensors[name] = w
			continue
		}
		rounded = true
		original := source.Tensors[name]
		if original == nil || original.Rows != w.Rows || original.Cols != w.Cols {
			return &m, false
		}
		m.Tensors[name] = original
	}
	if !rounded {
		return nil, true
	}
	return &m, true
}
