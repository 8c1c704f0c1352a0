package rounding

import (
	"context"
	"fmt"

	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// rowsPerTask amortizes the cost of scheduling a task.
const rowsPerTask = 16

// EachRow calls f with the float32 values x of every row r of src, on all cores, and
// returns an error for the first value that is not finite. worker, less than
// parallel.Workers(), differs between concurrent calls; x is valid until f returns.
func EachRow(ctx context.Context, src *qtensor.Matrix, f func(worker, r int, x []float32) error) error {
	type lane struct {
		reader qtensor.Reader
		x      []float32
	}
	lanes := make([]lane, parallel.Workers())
	return EachFinite(ctx, src, func(worker, r int) error {
		l := &lanes[worker]
		if l.x == nil {
			l.x = make([]float32, src.Cols)
		}
		l.reader.Row(l.x, src, r)
		return f(worker, r, l.x)
	})
}

// EachFinite calls f for every row of src, on all cores, and returns an error for the
// first value that is not finite.
//
// It releases the rows that it has read, so that a mapped matrix is never resident as a whole.
func EachFinite(ctx context.Context, src *qtensor.Matrix, f func(worker, r int) error) error {
	readers := make([]qtensor.Reader, parallel.Workers())
	return parallel.Ranges(ctx, src.Rows, rowsPerTask, func(worker, from, to int) error {
		src.ReleaseBehind(from, rowsPerTask)
		for r := from; r < to; r++ {
			if err := finiteRow(&readers[worker], src, r); err != nil {
				return err
			}
			if err := f(worker, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// finiteRow returns an error that names the first value of row r that is not
// finite.
func finiteRow(reader *qtensor.Reader, src *qtensor.Matrix, r int) error {
	if src.Scheme.Kind == qtensor.Int {
		return nil // NonFinite reads float and Foreign rows only
	}
	c := reader.NonFinite(src, r)
	if c < 0 {
		return nil
	}
	x := make([]float32, src.Cols)
	reader.Row(x, src, r)
	remedy := "download the file again, or take a checkpoint from before training diverged"
	if src.Scheme.Kind == qtensor.F16 {
		remedy += ", or the weights in bfloat16: float16 ends at 65504"
	}
	return fmt.Errorf("row %d, column %d is %v, but weights must be finite; %s", r, c, x[c], remedy)
}

// rowsOf returns the values of src, (src.Rows, src.Cols).
func rowsOf(ctx context.Context, src *qtensor.Matrix) ([]float32, error) {
	w := make([]float32, src.Rows*src.Cols)
	return w, EachRow(ctx, src, func(_, r int, x []float32) error {
		copy(w[r*src.Cols:], x)
		return nil
	})
}
