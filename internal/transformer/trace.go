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
// input and replace the weights. It discards the keys and values of earlier blocks.
//
// Alternatively, Operation and Do run one operation at a time, so that the caller
// can examine and modify everything that an operation reads and writes. A Trace of
// NewTrace allows that: it holds the activations of one block for all positions. A
// Trace of NewTraceWithin holds them for a few texts at a time, see Room.
type Trace struct {
	p        *pass
	step, op int
	parts    *parts // nil if p holds all positions
}

// NewTrace looks up the embeddings of texts and returns a Trace before the first
// operation. No text may be empty.
func (d *Decoder) NewTrace(texts [][]int) (*Trace, error) {
	sequences, err := d.sequencesOf(texts)
	if err != nil {
		return nil, err
	}
	t := &Trace{p: d.newPass(sequences)}
	at := 0
	for _, ids := range texts {
		if err := t.p.embed(ids, at, 0); err != nil {
			return nil, err
		}
		at += len(ids)
	}
	return t, nil
}

// lookupTexts writes the embeddings of texts, each from position 0 on, to x.
func (d *Decoder) lookupTexts(x rows, texts [][]int) error {
	at := 0
	for _, ids := range texts {
		if err := d.lookup(x.slice(at, len(ids)), ids, 0); err != nil {
			return err
		}
		at += len(ids)
	}
	return nil
}

// sequencesOf returns the sequences of texts. All share one cache of one step, because
// attention stores and reads the keys and values of one sequence at a time.
func (d *Decoder) sequencesOf(texts [][]int) (sequences []sequence, err error) {
	longest := 1
	for i, ids := range texts {
		if len(ids) == 0 || len(ids) > model.MaxLength {
			return nil, fmt.Errorf("text %d: %d tokens are out of range, want 1 to %d", i, len(ids), model.MaxLength)
		}
		longest = max(longest, len(ids))
	}
	c, err := d.newCache(longest, true)
	if err != nil {
		return nil, err
	}
	if err := c.reserve(longest); err != nil {
		return nil, err
	}
	for _, ids := range texts {
		sequences = append(sequences, sequence{c, len(ids)})
	}
	return sequences, nil
}

// Replace replaces the weights of a matrix, as Decoder.Replace does. The
// operations that the Trace has not run yet use the new weights.
func (t *Trace) Replace(name string, w *qtensor.Matrix) { t.p.d.Replace(name, w) }

// Len returns the number of positions of all texts together.
func (t *Trace) Len() int {
	if t.parts != nil {
		return t.parts.n
	}
	return t.p.x.n
}

// A Group is a group of linear layers that read the same input.
type Group struct {
	Step, Block int
	Kinds       []string // the layers, such as model.Q

	trace  *Trace
	name   string // of the activations that the layers read
	width  int
	window rows
	first  int // position of the window's first row
	n      int // positions
}

// Width returns the width of the layers' input.
func (g *Group) Width() int { return g.width }

// Len returns the number of positions with an input: all of the Trace, or those at which
// the group's expert computes.
func (g *Group) Len() int { return g.n }

// Some reports whether the group is an expert's, which may compute at some positions only.
func (g *Group) Some() bool {
	_, _, ok := model.SplitExpert(g.Kinds[0])
	return ok
}

// Load makes the layers' input at n positions from the given one on available to Row.
func (g *Group) Load(first, n int) error {
	if g.trace.parts == nil {
		g.window = g.trace.p.activations(g.name)
		return nil
	}
	g.first = first
	return g.trace.parts.load(&g.window, g.trace.p, g.trace.step, g.trace.op, g.name, first, n)
}

// Row returns the layers' input at position i, (Width), which Load must have loaded. It is
// valid until the Trace runs another operation, or the next Load.
func (g *Group) Row(i int) []float32 { return g.window.row(i - g.first) }

