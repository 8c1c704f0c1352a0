package transformer

import (
	"context"
	"fmt"
	"math"
	"slices"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A Trace runs many texts through a model together and stops before each group
// of linear layers that read the same input, so that the caller can examine the
// input and replace the weights. It holds the activations of one block for all
// positions, and discards the keys and values of earlier blocks.
//
// Alternatively, Operation and Do run one operation at a time, so that the caller
// can examine and modify everything that an operation reads and writes.
type Trace struct {
	p        *pass
	step, op int
}

// NewTrace looks up the embeddings of texts and returns a Trace before the first
// operation. No text may be empty.
func (d *Decoder) NewTrace(texts [][]int) (*Trace, error) {
	var sequences []sequence
	for i, ids := range texts {
		c, err := d.NewCache(len(ids))
		if err != nil {
			return nil, fmt.Errorf("text %d: %w", i, err)
		}
		c.steps, c.sharedEntry = c.steps[:1], true
		if err := c.reserve(len(ids)); err != nil {
			return nil, err
		}
		sequences = append(sequences, sequence{c, len(ids)})
	}
	t, at := &Trace{p: d.newPass(sequences)}, 0
	for _, ids := range texts {
		if err := d.lookup(t.p.x.slice(at, len(ids)), ids, 0); err != nil {
			return nil, err
		}
		at += len(ids)
	}
	return t, nil
}

// Replace replaces the weights of a matrix, as Decoder.Replace does. The
// operations that the Trace has not run yet use the new weights.
func (t *Trace) Replace(name string, w *qtensor.Matrix) { t.p.d.Replace(name, w) }

// Len returns the number of positions of all texts together.
func (t *Trace) Len() int { return t.p.x.n }

// A Group is a group of linear layers that read the same input.
type Group struct {
	Step, Block int
	Kinds       []string // the layers, such as model.Q

	input rows
}

// Width returns the width of the layers' input.
func (g *Group) Width() int { return g.input.width }

// Len returns the number of positions with an input: all of the Trace, or those at which
// the group's expert computes.
func (g *Group) Len() int { return g.input.n }

// Some reports whether the group is an expert's, which may compute at some positions only.
func (g *Group) Some() bool {
	_, _, ok := model.SplitExpert(g.Kinds[0])
	return ok
}

// Row returns the i-th of the layers' inputs, (Width). It is valid until the Trace runs
// another operation.
func (g *Group) Row(i int) []float32 { return g.input.row(i) }

// Next runs the operations before the next group and returns the group. It
// returns nil after the last block.
func (t *Trace) Next() *Group {
	for t.step < len(t.p.d.spec.Schedule) {
		if o := t.Operation(); o.Layers != nil {
			return &Group{t.step, t.p.d.spec.Schedule[t.step], o.Layers, t.p.activations(o.Reads[0])}
		}
		_ = t.Do(context.Background()) // a norm or the routing, which cannot fail
	}
	return nil
}

// Run computes the layers of the group that Next returned, and the operations
// that follow, up to the next group or the end of the step.
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

// Operation returns the next operation: one of each step in turn, then the final
// norm, whose step is len(Schedule), then nil.
func (t *Trace) Operation() *Operation {
	if o := t.next(); o != nil {
		return &o.Operation
	}
	return nil
}

func (t *Trace) next() *operation {
	switch {
	case t.step < len(t.p.d.spec.Schedule):
		return &t.p.d.operations[t.step][t.op]
	case t.op == 0:
		return &finalNorm
	}
	return nil
}

// Step returns the step of the next operation.
func (t *Trace) Step() int { return t.step }

// Before reports whether the next operation of t precedes the next operation of
// other, which may run a model with other operations. It compares the steps, then
// the order of operations within a step, which is the same in all models.
func (t *Trace) Before(other *Trace) bool {
	place := func(t *Trace) []int {
		if o := t.Operation(); o != nil {
			return append([]int{t.step}, placeOf(o.Name)...)
		}
		return []int{math.MaxInt}
	}
	return slices.Compare(place(t), place(other)) < 0
}

// Do runs the next operation.
func (t *Trace) Do(ctx context.Context) error {
	err := t.next().run(t.p, ctx, t.step)
	if t.op++; t.step < len(t.p.d.spec.Schedule) && t.op == len(t.p.d.operations[t.step]) {
		t.step, t.op = t.step+1, 0
	}
	return err
}

// Activations returns the activations called name at position i. They are valid
// from the operation that writes them to the last operation that reads them. The
// caller may modify them; later operations read the modified values.
func (t *Trace) Activations(name string, i int) []float32 {
	x := t.p.activations(name)
	if _, _, ok := model.SplitExpert(name); ok {
		return t.p.experts.rowAt(x, i)
	}
	return x.row(i)
}

// RunSteps runs the next n steps.
func (t *Trace) RunSteps(ctx context.Context, n int) error {
	for last := t.step + n; t.step < last; {
		if err := t.Do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Finish runs all remaining steps.
func (t *Trace) Finish(ctx context.Context) error {
	for t.Next() != nil {
		if err := t.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// GroupsIn returns the number of groups in a step.
func (t *Trace) GroupsIn(step int) (n int) {
	for _, o := range t.p.d.operations[step] {
		if o.Layers != nil {
			n++
		}
	}
	return n
}

// Stream returns a copy of the residual stream, to pass to Rewind.
func (t *Trace) Stream() []float32 { return slices.Clone(t.p.x.data) }

// Rewind returns to the beginning of step, with stream as the residual stream.
func (t *Trace) Rewind(step int, stream []float32) {
	t.step, t.op = step, 0
	copy(t.p.x.data, stream)
}

// Hidden returns the final hidden states. All steps must have run. The Trace
// is then finished.
func (t *Trace) Hidden() *Hidden {
	if t.next() == nil {
		return &Hidden{t.p.d, t.p.x}
	}
	return t.p.finish()
}

// Row returns the final hidden state at position i, after the final norm.
func (h *Hidden) Row(i int) []float32 { return h.x.row(i) }

// Select returns the final hidden states at the given positions.
func (h *Hidden) Select(positions []int) *Hidden {
	x := newRows(len(positions), h.x.width)
	for i, t := range positions {
		copy(x.row(i), h.x.row(t))
	}
	return &Hidden{h.d, x}
}
