package quantize

import (
	"context"
	"slices"

	"thimble/internal/transformer"
	"thimble/quantize/rounding"
)

// driftPositions is the number of positions that the texts must have for each column of an
// input before its drift is used. With fewer, the estimate is mostly noise.
const driftPositions = 12

// streams holds the activations of the texts in the quantized model and, if the method
// compares the two, in the float model.
type streams struct {
	coarse *transformer.Trace
	float  *transformer.Trace // nil if the method compares nothing
}

// newStreams embeds texts in m with the tensors of out. If compare is set and there are
// enough positions for any input, it also embeds them in m itself.
func newStreams(m *Model, out map[string]*Matrix, texts [][]int, compare bool, r transformer.Room) (s streams, err error) {
	coarse := *m
	coarse.Tensors = out
	if s.coarse, err = newTrace(&coarse, texts, r); err == nil && compare && s.learnsDrift(m.Spec.Hidden) {
		s.float, err = newTrace(m, texts, r)
	}
	return s, err
}

// close removes the files of the streams.
func (s *streams) close() {
	for _, t := range []*transformer.Trace{s.coarse, s.float} {
		if t != nil {
			t.Close()
		}
	}
}

// learnsDrift reports whether there are enough positions to learn the drift of an
// input with the given number of columns.
func (s *streams) learnsDrift(columns int) bool { return s.coarse.Len() >= driftPositions*columns }

func newTrace(m *Model, texts [][]int, r transformer.Room) (*transformer.Trace, error) {
	d, err := transformer.New(m)
	if err != nil {
		return nil, err
	}
	return d.NewTraceWithin(texts, r)
}

// each calls f for every stream.
func (s *streams) each(f func(t *transformer.Trace) error) error {
	if s.float != nil {
		if err := f(s.float); err != nil {
			return err
		}
	}
	return f(s.coarse)
}

// next returns the group of layers that comes next in each stream: x in the float model,
// nil if the run does not follow it, and xq in the quantized one.
func (s *streams) next() (x, xq *transformer.Group, err error) {
	if s.float != nil {
		if x, err = s.float.Next(); err != nil {
			return nil, nil, err
		}
	}
	xq, err = s.coarse.Next()
	return x, xq, err
}

// advance runs the streams past one group.
func (s *streams) advance(ctx context.Context) error {
	return s.each(func(t *transformer.Trace) error { return t.Run(ctx) })
}

// advanceSteps runs the streams past n steps.
func (s *streams) advanceSteps(ctx context.Context, n int) error {
	return s.each(func(t *transformer.Trace) error { return t.RunSteps(ctx, n) })
}

// A streamMark is a position of the streams, the start of a step.
type streamMark struct {
	*streams
	step int
	at   map[*transformer.Trace]*transformer.Stream
}

// mark returns the current position, which must be the start of step.
func (s *streams) mark(step int) (*streamMark, error) {
	m := &streamMark{s, step, map[*transformer.Trace]*transformer.Stream{}}
	return m, s.each(func(t *transformer.Trace) (err error) {
		m.at[t], err = t.Stream()
		return err
	})
}

// rewind returns to m, unless it is nil.
func (m *streamMark) rewind() error {
	if m == nil {
		return nil
	}
	return m.each(func(t *transformer.Trace) error { return t.Rewind(m.step, m.at[t]) })
}

// close removes the files of m, unless it is nil.
func (m *streamMark) close() {
	if m == nil {
		return
	}
	for _, s := range m.at {
		if s != nil {
			s.Close()
		}
	}
}

// addInput adds to m every stride-th of n positions of a group's input: xq of the quantized
// model, and x of the float model unless it is nil. It loads a few positions at a time. It returns
// the position whose weight is the smallest, or -1 if all have a weight of 1. A position has the
// weight of the louder of its two inputs.
func addInput(ctx context.Context, m *rounding.Moments, xq, x *transformer.Group, n, stride int) (loudest int, err error) {
	const window = rounding.Together
	each := func(f func(quantized, float rounding.Positions, from int) error) error {
		for from := 0; from < n; from += window * stride {
			loaded := min(window*stride, n-from)
			count := (loaded + stride - 1) / stride
			if err := xq.Load(from, loaded); err != nil {
				return err
			}
			quantized, float := rounding.Positions{N: count, Row: func(i int) []float32 { return xq.Row(from + i*stride) }}, rounding.Positions{}
			if x != nil {
				if err := x.Load(from, loaded); err != nil {
					return err
				}
				float = rounding.Positions{N: count, Row: func(i int) []float32 { return x.Row(from + i*stride) }}
			}
			if err := f(quantized, float, from/stride); err != nil {
				return err
			}
		}
		return nil
	}
	var squares []float32
	err = each(func(quantized, float rounding.Positions, from int) error {
		squares = quantized.Squares(squares)
		float.Louder(squares[from:])
		return nil
	})
	if err != nil {
		return -1, err
	}
	weights := rounding.Weights(squares)
	loudest = -1
	if least := slices.Min(weights); least < 1 {
		loudest = stride * slices.Index(weights, least)
	}
	return loudest, each(func(quantized, float rounding.Positions, from int) error {
		return m.Add(ctx, quantized, float, weights[from:][:quantized.N])
	})
}