// Next runs the operations before the next group and returns the group. It
// returns nil after the last block.
func (t *Trace) Next() (*Group, error) {
	if t.step == len(t.p.d.spec.Schedule) {
		return nil, nil
	}
	if t.Operation().Layers == nil { // a norm or the routing
		if err := t.runTo(context.Background(), t.group(t.op)); err != nil {
			return nil, err
		}
	}
	o := t.Operation()
	g := &Group{Step: t.step, Block: t.p.d.spec.Schedule[t.step], Kinds: o.Layers, trace: t, name: o.Reads[0]}
	read := t.p.activations(g.name)
	g.width, g.n = read.width, t.Len()
	if t.parts == nil {
		g.window, g.n = read, read.n
	}
	return g, nil
}

// Run computes the layers of the group that Next returned, and the operations
// that follow, up to the next group or the end of the step.
func (t *Trace) Run(ctx context.Context) error { return t.runTo(ctx, t.group(t.op+1)) }

// group returns the first operation of a step from op on that has layers, or the number
// of operations.
func (t *Trace) group(op int) int {
	all := t.p.d.operations[t.step]
	for op < len(all) && all[op].Layers == nil {
		op++
	}
	return op
}

// runTo runs the operations of this step before op.
func (t *Trace) runTo(ctx context.Context, op int) (err error) {
	if t.parts == nil {
		for at := t.op; at < op && err == nil; at++ {
			err = t.Do(ctx)
		}
		return err
	}
	if err = t.parts.run(ctx, t.p, t.step, t.op, op); err != nil {
		return err
	}
	if t.op = op; op == len(t.p.d.operations[t.step]) {
		t.step, t.op = t.step+1, 0
	}
	return nil
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

// Do runs the next operation. It panics if the Trace holds only some positions at a time.
func (t *Trace) Do(ctx context.Context) error {
	if t.parts != nil {
		panic("transformer: a Trace of NewTraceWithin runs groups, not single operations")
	}
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
		if _, err := t.Next(); err != nil {
			return err
		}
		if err := t.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Finish runs all remaining steps.
func (t *Trace) Finish(ctx context.Context) error {
	for {
		if g, err := t.Next(); g == nil || err != nil {
			return err
		}
		if err := t.Run(ctx); err != nil {
			return err
		}
	}
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

// A Stream is a copy of the residual stream, or of all if there are several, to pass to Rewind.
type Stream struct {
	data [][]float32
	kept *kept // instead of data, in the order of parts
}

// Stream returns a copy of the residual stream. If there are several, no operation of the next
// step may have run, because the first ones change them.
func (t *Trace) Stream() (*Stream, error) {
	if t.parts == nil {
		s := &Stream{}
		for _, x := range t.p.residuals() {
			s.data = append(s.data, slices.Clone(x.data))
		}
		return s, nil
	}
	k, err := t.parts.stream.clone()
	return &Stream{kept: k}, err
}

// Close frees what s keeps in a file.
func (s *Stream) Close() { s.kept.close() }

// Rewind returns to the beginning of step, with stream as the residual stream.
func (t *Trace) Rewind(step int, stream *Stream) error {
	t.step, t.op = step, 0
	if t.parts == nil {
		for i, x := range t.p.residuals() {
			copy(x.data, stream.data[i])
		}
		return nil
	}
	return t.parts.stream.copyFrom(stream.kept)
}

// Hidden returns the final hidden states. All steps must have run. The Trace
// is then finished.
func (t *Trace) Hidden() (*Hidden, error) {
	if t.parts != nil {
		x := newRows(t.parts.n, t.p.x.width)
		if err := t.parts.stream.read(x.data, 0); err != nil {
			return nil, err
		}
		h := &Hidden{t.p.d, x}
		t.p.d.normalize(x, x, t.p.d.norm)
		return h, nil
	}
	if t.next() == nil {
		return &Hidden{t.p.d, t.p.x}, nil
	}
	return t.p.finish(), nil
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
