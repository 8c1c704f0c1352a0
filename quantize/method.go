package quantize

import (
	"context"
	"fmt"
	"math"

	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Method chooses the codes of an integer matrix; the scheme in dst says how
// they are stored.
type Method interface {
	// Quantize fills dst from src, of the same shape, spreading its rows over
	// the cores. power is the mean square of each input column, up to a
	// factor. The result depends on nothing but src, power and dst.Scheme.
	Quantize(ctx context.Context, dst, src *qtensor.Matrix, power []float32) error
}

// MethodRTN is the name of round-to-nearest with searched scales.
const MethodRTN = "rtn"

// methods is the one place that lists them.
var methods = []struct {
	name string
	Method
}{
	{MethodRTN, rtn{}},
}

// Methods lists the names that a recipe may give.
func Methods() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}

func methodNamed(name string) (Method, error) {
	for _, m := range methods {
		if m.name == name {
			return m.Method, nil
		}
	}
	return nil, fmt.Errorf("method %q is unknown; there is %v", name, Methods())
}

// cast stores the values of src in the float type of dst.
func cast(ctx context.Context, dst, src *qtensor.Matrix) error {
	return eachRow(ctx, src, func(_, r int, x []float32) error { return dst.SetFloats(r, x) })
}

// rowsPerTask amortizes the cost of handing out work.
const rowsPerTask = 16

// eachRow calls f with the float32 values of every row of src, on all cores,
// and fails on the first value that is not finite.
func eachRow(ctx context.Context, src *qtensor.Matrix, f func(worker, r int, x []float32) error) error {
	type lane struct {
		reader qtensor.Reader
		x      []float32
	}
	lanes := make([]lane, parallel.Workers())
	return parallel.Do(ctx, (src.Rows+rowsPerTask-1)/rowsPerTask, func(worker, i int) error {
		l := &lanes[worker]
		if l.x == nil {
			l.x = make([]float32, src.Cols)
		}
		for r := i * rowsPerTask; r < min(src.Rows, (i+1)*rowsPerTask); r++ {
			l.reader.Row(l.x, src, r)
			if err := finite(l.x, r); err != nil {
				return err
			}
			if err := f(worker, r, l.x); err != nil {
				return err
			}
		}
		return nil
	})
}

// finite reports the first NaN or infinity in row r.
func finite(x []float32, r int) error {
	for c, v := range x {
		if math.Float32bits(v)>>23&0xff == 0xff {
			return fmt.Errorf("row %d, column %d is %v; a checkpoint with non-finite weights cannot be converted", r, c, v)
		}
	}
	return nil
}
