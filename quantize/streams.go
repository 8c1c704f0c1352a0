package quantize

import (
	"context"

	"thimble/internal/transformer"
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
