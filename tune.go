package thimble

import (
	"context"
	"errors"
	"slices"

	"thimble/internal/memory"
	"thimble/internal/qtensor"
	"thimble/quantize"
	"thimble/quantize/tuning"
)

// Tuned is what tuning has reached on pieces of the calibration text that it does not tune on.
type Tuned struct {
	Tokens  int     `json:"tokens"`          // tuned on
	HeldOut int     `json:"held_out_tokens"` // measured on
	Steps   int     `json:"steps"`
	Best    int     `json:"best_step"`      // after which the file's values are; 0 if no step helped
	Before  float64 `json:"kl_mean_before"` // from the model it was made from, nats per token
	After   float64 `json:"kl_mean_after"`
}

// checkTuning returns an error if the run cannot tune.
func (q *quantization) checkTuning() error {
	switch {
	case q.cal.Tuning == nil:
		return nil
	case q.measured():
		return errors.New("--tune has no effect with --max-kl and --min-top1, which measure models that are not tuned; use --target-size")
	}
	return tuning.Check(&q.m.Spec)
}

// tune returns a function that carries out plan by fill, in memory, and writes the tensors
// after tuning them.
func (q *quantization) tune(ctx context.Context, plan *quantize.Plan, fill func(quantize.Sink) error) func(quantize.Sink) error {
	return func(sink quantize.Sink) error {
		coarse := quantize.Trial{}
		if err := fill(coarse.Sink()); err != nil {
			return err
		}
		m := coarse.Model(q.m, plan)
		o := tuning.Defaults()
		o.Progress = q.Progress.stage("tune", Tokens)
		r, err := tuning.Tune(ctx, q.m, m, *q.cal.Tuning, o)
		if err != nil {
			return err
		}
		q.tuned = &Tuned{q.cal.Tuning.Tokens(), q.cal.Tuning.HeldOutTokens(), r.Steps, r.Best, r.Before, r.After}
		for i, e := range plan.Tensors {
			if w := r.Tensors[e.Name]; w != nil {
				coarse.Tensors[i] = w
			}
		}
		return coarse.Replay(sink)
	}
}

// fitsTuning returns an error if tuning the result of plan would have no effect, or does not
// fit the bound on memory.
func (q *quantization) fitsTuning(plan *quantize.Plan) error {
	if q.cal.Tuning == nil {
		return nil
	}
	if !slices.ContainsFunc(plan.Tensors, func(e quantize.Entry) bool { return e.To.Kind == qtensor.Int }) {
		return errors.New("--tune has no effect: the recipe stores no matrix as integers; leave it out")
	}
	if q.MaxMem == 0 {
		return nil
	}
	scales := int64(0)
	for _, e := range plan.Tensors {
		scales += int64(e.Rows) * int64(e.To.Groups(e.Cols))
	}
	return memory.Check(q.MaxMem, memory.Live()+plan.Bytes+tuning.Bytes(&q.m.Spec, q.cal.Tuning, scales, tuning.Defaults().Batch))
}
