package quantize

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Sink takes the tensors of a finished plan in its order. The matrix may be
// reused after Write returns.
type Sink interface {
	Write(m *qtensor.Matrix) error
}

// Run carries out p on m. Without calibration it goes tensor by tensor: beside
// what m maps, memory holds one stored matrix and a row per core. With it, memory
// also holds the activations of one block for all texts, in two models, and what
// is quantized of it. progress, if not nil, is called after each tensor with the
// weights done.
func Run(ctx context.Context, m *model.Model, p *Plan, c *Calibration, sink Sink, progress func(weights int64)) error {
	done := int64(0)
	write := func(e *Entry, out *qtensor.Matrix) error {
		if err := sink.Write(out); err != nil {
			return err
		}
		done += int64(e.Rows) * int64(e.Cols)
		if progress != nil {
			progress(done)
		}
		return nil
	}
	if c != nil && p.quantizes() {
		return runCalibrated(ctx, m, p, c, write)
	}
	return runPlain(ctx, m, p, write)
}

func runPlain(ctx context.Context, m *model.Model, p *Plan, write func(*Entry, *qtensor.Matrix) error) error {
	var power map[string][]float32
	if p.quantizes() {
		var err error
		if power, err = inputPowers(ctx, m); err != nil {
			return err
		}
	}
	for i := range p.Tensors {
		e := &p.Tensors[i]
		out, err := p.store(ctx, m.Tensors[e.Name], *e, power[e.Name])
		if err == nil {
			err = write(e, out)
		}
		m.Tensors[e.Name].Release()
		if err != nil {
			return inTensor(m, e.Name, err)
		}
	}
	return nil
}

// quantizes reports whether some tensor becomes integers that was not.
func (p *Plan) quantizes() bool {
	for i := range p.Tensors {
		if p.Tensors[i].rounds() {
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
			readers[worker].Transcode(dst, src, r)
			return nil
		})
	}
	if e.To.Kind != qtensor.Int {
		return dst, cast(ctx, dst, src)
	}
	if power == nil { // an embedding that is only looked up: nothing to make up for
		return dst, rtn{p.without}.Quantize(ctx, dst, src, &Input{power: level(make([]float64, e.Cols))})
	}
	return dst, p.method.Quantize(ctx, dst, src, &Input{power: power})
}
