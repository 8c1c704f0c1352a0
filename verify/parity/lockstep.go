package parity

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// A lockstep runs the same texts through two models, one operation at a time.
// Besides the reference's pass and the subject's there is a third: the subject
// again, but with the reference's activations as the inputs of each operation. The
// difference of this pass from the reference is the operation's own error; the rest
// of the subject's error is inherited.
//
// A lockstep holds three copies of one block's activations for all positions, and
// the logits of logitRows positions.
type lockstep struct {
	reference, subject *model.Model
	ref, own, fed      *transformer.Trace
	arithmetic         Arithmetic // of the subject
	texts              [][]int
	rotation           *headRotation // of the values of block; nil if they are not rotated
	block              int           // the running block; NoBlock before the first
}

// NoBlock is the Block of a Layer outside all blocks: the embedding, the final norm
// or the head.
const NoBlock = -1

// embedStep is the Step of the embedding.
const embedStep = -1

// logitRows is the number of positions whose logits are compared at a time.
const logitRows = 16

func newLockstep(reference, subject *model.Model, a Arithmetic, texts [][]int) (*lockstep, error) {
	if err := Comparable(reference, subject); err != nil {
		return nil, err
	}
	l := &lockstep{reference: reference, subject: subject, arithmetic: a, texts: texts, block: NoBlock}
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

// walk runs both models and calls visit with the deviation of each operation, until
// visit returns true.
func (l *lockstep) walk(ctx context.Context, visit func(*deviation) (stop bool)) error {
	stop, err := l.embedding(ctx, visit)
	for !stop && err == nil && (l.ref.Operation() != nil || l.own.Operation() != nil) {
		stop, err = l.operation(ctx, visit)
	}
	if stop || err != nil {
		return err
	}
	_, err = l.head(ctx, visit)
	return err
}

func (l *lockstep) embedding(ctx context.Context, visit func(*deviation) bool) (stop bool, err error) {
	d := &deviation{Layer: Layer{Step: embedStep, Block: NoBlock, Operation: model.Embed, Tensor: model.Embed}}
	d.add(ctx, span{0, l.ref.Len()}, l.view(l.ref, model.FFNResidual), l.view(l.fed, model.FFNResidual), l.view(l.own, model.FFNResidual))
	if d.expected, err = l.lookupNoise(); err != nil {
		return false, err
	}
	return show(d, visit)
}

// operation runs the next operation of whichever model comes first, or of both if
// they run the same one. A model that has to wait keeps its activations.
func (l *lockstep) operation(ctx context.Context, visit func(*deviation) bool) (stop bool, err error) {
	runRef, runOwn := !l.own.Before(l.ref), !l.ref.Before(l.own)
	lead := l.own
	if !runOwn {
		lead = l.ref
	}
	step, op := lead.Step(), *lead.Operation()
	block := NoBlock
	if step < len(l.subject.Spec.Schedule) {
		block = l.subject.Spec.Schedule[step]
	}
	if err := l.enter(ctx, block); err != nil {
		return false, err
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
	expected := make([][]float64, len(writes))
	if runOwn {
		if expected, err = l.expectations(ctx, &op, block, writes); err != nil {
			return false, err
		}
	}
	if err := l.run(ctx, runRef, runOwn); err != nil {
		return false, err
	}
	for i, name := range writes {
		d := &deviation{Layer: Layer{Step: step, Block: block, Operation: name, Tensor: l.tensorOf(block, name)}}
		if d.expected, d.rotated = expected[i], l.rotates(name); d.rotated && runRef {
			l.addDoubt(d.expected, name)
		}
		if err := l.compare(ctx, d, &op, runRef && runOwn); err != nil {
			return false, err
		}
		if stop, err := show(d, visit); stop || err != nil {
			return stop, err
		}
	}
	return false, nil
}

// compare computes the errors of d, whose activations op has written. both means that both
// models have run it.
func (l *lockstep) compare(ctx context.Context, d *deviation, op *transformer.Operation, both bool) (err error) {
	name := d.Operation
	linear := slices.Contains(op.Layers, name)
	if linear {
		if d.bias, err = l.biasError(d.Tensor, name); err != nil {
			return err
		}
	}
	d.add(ctx, span{0, l.ref.Len()}, l.view(l.ref, name), l.view(l.fed, name), l.view(l.own, name))
	if linear && both {
		err = l.passOn(ctx, d, op.Reads[0])
	}
	return err
}

// passOn computes d.passedOn of a linear layer that reads the activations called read, unless
// rounding explains d without it. It leaves d as it is if the subject was not calibrated.
func (l *lockstep) passOn(ctx context.Context, d *deviation, read string) error {
	if times, _ := d.excess(); times <= 1 || !l.subject.Provenance.Calibrated() {
		return nil
	}
	reference := l.reference
	if d.rotated || l.rotates(read) {
		var err error
		if reference, err = l.rotation.model(reference, l.block); err != nil {
			return err
		}
	}
	w := reference.Tensors[d.Tensor]
	if w == nil || w.Rows != len(d.total) || len(l.own.Activations(read, 0)) != w.Cols {
		return nil
	}
	drift, want := make([][]float32, l.ref.Len()), l.view(l.ref, read) // of the inputs
	for t := range drift {
		drift[t] = slices.Clone(l.own.Activations(read, t))
		for i, x := range want(t) {
			drift[t][i] -= x
		}
	}
	d.passedOn = make([]float64, w.Rows)
	lanes := make([]rounding, parallel.Workers())
	err := parallel.Do(ctx, w.Rows, func(worker, r int) error {
		n := &lanes[worker]
		n.values = grow(n.values, w.Cols)
		n.reader.Row(n.values, w, r)
		for _, x := range drift {
			y := dot(n.values, x)
			d.passedOn[r] += float64(y * y)
		}
		return nil
	})
	if sum(d.total) > sum(d.passedOn) {
		d.passedOn = nil // the weights do not make the error smaller
	}
	return err
}

// enter finds the rotation of a block's values before the block's first operation.
func (l *lockstep) enter(ctx context.Context, block int) (err error) {
	if block == NoBlock || block == l.block {
		return nil
	}
	if l.rotation, err = rotationOf(ctx, l.reference, l.subject, block); err == nil {
		l.block = block
	}
	return err
}

// run runs the next operation of the reference if ref is set, and of both passes of
// the subject if own is set.
func (l *lockstep) run(ctx context.Context, ref, own bool) error {
	if own {
		for _, t := range []*transformer.Trace{l.fed, l.own} {
			if err := t.Do(ctx); err != nil {
				return fmt.Errorf("model: %w", err)
			}
		}
	}
	if ref {
		if err := l.ref.Do(ctx); err != nil {
			return fmt.Errorf("reference: %w", err)
		}
	}
	return nil
}

// head compares the logits, computed from the normalized states of the reference.
func (l *lockstep) head(ctx context.Context, visit func(*deviation) bool) (stop bool, err error) {
	n, vocab := l.ref.Len(), l.subject.Spec.Vocab
	for i := range n {
		copy(l.fed.Activations(model.Norm, i), l.ref.Activations(model.Norm, i))
	}
	d := &deviation{Layer: Layer{Step: len(l.subject.Spec.Schedule), Block: NoBlock, Operation: model.Head, Tensor: l.subject.HeadName()}}
	if d.expected, err = l.layerNoise(ctx, d.Tensor, model.Head+model.BiasSuffix, model.Norm); err != nil {
		return false, err
	}
	if d.bias, err = l.biasError(model.Head, model.Head); err != nil {
		return false, err
	}
	scale := cmp.Or(l.subject.Spec.LogitScale, 1) // a cap only reduces errors
	for i := range d.expected {
		d.expected[i] *= float64(scale * scale)
	}
	d.bias *= float64(scale * scale)
	traces := []*transformer.Trace{l.ref, l.fed, l.own}
	var logits [3][]float32
	for i := range logits {
		logits[i] = make([]float32, min(n, logitRows)*vocab)
	}
	for from := 0; from < n; from += logitRows {
		rows := min(logitRows, n-from)
		var views [3]view
		for i, t := range traces {
			h, err := t.Hidden()
			if err == nil {
				err = h.Logits(ctx, logits[i][:rows*vocab], from, rows)
			}
			if err != nil {
				return false, err
			}
			views[i] = func(r int) []float32 { return logits[i][(r-from)*vocab:][:vocab] }
		}
		d.add(ctx, span{from, from + rows}, views[0], views[1], views[2])
	}
	if err := l.passOn(ctx, d, model.Norm); err != nil {
		return false, err
	}
	for i := range d.passedOn {
		d.passedOn[i] *= float64(scale * scale)
	}
	return show(d, visit)
}

// A view returns the activations of a position.
type view func(position int) []float32

// view returns a view of a Trace's activations. It rotates the reference's where the
// subject's are rotated.
func (l *lockstep) view(t *transformer.Trace, name string) view {
	if t == l.ref && l.rotates(name) {
		rotated := make([][]float32, t.Len())
		for i := range rotated {
			rotated[i] = l.rotation.rotate(t.Activations(name, i))
		}
		return func(i int) []float32 { return rotated[i] }
	}
	return func(i int) []float32 { return t.Activations(name, i) }
}

// rotates reports whether the subject has rotated the activations called name.
func (l *lockstep) rotates(name string) bool {
	return l.rotation != nil && (name == model.V || name == model.Attended)
}

// addDoubt adds to expected, unless it is empty, the variance of what the reference's activations
// called name are after a rotation that is not known exactly.
func (l *lockstep) addDoubt(expected []float64, name string) {
	if expected == nil {
		return
	}
	for t := range l.ref.Len() {
		if x := l.ref.Activations(name, t); len(x) == len(expected) {
			l.rotation.addError(expected, x)
		}
	}
}

// tensorOf returns the name of the tensor that computes the activations called name,
// or "" if no tensor does.
func (l *lockstep) tensorOf(block int, name string) string {
	if block != NoBlock {
		name = model.Name(block, model.TensorOf(name))
	}
	for _, m := range []*model.Model{l.subject, l.reference} {
		if m.Tensors[name] != nil {
			return name
		}
	}
	return ""
}

// divergence describes d, whose error in channel is its limit multiplied by times.
func (l *lockstep) divergence(d *deviation, times float64, channel int) *Divergence {
	text, position := l.textOf(d.at[channel])
	return &Divergence{
		Step: d.Step, Block: d.Block, Operation: d.Operation, Tensor: d.Tensor, Prompt: text, Token: position, Channel: channel,
		Added: float64(d.Added), Inherited: float64(d.Inherited), Expected: float64(d.Expected), Excess: times,
	}
}

// textOf splits i, a position counted over all texts, into the text and the position
// in it.
func (l *lockstep) textOf(i int) (text, position int) {
	for text, ids := range l.texts {
		if i < len(ids) {
			return text, i
		}
		i -= len(ids)
	}
	return len(l.texts), i
}

// show completes d and calls visit with it.
func show(d *deviation, visit func(*deviation) bool) (stop bool, err error) {
	if err := d.finish(); err != nil {
		return false, err
	}
	return visit(d), nil
}
