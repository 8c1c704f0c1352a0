package thimble

import (
	"context"
	"errors"

	"thimble/internal/shard"
	"thimble/quantize"
	"thimble/quantize/kept"
)

// The results and errors of shares of divided runs.
type (
	Part          = kept.Part       // what a share of Quantize has written
	KeptPartError = shard.PartError // the error of a share that kept what it has finished
)

// checkDivision returns an error if the run cannot be divided.
func (q *quantization) checkDivision(calibrated bool) error {
	divided := q.Shard.Of > 1
	switch {
	case !divided && !q.Merge:
		return nil
	case divided && q.Merge:
		return errors.New("--shard writes a part, and --merge puts all together; give one")
	case calibrated:
		return errors.New("--shard and --merge divide runs without calibration, such as --method rtn; a calibrated run goes block after block, and --resume continues it")
	case q.Output == "":
		return errors.New("--shard and --merge have no effect with --dry-run; leave one out")
	case divided && q.Modelfile.Path != "":
		return errors.New("--modelfile goes with --merge, which writes the file that it is for")
	}
	return nil
}

// partsOf returns the parts of plan.
func (q *quantization) partsOf(plan *quantize.Plan) *kept.Parts {
	return &kept.Parts{Output: q.Output, Program: Tool, Run: &kept.Run{Model: q.m, Sources: q.sources}, Plan: plan}
}

// writePart writes the run's share of plan.
func (q *quantization) writePart(ctx context.Context, plan *quantize.Plan, r *Quantized) (err error) {
	if r.Part, err = q.partsOf(plan).Write(ctx, q.Shard, q.Overwrite, q.Progress.stage(q.stage, Weights)); err == nil {
		r.Output, r.Bytes = r.Part.Path, r.Part.Bytes
	}
	return err
}
