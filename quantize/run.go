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
		out, err := p.store(ctx, m.Tensors[e.Name], e)
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

// store returns src in the scheme that e asks for.
func (p *Plan) store(ctx context.Context, src *qtensor.Matrix, e Entry) (*qtensor.Matrix, error) {
	if src.Scheme.Kind == qtensor.Int { // newEntry has made sure that it stays
		return src, nil
	}
	dst, err := qtensor.New(e.To, e.Rows, e.Cols)
	if err != nil {
		return nil, err
	}
	method := p.method
	if e.To.Kind != qtensor.Int {
		method = cast{}
	}
	return dst, method.Quantize(ctx, dst, src)
}
