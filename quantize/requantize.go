package quantize

import (
	"context"

	"thimble/quantize/power"
	"thimble/quantize/rounding"
)

// A Requantizer stores tensors of one model in other schemes by rounding to nearest,
// including tensors that are already quantized. Their errors then add up: a plan for the
// original checkpoint gives a better model.
type Requantizer struct {
	m      *Model
	inputs map[string]*rounding.Input // guessed
	plan   *Plan                      // without tensors: only its method is used
}

// NewRequantizer estimates the power of every layer's input, in one pass over the
// weights of m.
func NewRequantizer(ctx context.Context, m *Model) (*Requantizer, error) {
	nearest, err := rounding.Choose(rounding.MethodRTN, nil)
	if err != nil {
		return nil, err
	}
	inputs, err := power.Inputs(ctx, m)
	return &Requantizer{m, inputs, &Plan{method: nearest}}, err
}

// Store returns the tensor with a canonical name in scheme to.
func (q *Requantizer) Store(ctx context.Context, name string, to Scheme) (*Matrix, error) {
	src := q.m.Tensors[name]
	e := Entry{Slot: Slot{Name: name, Rows: src.Rows, Cols: src.Cols}, From: src.Scheme, To: to}
	return q.plan.store(ctx, src, e, q.inputs[name])
}
