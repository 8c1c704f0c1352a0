package transformer

import (
	"context"
	"fmt"
	"slices"
)

// A Trace carries many texts through a model together and stands still before
// each group of linear layers that read the same input, so that the input can
// be looked at and the layers exchanged. It holds the activations of one block
// for all positions, and no keys and values of blocks that are behind.
type Trace struct {
	p           *pass
	step, stage int
}

// NewTrace begins with the embeddings of texts, none of them empty. A weight
// that is changed while the Trace stands before it counts from there on.
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
	if t.step == len(t.p.d.spec.Schedule) {
		return nil
	}
	s := t.p.d.stages[t.stage]
	return &Group{t.step, t.p.d.spec.Schedule[t.step], s.kinds, s.input(t.p, t.step)}
}

// Run computes the layers of the group that Next returned, up to the next one.
func (t *Trace) Run(ctx context.Context) error {
	err := t.p.d.stages[t.stage].run(t.p, ctx, t.step)
	if t.stage++; t.stage == len(t.p.d.stages) {
		t.step, t.stage = t.step+1, 0
	}
	return err
}

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
func (t *Trace) Stages() int { return len(t.p.d.stages) }

// Stream returns a copy of the residual stream, for Rewind.
func (t *Trace) Stream() []float32 { return slices.Clone(t.p.x.data) }

// Rewind goes back to where step began with this residual stream.
func (t *Trace) Rewind(step int, stream []float32) {
	t.step, t.stage = step, 0
	copy(t.p.x.data, stream)
}

// Hidden returns the final hidden states behind the last block. The Trace is
// then over.
func (t *Trace) Hidden() *Hidden { return t.p.hidden() }

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
