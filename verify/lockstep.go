package verify

import (
	"context"
	"fmt"
	"slices"

	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A lockstep carries the same texts through two models, one operation at a time.
// Besides the two there is a third: the model, given at each operation what the
// reference has computed so far. What that makes of it differs from what the
// reference makes of it by the operation's own error, and the rest of the
// difference is inherited.
//
// It holds the activations of one block for all positions three times, and the
// logits of logitRows positions.
type lockstep struct {
	reference, subject *model.Model
	ref, own, fed      *transformer.Trace
	arithmetic         Arithmetic // of the model
	texts              [][]int
	frame              *frame // of the values of the block that is run
	framed             int    // which block that is; -1 before the first
}

// Where a Layer is that belongs to no step.
const (
	embedStep = -1
	noBlock   = -1
)

// logitRows is how many positions' logits are compared at a time.
const logitRows = 16

func newLockstep(reference, subject *model.Model, a Arithmetic, texts [][]int) (*lockstep, error) {
	if err := Comparable(reference, subject); err != nil {
		return nil, err
	}
	l := &lockstep{reference: reference, subject: subject, arithmetic: a, texts: texts, framed: noBlock}
	want, err := transformer.New(reference)
	if err != nil {
		return nil, err
	}
	got, err := transformer.NewWith(subject, a)
	if err != nil {
		return nil, err
	}
	for _, t := range []struct {
		trace **transformer.Trace
		d     *transformer.Decoder
	}{{&l.ref, want}, {&l.own, got}, {&l.fed, got}} {
		if *t.trace, err = t.d.NewTrace(texts); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Comparable says why the operations of two models cannot be compared: their
// activations must be of the same widths.
func Comparable(reference, subject *model.Model) error {
	a, b := &reference.Spec, &subject.Spec
	for _, w := range []struct {
		name string
		a, b int
	}{
		{"hidden width", a.Hidden, b.Hidden}, {"width of the queries", a.Heads * a.HeadDim, b.Heads * b.HeadDim},
		{"width of the keys", a.KVHeads * a.HeadDim, b.KVHeads * b.HeadDim},
		{"feed-forward width", a.FFN, b.FFN}, {"vocabulary", a.Vocab, b.Vocab},
	} {
		if w.a != w.b {
			return fmt.Errorf("the reference has a %s of %d, the model one of %d: they are not the same model", w.name, w.a, w.b)
		}
	}
	return nil
}

// walk goes through both models and shows what each operation adds, until visit
// says that it has seen enough.
func (l *lockstep) walk(ctx context.Context, visit func(*deviation) (enough bool)) error {
	enough, err := l.embedding(ctx, visit)
	for !enough && err == nil && (l.ref.Operation() != nil || l.own.Operation() != nil) {
		enough, err = l.operation(ctx, visit)
	}
	if enough || err != nil {
		return err
	}
	_, err = l.head(ctx, visit)
	return err
}

func (l *lockstep) embedding(ctx context.Context, visit func(*deviation) bool) (bool, error) {
	d := l.deviation(embedStep, noBlock, model.Embed, model.Embed)
	d.add(ctx, 0, l.ref.Len(), l.view(l.ref, model.FFNResidual), l.view(l.fed, model.FFNResidual), l.view(l.own, model.FFNResidual))
	var err error
	d.expected, err = l.lookupNoise()
	if err != nil {
		return false, err
	}
	return l.show(d, visit)
}

// operation runs the next operation of the model that comes first, or of both.
// The other one leaves its activations as they are.
func (l *lockstep) operation(ctx context.Context, visit func(*deviation) bool) (bool, error) {
	runRef, runOwn := !l.own.Before(l.ref), !l.ref.Before(l.own)
	lead := l.own
	if !runOwn {
		lead = l.ref
	}
	step, op := lead.Step(), *lead.Operation()
	block := noBlock
	if step < len(l.subject.Spec.Schedule) {
		block = l.subject.Spec.Schedule[step]
	}
	if block != noBlock && block != l.framed {
		var err error
		if l.frame, err = frameOf(ctx, l.reference, l.subject, block); err != nil {
			return false, err
		}
		l.framed = block
	}
	for _, name := range op.Reads {
		read := l.view(l.ref, name)
		for i := range l.ref.Len() {
			copy(l.fed.Activations(name, i), read(i))
		}
	}
	writes := op.Writes
	if runRef && runOwn {
		also := l.ref.Operation().Writes
		writes = slices.DeleteFunc(slices.Clone(writes), func(name string) bool { return !slices.Contains(also, name) })
	}
	expected, err := l.expectations(ctx, &op, block, runOwn, writes)
	if err != nil {
		return false, err
	}
	if runOwn {
		for _, t := range []*transformer.Trace{l.fed, l.own} {
			if err := t.Do(ctx); err != nil {
				return false, fmt.Errorf("model: %w", err)
			}
		}
	}
	if runRef {
		if err := l.ref.Do(ctx); err != nil {
			return false, fmt.Errorf("reference: %w", err)
		}
	}
	for i, name := range writes {
		d := l.deviation(step, block, name, l.tensorOf(block, name))
		d.expected, d.turned = expected[i], l.turns(name)
		if slices.Contains(op.Layers, name) {
			if d.bias, err = l.biasError(d.Tensor, name); err != nil {
				return false, err
			}
		}
		d.add(ctx, 0, l.ref.Len(), l.view(l.ref, name), l.view(l.fed, name), l.view(l.own, name))
		if enough, err := l.show(d, visit); enough || err != nil {
			return enough, err
		}
	}
	return false, nil
}

// head compares the logits, given the normalized states of the reference.
func (l *lockstep) head(ctx context.Context, visit func(*deviation) bool) (bool, error) {
	n, vocab := l.ref.Len(), l.subject.Spec.Vocab
	for i := range n {
		copy(l.fed.Activations(model.Norm, i), l.ref.Activations(model.Norm, i))
	}
	d := l.deviation(len(l.subject.Spec.Schedule), noBlock, model.Head, l.subject.HeadName())
	var err error
	if d.expected, err = l.layerNoise(ctx, d.Tensor, model.Head+model.BiasSuffix, model.Norm); err != nil {
		return false, err
	}
	if d.bias, err = l.biasError(model.Head, model.Head); err != nil {
		return false, err
	}
	traces := []*transformer.Trace{l.ref, l.fed, l.own}
	var logits [3][]float32
	for i := range logits {
		logits[i] = make([]float32, min(n, logitRows)*vocab)
	}
	for from := 0; from < n; from += logitRows {
		rows := min(logitRows, n-from)
		var views [3]view
		for i, t := range traces {
			if err := t.Hidden().Logits(ctx, logits[i][:rows*vocab], from, rows); err != nil {
				return false, err
			}
			views[i] = func(r int) []float32 { return logits[i][(r-from)*vocab:][:vocab] }
		}
		d.add(ctx, from, rows, views[0], views[1], views[2])
	}
	return l.show(d, visit)
}

// A view gives the activations of a position.
type view func(position int) []float32

// view of a Trace's activations; the reference's are turned into the model's frame.
func (l *lockstep) view(t *transformer.Trace, name string) view {
	if f := l.frame; t == l.ref && l.turns(name) {
		turned := make([][]float32, t.Len())
		for i := range turned {
			turned[i] = f.turn(t.Activations(name, i))
		}
		return func(i int) []float32 { return turned[i] }
	}
	return func(i int) []float32 { return t.Activations(name, i) }
}

// turns says whether the activations called name are in another frame.
func (l *lockstep) turns(name string) bool {
	return l.frame != nil && (name == model.V || name == model.Attended)
}

// tensorOf is the tensor that makes the activations called name, "" if none does.
func (l *lockstep) tensorOf(block int, name string) string {
	if block != noBlock {
		name = model.Name(block, name)
	}
	for _, m := range []*model.Model{l.subject, l.reference} {
		if m.Tensors[name] != nil {
			return name
		}
	}
	return ""
}

// place returns the text and the position in it of position i of all.
func (l *lockstep) place(i int) (text, position int) {
	for text, ids := range l.texts {
		if i < len(ids) {
			return text, i
		}
		i -= len(ids)
	}
	return len(l.texts), i
}

// show completes d and lets visit see it.
func (l *lockstep) show(d *deviation, visit func(*deviation) bool) (bool, error) {
	if err := d.settle(); err != nil {
		return false, err
	}
	return visit(d), nil
}
