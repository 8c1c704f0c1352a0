package quantize

import (
	"context"

	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/parallel"
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
	var power map[string][]float32
	if p.quantizes() {
		var err error
		if power, err = inputPowers(ctx, m); err != nil {
			return err
		}
	}
	done := int64(0)
	for _, e := range p.Tensors {
		out, err := p.store(ctx, m.Tensors[e.Name], e, power[e.Name])
		if err == nil {
			err = sink.Write(out)
		}
		release(m.Tensors[e.Name])
		if err != nil {
			return inTensor(m, e.Name, err)
		}
		done += int64(e.Rows) * int64(e.Cols)
		if progress != nil {
			progress(done)
		}
	}
	return nil
}

// release gives back the memory of a source that will not be read again soon.
func release(t *qtensor.Matrix) {
	if t.Source != nil {
		t.Source.Release()
	}
	mmap.Release(t.Codes)
}

// quantizes reports whether some tensor becomes integers that was not.
func (p *Plan) quantizes() bool {
	for _, e := range p.Tensors {
		if !e.moved() && e.To.Kind == qtensor.Int {
			return true
		}
	}
	return false
}

// store returns src in the scheme that e asks for.
func (p *Plan) store(ctx context.Context, src *qtensor.Matrix, e Entry, power []float32) (*qtensor.Matrix, error) {
	if e.From == e.To {
		return src, eachFinite(ctx, src, func(_, _ int) error { return nil })
	}
	dst, err := qtensor.New(e.To, e.Rows, e.Cols)
	if err != nil {
		return nil, err
	}
	if e.moved() {
		readers := make([]qtensor.Reader, parallel.Workers())
		return dst, eachFinite(ctx, src, func(worker, r int) error {
			readers[worker].Move(dst, src, r)
			return nil
		})
	}
	if e.To.Kind != qtensor.Int {
		return dst, cast(ctx, dst, src)
	}
	if power == nil { // an embedding that is only looked up
		power = level(make([]float64, e.Cols))
	}
	return dst, p.method.Quantize(ctx, dst, src, power)
}
