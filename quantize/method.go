package quantize

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
)

// A Method chooses the codes of an integer matrix; the scheme in dst says how
// they are stored.
type Method interface {
	// Quantize fills dst from src, of the same shape, spreading its rows over
	// the cores. The result depends on nothing but src, in and dst.Scheme.
	Quantize(ctx context.Context, dst, src *qtensor.Matrix, in *Input) error

	// comparesStreams reports whether it wants to know how the quantized model's
	// inputs differ from the float model's.
	comparesStreams() bool
}

const (
	MethodRTN  = "rtn"  // round to nearest, scales searched
	MethodGPTQ = "gptq" // error feedback; needs calibration
)

// Steps of methods that a recipe may leave out, to see what each is worth.
const (
	StepRotation   = "rotation"   // of the channels between values and outputs
	StepSearch     = "search"     // for scales; without it a group's largest value takes the last code
	StepCorrection = "correction" // of the target, for what was quantized upstream
	StepRefit      = "refit"      // of the scales to the codes
	StepDescent    = "descent"    // single codes moved
)

// methods is the one place that lists them, and their steps in order.
var methods = []struct {
	name  string
	steps []string
	make  func(without skips) Method
}{
	{MethodRTN, []string{StepSearch}, func(s skips) Method { return rtn{s} }},
	{MethodGPTQ, []string{StepRotation, StepSearch, StepCorrection, StepRefit, StepDescent}, func(s skips) Method { return gptq{s} }},
}

// skips are the steps that a method leaves out.
type skips []string

func (s skips) has(step string) bool { return slices.Contains(s, step) }

// Methods lists the names that a recipe may give.
func Methods() []string {
	var names []string
	for _, m := range methods {
		names = append(names, m.name)
	}
	return names
}

// Steps lists those that method may leave out, in its order.
func Steps(method string) []string {
	for _, m := range methods {
		if m.name == method {
			return m.steps
		}
	}
	return nil
}

// methodNamed returns a method less some of its steps, which may be named in any
// order.
func methodNamed(name string, without []string) (Method, error) {
	for _, m := range methods {
		if m.name != name {
			continue
		}
		for i, step := range without {
			if !slices.Contains(m.steps, step) {
				return nil, fmt.Errorf("method %s has no step %q%s; it has %s", name, step, spell.Suggest(step, m.steps), strings.Join(m.steps, ", "))
			}
			if slices.Contains(without[:i], step) {
				return nil, fmt.Errorf("step %q is left out twice", step)
			}
		}
		return m.make(without), nil
	}
	return nil, fmt.Errorf("there is no method %q%s; it is one of %s", name, spell.Suggest(name, Methods()), strings.Join(Methods(), ", "))
}

// CheckMethod reports what is wrong with r's method and the steps it leaves out,
// before there is a model to plan for.
func (r *Recipe) CheckMethod() error {
	_, err := methodNamed(cmp.Or(r.Method, MethodRTN), r.Without)
	return err
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
		t.Release()
		if err != nil {
			return inTensor(m, slot.Name, err)
		}
	}
	return nil
}
