package thimble

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"thimble/internal/shard"
	"thimble/quantize"
	"thimble/quantize/kept"
)

// A Part describes the part of the output that one share of a divided run has written.
type Part struct {
	Shard   shard.Shard `json:"shard"`
	Tensors int         `json:"tensors"` // rounded, of
	Of      int         `json:"tensors_of_all_shards"`
}

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

// partFacts returns what the tensors of all parts depend on.
func (q *quantization) partFacts(plan *quantize.Plan) (quantize.Facts, error) {
	files, err := (&kept.Run{Model: q.m, Sources: q.sources}).ModelFacts()
	if err != nil {
		return nil, err
	}
	f := quantize.Facts{{"program", Tool + ", arithmetic " + strconv.Itoa(quantize.Arithmetic)}}
	return append(append(f, files...), [2]string{"recipe", plan.Recipe}), nil
}

// writePart writes the part of plan that is the run's share.
func (q *quantization) writePart(ctx context.Context, plan *quantize.Plan, r *Quantized) error {
	f, err := q.partFacts(plan)
	if err != nil {
		return err
	}
	part, err := q.Shard.Open(q.Output, f, q.Overwrite)
	if err != nil {
		return fmt.Errorf("%w; --force replaces it", err)
	}
	defer part.Close()
	tensors, costs := plan.Divisible()
	from, to := q.Shard.Bounds(costs)
	path := q.Shard.Path(q.Output)
	if err := quantize.RunPart(ctx, q.m, plan, tensors[from:to], part, q.Progress.stage(q.stage, Weights)); err != nil {
		if part.Len() > 0 {
			return &KeptPartError{err, path}
		}
		return err
	}
	if from == to { // there are more shares than tensors
		if err := part.Begin(); err != nil {
			return err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	r.Output, r.Bytes, r.Part = path, info.Size(), &Part{Shard: q.Shard, Tensors: to - from, Of: len(tensors)}
	return nil
}

// openParts opens the parts of plan, which must be complete.
func (q *quantization) openParts(plan *quantize.Plan) error {
	f, err := q.partFacts(plan)
	if err != nil {
		return err
	}
	if q.parts, err = shard.Collect(q.Output, f); err != nil {
		return err
	}
	for i, tensors := range q.divided(plan) {
		n, err := plan.FinishedPart(q.parts[i], tensors)
		if err == nil && n < len(tensors) {
			err = shard.Shard{Index: i + 1, Of: len(q.parts)}.Unfinished(q.Output)
		}
		if err != nil {
			shard.Close(q.parts)
			return err
		}
	}
	return nil
}

// divided returns the tensors of plan in each of the parts.
func (q *quantization) divided(plan *quantize.Plan) (all [][]int) {
	tensors, costs := plan.Divisible()
	for i := range q.parts {
		from, to := shard.Shard{Index: i + 1, Of: len(q.parts)}.Bounds(costs)
		all = append(all, tensors[from:to])
	}
	return all
}

// A KeptPartError is the error of a share of a divided run that kept what it has finished.
type KeptPartError struct {
	Err  error
	Path string // of the part
}

func (e *KeptPartError) Unwrap() error { return e.Err }
func (e *KeptPartError) Error() string { return e.Err.Error() + "; " + e.Remedy() }

// Remedy returns a sentence about what is kept and how to continue.
func (e *KeptPartError) Remedy() string {
	return fmt.Sprintf("what is finished is kept in %s, and the same command continues there", e.Path)
}
