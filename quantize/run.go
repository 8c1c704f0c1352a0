package quantize

import (
	"context"
	"fmt"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A Sink takes the tensors of a finished plan in its order. The matrix may be
// reused after Write returns.
type Sink interface {
	Write(m *qtensor.Matrix) error
}

// Run carries out p on m, one tensor at a time: beside what m maps, memory
// holds one stored matrix and a row per core. progress, if not nil, is called
// after each tensor with the weights done.
func Run(ctx context.Context, m *model.Model, p *Plan, sink Sink, progress func(weights int64)) error {
	done := int64(0)
	for _, e := range p.Tensors {
		out, err := p.store(ctx, m, e)
		if err == nil {
			err = sink.Write(out)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", model.Printable(m.Path), e.Name, err)
		}
		done += int64(e.Rows) * int64(e.Cols)
		if progress != nil {
			progress(done)
		}
	}
	return nil
}

// store returns a tensor of m in the scheme that e asks for.
func (p *Plan) store(ctx context.Context, m *model.Model, e Entry) (*qtensor.Matrix, error) {
	src := m.Tensors[e.Name]
	if src.Scheme.Kind == qtensor.Int { // newEntry has made sure that it stays
		return src, nil
	}
	dst, err := qtensor.New(e.To, e.Rows, e.Cols)
	if err != nil {
		return nil, err
	}
	if e.To.Kind != qtensor.Int {
		return dst, cast(ctx, dst, src)
	}
	power, err := inputPower(m, e.Slot)
	if err != nil {
		return nil, err
	}
	return dst, p.method.Quantize(ctx, dst, src, power)
}
