package transformer

import (
	"context"
	"fmt"
	"math"
	"slices"

	"thimble/internal/qtensor"
)

// A Trace carries many texts through a model together and stands still before
// each group of linear layers that read the same input, so that the input can
// be looked at and the layers exchanged. It holds the activations of one block
// for all positions, and no keys and values of blocks that are behind.
//
// It also goes operation by operation, by Operation and Do, and then everything
// that an operation reads and writes can be looked at and exchanged.
type Trace struct {
	p        *pass
	step, op int
}

// NewTrace begins with the embeddings of texts, none of them empty.
func (d *Decoder) NewTrace(texts [][]int) (*Trace, error) {
	var sequences []sequence
	for i, ids := range texts {
		c, err := d.NewCache(len(ids))
		if err != nil {
			return nil, fmt.Errorf("text %d: %w", i, err)
		}
		c.steps, c.passing = c.steps[:1], true
		if err := c.reserve(len(ids)); err != nil {
			return nil, err
		}
		sequences = append(sequences, sequence{c, len(ids)})
	}
	t := &Trace{p: d.newPass(sequences)}
	return t, d.lookup(t.p.x, slices.Concat(texts...))
}

// Replace exchanges the weights of a matrix, as Decoder.Replace does: what the
// Trace has still to run uses the new ones.
func (t *Trace) Replace(name string, w *qtensor.Matrix) { t.p.d.Replace(name, w) }

// Len is the number of positions of all texts.
func (t *Trace) Len() int { return t.p.x.n }

// A Group is the linear layers before which a Trace stands.
type Group struct {
	Step, Block int
	Kinds       []string // of the layers: model.Q and so on

	input rows
}

// Width is the width of the layers' input.
func (g *Group) Width() int { return g.input.width }

// Row is the input at position i of all, (Width), valid until the Trace goes on.
func (g *Group) Row(i int) []float32 { return g.input.row(i) }

// Next returns the group that comes next, nil behind the last block.
func (t *Trace) Next() *Group {
	for t.step < len(t.p.d.spec.Schedule) {
		if o := t.Operation(); o.Layers != nil {
			return &Group{t.step, t.p.d.spec.Schedule[t.step], o.Layers, t.p.activations(o.Reads[0])}
		}
		_ = t.Do(context.Background()) // a norm, which cannot fail
	}
	return nil
}

// Run computes the layers of the group that Next returned, and what follows in
// the step up to the next one.
func (t *Trace) Run(ctx context.Context) error {
	for {
		if err := t.Do(ctx); err != nil {
			return err
		}
		if t.op == 0 || t.Operation().Layers != nil {
			return nil
		}
	}
}

// Operation returns the operation that comes next: those of every step, then the
// final norm, in step len(Schedule), then nil.
func (t *Trace) Operation() *Operation {
	if o := t.next(); o != nil {
		return &o.Operation
	}
	return nil
}

func (t *Trace) next() *operation {
	switch {
	case t.step < len(t.p.d.spec.Schedule):
		return &t.p.d.operations[t.op]
	case t.op == 0:
		return &finalNorm
	}
	return nil
}

// Step is the number of the step that the next operation belongs to.
func (t *Trace) Step() int { return t.step }

// Before reports whether the next operation comes before the one of other in the
// order that all models keep, which may have others.
func (t *Trace) Before(other *Trace) bool {
	place := func(t *Trace) (step, at int) {
		if o := t.Operation(); o != nil {
			return t.step, slices.Index(operationOrder, o.Name)
		}
		return math.MaxInt, 0
	}
	step, at := place(t)
	otherStep, otherAt := place(other)
	return step < otherStep || step == otherStep && at < otherAt
}

// Do runs the next operation.
func (t *Trace) Do(ctx context.Context) error {
	err := t.next().run(t.p, ctx, t.step)
	if t.op++; t.step < len(t.p.d.spec.Schedule) && t.op == len(t.p.d.operations) {
		t.step, t.op = t.step+1, 0
	}
	return err
}

// Activations returns what is called name at position i of all, from the
// operation that writes it to the one that reads it last. To write to it is to
// change what the operations read.
func (t *Trace) Activations(name string, i int) []float32 { return t.p.activations(name).row(i) }

// RunSteps runs all groups of the next n steps.
func (t *Trace) RunSteps(ctx context.Context, n int) error {
	for range n * t.Stages() {
		t.Next()
		if err := t.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Finish runs all that is left.
func (t *Trace) Finish(ctx context.Context) error {
	for t.Next() != nil {
		if err := t.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stages is the number of groups in each step.
func (t *Trace) Stages() (n int) {
	for i := range t.p.d.operations {
		if t.p.d.operations[i].Layers != nil {
			n++
		}
	}
	return n
}

// Stream returns a copy of the residual stream, for Rewind.
func (t *Trace) Stream() []float32 { return slices.Clone(t.p.x.data) }

// Rewind goes back to where step began with this residual stream.
func (t *Trace) Rewind(step int, stream []float32) {
	t.step, t.op = step, 0
	copy(t.p.x.data, stream)
}

// Hidden returns the final hidden states behind the last block. The Trace is
// then over.
func (t *Trace) Hidden() *Hidden {
	if t.next() == nil {
		return &Hidden{t.p.d, t.p.x}
	}
	return t.p.hidden()
}

// Row is the final hidden state of position i, normalized for the head.
func (h *Hidden) Row(i int) []float32 { return h.x.row(i) }

// Select returns the final hidden states of some positions.
func (h *Hidden) Select(positions []int) *Hidden {
	x := newRows(len(positions), h.x.width)
	for i, t := range positions {
		copy(x.row(i), h.x.row(t))
	}
	return &Hidden{h.d, x}
}
