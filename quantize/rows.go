package quantize

import (
	"context"
	"fmt"

	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// rowsPerTask amortizes the cost of handing out work.
const rowsPerTask = 16

// eachRow calls f with the float32 values of every row of src, on all cores,
// and fails at the first value that is not finite.
func eachRow(ctx context.Context, src *Matrix, f func(worker, r int, x []float32) error) error {
	type lane struct {
		reader qtensor.Reader
		x      []float32
	}
	lanes := make([]lane, parallel.Workers())
	return eachFinite(ctx, src, func(worker, r int) error {
		l := &lanes[worker]
		if l.x == nil {
			l.x = make([]float32, src.Cols)
		}
		l.reader.Row(l.x, src, r)
		return f(worker, r, l.x)
	})
}

// eachFinite calls f for every row of src, on all cores, and fails at the first
// value that is not finite.
func eachFinite(ctx context.Context, src *Matrix, f func(worker, r int) error) error {
	readers := make([]qtensor.Reader, parallel.Workers())
	return parallel.Ranges(ctx, src.Rows, rowsPerTask, func(worker, from, to int) error {
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
func finiteRow(reader *qtensor.Reader, src *Matrix, r int) error {
	if src.Scheme.Kind == qtensor.Int {
		return nil // NonFinite reads float and Foreign rows only
	}
	c := reader.NonFinite(src, r)
	if c < 0 {
		return nil
	}
	x := make([]float32, src.Cols)
	reader.Row(x, src, r)
	return fmt.Errorf("row %d, column %d is %v; a checkpoint with non-finite weights cannot be converted", r, c, x[c])
}

// checkFinite returns an error that names the first weight of m that is not
// finite. A forward pass would only show how far it has spread.
func checkFinite(ctx context.Context, m *Model) error {
	for _, slot := range m.Spec.Slots() {
		t := m.Tensors[slot.Name]
		err := eachFinite(ctx, t, func(_, _ int) error { return nil })
		t.Release()
		if err != nil {
			return inTensor(m, slot.Name, err)
		}
	}
	return nil
}

// cast stores the values of src in the float type of dst.
func cast(ctx context.Context, dst, src *Matrix) error {
	return eachRow(ctx, src, func(_, r int, x []float32) error { return dst.SetFloats(r, x) })
}

// rowsOf returns the values of src, (src.Rows, src.Cols).
func rowsOf(ctx context.Context, src *Matrix) ([]float32, error) {
	w := make([]float32, src.Rows*src.Cols)
	return w, eachRow(ctx, src, func(_, r int, x []float32) error {
		copy(w[r*src.Cols:], x)
		return nil
	})
}

// selectRows returns some rows of src in float32.
func selectRows(ctx context.Context, src *Matrix, rows []int) (*Matrix, error) {
	dst, err := qtensor.New(Scheme{Kind: qtensor.F32}, len(rows), src.Cols)
	if err != nil {
		return nil, err
	}
	const rowsPerTask = 256
	return dst, parallel.Ranges(ctx, len(rows), rowsPerTask, func(_, from, to int) error {
		var reader qtensor.Reader
		x := make([]float32, src.Cols)
		for i := from; i < to; i++ {
			reader.Row(x, src, rows[i])
			if err := dst.SetFloats(i, x); err != nil {
				return err
			}
		}
		return nil
	})
}
