package quantize

import (
	"context"

	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/quantize/power"
	"thimble/quantize/rounding"
)

// A Sink receives the tensors of a finished plan in its order. Run may reuse the
// matrix after Write returns.
type Sink interface {
	Write(m *Matrix) error
}

// Run carries out p on m and writes the tensors to sink. Without calibration it processes
// one tensor at a time: besides what m maps, memory holds one stored matrix and a row for
// each core. With it, memory also holds the quantized matrices of one block, what rounding a
// matrix takes, and the activations of the texts, in two models, or as much of them as a bound
// on memory allows (see Plan.Fits). Run calls progress, unless it is nil, after each tensor with
// the number of weights done so far.
func Run(ctx context.Context, m *Model, p *Plan, c *Calibration, sink Sink, progress func(weights int64)) error {
	done := int64(0)
	p.small = nil
	write := func(e *Entry, out *Matrix) error {
		p.examine(e, m.Tensors[e.Name], out)
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

// runPlain carries out p without texts. It reads every matrix twice, first for guesses.
func runPlain(ctx context.Context, m *Model, p *Plan, write func(*Entry, *Matrix) error) error {
	inputs, err := p.guesses(ctx, m)
	if err != nil {
		return err
	}
	for i := range p.Tensors {
		e := &p.Tensors[i]
		out, err := p.store(ctx, m.Tensors[e.Name], *e, inputs[e.Name])
		if err == nil {
			err = write(e, out)
		}
		m.Tensors[e.Name].Release()
		if err != nil {
			return m.InTensor(e.Name, err)
		}
	}
	return nil
}

// guesses returns what is guessed about the inputs of m's matrices, if p rounds any.
func (p *Plan) guesses(ctx context.Context, m *Model) (_ map[string]*rounding.Input, err error) {
	if p.Guessed == nil && p.quantizes() {
		p.Guessed, err = power.Inputs(ctx, m)
	}
	return p.Guessed, err
}

// store returns src in the scheme of e, rounded without texts. in is a guess at its input,
// or nil for an embedding that is only looked up and so has no input.
func (p *Plan) store(ctx context.Context, src *Matrix, e Entry, in *rounding.Input) (*Matrix, error) {
	// Rotated biases are float32, and a source's planes are not in one place.
	if e.From == e.To && src.Scheme == e.To && (src.Source == nil || e.To.Float()) {
		return src, rounding.EachFinite(ctx, src, func(_, _ int) error { return nil })
	}
	dst, err := qtensor.New(e.To, e.Rows, e.Cols)
	if err != nil {
		return nil, err
	}
	switch {
	case e.From == e.To && e.To.Float():
		return dst, cast(ctx, dst, src)
	case e.moved():
		readers := make([]qtensor.Reader, parallel.Workers())
		return dst, rounding.EachFinite(ctx, src, func(worker, r int) error {
			readers[worker].Transcode(dst, src, r)
			return nil
		})
	case e.To.Kind != qtensor.Int:
		return dst, cast(ctx, dst, src)
	case in == nil:
		return dst, rounding.ToNearest(ctx, dst, src, rounding.Even(e.Cols).At(e.To.BitsRate(), nil), p.method.Without())
	}
	return dst, p.method.Round(ctx, dst, src, in.At(e.To.BitsRate(), nil))
}

// CheckFinite returns an error that names the first weight of m that is not finite. A
// forward pass would show it late, in another tensor.
func CheckFinite(ctx context.Context, m *Model) error {
	for _, slot := range m.Spec.Slots() {
		t := m.Tensors[slot.Name]
		err := rounding.EachFinite(ctx, t, func(_, _ int) error { return nil })
		t.Release()
		if err != nil {
			return m.InTensor(slot.Name, err)
		}
	}
	return nil
}

// cast stores the values of src in the float type of dst.
func cast(ctx context.Context, dst, src *Matrix) error {
	return rounding.EachRow(ctx, src, func(_, r int, x []float32) error { return dst.SetFloats(r, x) })
}
