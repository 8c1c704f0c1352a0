package quantize

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// perColumn is how many positions there must be for each column of an input if the
// target of its layers is to be corrected. With fewer, more noise is learned than
// drift.
const perColumn = 12

// streams are the activations of the texts in the quantized model and, where a
// method compares the two, in the float model.
type streams struct {
	coarse *transformer.Trace
	float  *transformer.Trace // nil if nothing is compared
}

// newStreams embeds texts in m with the tensors of out, and in m itself if there is
// an input that can be compared.
func newStreams(m *model.Model, out map[string]*qtensor.Matrix, texts [][]int, compare bool) (s streams, err error) {
	coarse := *m
	coarse.Tensors = out
	if s.coarse, err = newTrace(&coarse, texts); err == nil && compare && s.learns(m.Spec.Hidden) {
		s.float, err = newTrace(m, texts)
	}
	return s, err
}

// learns reports whether there are positions enough to learn the drift of so many
// columns.
func (s *streams) learns(columns int) bool { return s.coarse.Len() >= perColumn*columns }

func newTrace(m *model.Model, texts [][]int) (*transformer.Trace, error) {
	d, err := transformer.New(m)
	if err != nil {
		return nil, err
	}
	return d.NewTrace(texts)
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

// next returns the groups before which the streams stand, x of the float model.
func (s *streams) next() (x, xq *transformer.Group) {
	if s.float != nil {
		x = s.float.Next()
	}
	return x, s.coarse.Next()
}

// run takes the streams past one group.
func (s *streams) run(ctx context.Context) error {
	return s.each(func(t *transformer.Trace) error { return t.Run(ctx) })
}

// runSteps takes them past n steps.
func (s *streams) runSteps(ctx context.Context, n int) error {
	return s.each(func(t *transformer.Trace) error { return t.RunSteps(ctx, n) })
}

// mark returns a function that takes the streams back to where they are, the
// beginning of step.
func (s *streams) mark(step int) (rewind func()) {
	var all []func()
	_ = s.each(func(t *transformer.Trace) error {
		at := t.Stream()
		all = append(all, func() { t.Rewind(step, at) })
		return nil
	})
	return func() {
		for _, back := range all {
			back()
		}
	}
}
