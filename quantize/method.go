package quantize

import (
	"context"
	"fmt"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Method chooses the codes of an integer matrix; the scheme in dst says how
// they are stored.
type Method interface {
	// Quantize fills dst from src, of the same shape, spreading its rows over
	// the cores. The result depends on nothing but src, in and dst.Scheme.
	Quantize(ctx context.Context, dst, src *qtensor.Matrix, in *Input) error
}

const (
	MethodRTN  = "rtn"  // round to nearest, scales searched
	MethodGPTQ = "gptq" // error feedback; needs calibration
)

// methods is the one place that lists them.
var methods = []struct {
	name string
	Method
}{
	{MethodRTN, rtn{}},
	{MethodGPTQ, gptq{}},
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

// eachRow calls f with the float32 values of every row of src, on all cores,
// and fails on the first value that is not finite.
func eachRow(ctx context.Context, src *qtensor.Matrix, f func(worker, r int, x []float32) error) error {
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

// eachFinite calls f for every row of src, on all cores, and fails on the first
// value that is not finite.
func eachFinite(ctx context.Context, src *qtensor.Matrix, f func(worker, r int) error) error {
	const rowsPerTask = 16 // amortizes the cost of handing out work
	readers := make([]qtensor.Reader, parallel.Workers())
	return parallel.Do(ctx, (src.Rows+rowsPerTask-1)/rowsPerTask, func(worker, i int) error {
		for r := i * rowsPerTask; r < min(src.Rows, (i+1)*rowsPerTask); r++ {
			if src.Scheme.Kind != qtensor.Int {
				if c := readers[worker].NonFinite(src, r); c >= 0 {
					x := make([]float32, src.Cols)
					readers[worker].Row(x, src, r)
					return fmt.Errorf("row %d, column %d is %v; a checkpoint with non-finite weights cannot be converted", r, c, x[c])
				}
			}
			if err := f(worker, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkFinite fails on the first weight of m that is not finite. A forward pass
// would only show where it has spread to.
func checkFinite(ctx context.Context, m *model.Model) error {
	for _, slot := range m.Spec.Slots() {
		t := m.Tensors[slot.Name]
		err := eachFinite(ctx, t, func(_, _ int) error { return nil })
		release(t)
		if err != nil {
			return inTensor(m, slot.Name, err)
		}
	}
	return nil
}
