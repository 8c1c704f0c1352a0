package quantize

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A Requantizer stores tensors of one model in other schemes, those that are
// quantized already among them, by round to nearest. Errors add up: a plan on
// the original checkpoint is better where there is one.
type Requantizer struct {
	m     *model.Model
	power map[string][]float32
}

// NewRequantizer estimates what the columns of m are multiplied by, in one pass
// over its weights.
func NewRequantizer(ctx context.Context, m *model.Model) (*Requantizer, error) {
	power, err := inputPowers(ctx, m)
	return &Requantizer{m, power}, err
}

// Store returns tensor name of the model in scheme to.
func (q *Requantizer) Store(ctx context.Context, name string, to qtensor.Scheme) (*qtensor.Matrix, error) {
	src := q.m.Tensors[name]
	p := &Plan{method: rtn{}}
	return p.store(ctx, src, Entry{Slot: model.Slot{Name: name, Rows: src.Rows, Cols: src.Cols}, From: src.Scheme, To: to}, q.power[name])
}
