// Package parity compares two models operation by operation, and separates
// rounding from mistakes of conversion.
//
// Three forward passes run in lockstep: the reference, the model, and the model with
// the reference's activations as the inputs of each operation. The error of the
// third pass is the operation's own; the rest of the second pass's error is
// inherited. The scheme in which a tensor is stored bounds the error that it may
// add. The first operation that exceeds its bound is a Divergence. Its Cause names
// the settings in which the two models differ, or the damage to the tensor (rows
// permuted, a wrong scale, another tensor, a transpose).
//
// docs/NUMERICS.md has the formulas, the limits and the names of operations.
package parity

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/verify/metric"
)

type (
	// Model is the type that convert, quantize and format open and return.
	Model = model.Model

	// Arithmetic sets the rounding of activations, keys and values in a run. The zero
	// value rounds nothing and runs in float32.
	Arithmetic = transformer.Arithmetic
)

// A Divergence is the first operation whose own error is larger than rounding
// explains.
type Divergence struct {
	Step      int     `json:"step"`      // as in Layer
	Block     int     `json:"block"`     // as in Layer
	Operation string  `json:"operation"` // as in Layer
	Tensor    string  `json:"tensor"`    // as in Layer
	Prompt    int     `json:"prompt"`    // the prompt with the largest error, in the channel that exceeds its limit most
	Token     int     `json:"token"`     // the position of that error in the prompt
	Channel   int     `json:"channel"`
	Added     float64 `json:"added_error"`
	Inherited float64 `json:"inherited_error"`
	Expected  float64 `json:"expected_error"`
	Excess    float64 `json:"excess"` // the error as a multiple of its limit
	Cause     string  `json:"cause"`  // in one line
}

// A Profile holds the differences between two models, operation by operation.
type Profile struct {
	Layers     []Layer
	Divergence *Divergence // nil if rounding explains all differences
	Worst      float64     // the largest added error as a multiple of its limit
	Closest    string      // the operation with that error
	Harmless   []string    // settings in which the models differ, but which cause no divergence
	ShowLayers bool        // a report lists Layers
}

// Excess compares the errors of a model's operations with those that rounding
// explains.
type Excess struct {
	BeyondRounding metric.Value `json:"beyond_rounding"` // Profile.Worst
}

// Table lists the metrics of an Excess.
var Table = []metric.Entry[Excess]{
	{Name: "beyond_rounding", Unit: metric.Tokens, Reference: true,
		Of: func(e *Excess) metric.Value { return e.BeyondRounding }, Means: "largest own error of an operation, over its limit"},
}

// Comparable returns an error if the operations of two models cannot be compared
// because their activations have different widths.
func Comparable(reference, subject *Model) error {
	a, b := &reference.Spec, &subject.Spec
	for step := range min(len(a.Schedule), len(b.Schedule)) {
		if err := sameSizes(a.Of(a.Schedule[step]), b.Of(b.Schedule[step])); err != nil {
			return err
		}
	}
	return nil
}

// sameSizes is Comparable for two blocks of the given sizes.
func sameSizes(a, b model.Spec) error {
	for _, w := range []struct {
		name string
		a, b int
	}{
		{"hidden width", a.Hidden, b.Hidden}, {"width of the queries", a.Heads * a.HeadDim, b.Heads * b.HeadDim},
		{"width of the keys", a.KVHeads * a.HeadDim, b.KVHeads * b.HeadDim},
		{"rank of keys and values", a.Latent.KeyValue, b.Latent.KeyValue}, {"rank of queries", a.Latent.Query, b.Latent.Query},
		{"width of the values", a.KVHeads * a.ValueDim(), b.KVHeads * b.ValueDim()},
		{"feed-forward width", a.FFN, b.FFN}, {"vocabulary", a.Vocab, b.Vocab},
		{"number of experts", a.Experts.Count, b.Experts.Count}, {"width inside experts", a.Experts.FFN, b.Experts.FFN},
		{"width of the input of each layer", a.Layer.Width, b.Layer.Width},
		{"number of streams", a.AltUp.Streams, b.AltUp.Streams}, {"rank of the learned residual", a.Laurel, b.Laurel},
		{"width of the shared expert", a.Experts.Shared, b.Experts.Shared},
	} {
		if w.a != w.b {
			return fmt.Errorf("the reference has a %s of %d, the model one of %d: they are not the same model", w.name, w.a, w.b)
		}
	}
	return nil
}

// Compare runs texts through both models, the reference in float32 and the
// subject in arithmetic a, and compares them at each operation. If first is set, it
// stops at the first divergence. It holds the activations of one block for all
// texts at once, so pass no more than a few hundred positions; they are enough.
func Compare(ctx context.Context, reference, subject *Model, a Arithmetic, texts [][]int, first bool) (*Profile, error) {
	return CompareWithProgress(ctx, reference, subject, a, texts, first, func(_, _ int) {})
}

// CompareWithProgress is like Compare, and also calls progress with the number of
// steps compared so far and their total.
func CompareWithProgress(ctx context.Context, reference, subject *Model, a Arithmetic, texts [][]int, first bool, progress func(done, total int)) (*Profile, error) {
	l, err := newLockstep(reference, subject, a, texts)
	if err != nil {
		return nil, err
	}
	p := &Profile{}
	steps := max(len(reference.Spec.Schedule), len(subject.Spec.Schedule))
	progress(0, steps)
	err = l.walk(ctx, func(d *deviation) bool {
		progress(max(0, min(d.Step, steps)), steps)
		times, channel := d.excess()
		d.Excess = metric.Value(times)
		p.Layers = append(p.Layers, d.Layer)
		if times > p.Worst {
			p.Worst, p.Closest = times, d.name()
		}
		if times <= 1 || p.Divergence != nil {
			return false
		}
		p.Divergence = l.divergence(d, times, channel)
		return first
	})
	if err != nil {
		return nil, err
	}
	if p.Divergence == nil {
		p.Harmless = harmlessSettings(&reference.Spec, &subject.Spec, p.Layers)
		return p, nil
	}
	p.Divergence.Cause, err = diagnose(ctx, reference, subject, p.Divergence)
	return p, err
}

// Locate runs ids through both models in float32 and returns the first operation
// that rounding does not explain, or nil if there is none.
func Locate(ctx context.Context, reference, subject *Model, ids []int) (*Divergence, error) {
	p, err := Compare(ctx, reference, subject, Arithmetic{}, [][]int{ids}, true)
	if err != nil {
		return nil, err
	}
	return p.Divergence, nil
}

// Diagnosis states in one line whether the models differ by rounding or by a
// conversion error, and by which error.
func (p *Profile) Diagnosis() string {
	text := ""
	switch {
	case p.Divergence != nil:
		return "conversion error, not rounding: " + p.Divergence.Cause
	case p.Worst == 0:
		text = "no difference: every operation computes what the reference's does"
	default:
		text = fmt.Sprintf("rounding, not conversion: no operation adds more than its scheme explains, %s comes closest with %.0f %% of the limit", p.Closest, 100*p.Worst)
	}
	if len(p.Harmless) > 0 {
		text += "; without effect here: " + strings.Join(p.Harmless, ", ")
	}
	return text
}

// harmlessSettings lists the settings of the operations in layers in which the two
// Specs differ.
func harmlessSettings(a, b *model.Spec, layers []Layer) (all []string) {
	for _, l := range layers {
		text := differingSettings(a, b, &Divergence{Step: l.Step, Block: l.Block, Operation: l.Operation})
		if text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// FirstDifference runs ids through a and b in float32 and returns the first
// operation of b whose output, given a's inputs, differs from a's in any bit, with
// the channel and position of the largest error there. It returns nil if no
// operation differs.
func FirstDifference(ctx context.Context, a, b *Model, ids []int) (found *Divergence, err error) {
	l, err := newLockstep(a, b, Arithmetic{}, [][]int{ids})
	if err != nil {
		return nil, err
	}
	err = l.walk(ctx, func(d *deviation) (stop bool) {
		if d.Added == 0 {
			return false
		}
		channel := 0
		for i, e := range d.added {
			if e > d.added[channel] {
				channel = i
			}
		}
		found = l.divergence(d, 0, channel)
		return true
	})
	if found == nil || err != nil {
		return nil, err
	}
	if found.Cause = oneWeight(a.Tensors[found.Tensor], b.Tensors[found.Tensor]); found.Cause != "" {
		found.Cause = found.Tensor + ": " + found.Cause
	} else if found.Cause, err = diagnose(ctx, a, b, found); err != nil {
		return nil, err
	}
	// A layer's output does not distinguish its bias from its weights; the stored tensors do.
	same := func(name string) bool {
		x, y := a.Tensors[name], b.Tensors[name]
		return x == nil && y == nil || x != nil && y != nil && x.SameValues(y)
	}
	if bias := found.Tensor + model.BiasSuffix; same(found.Tensor) && !same(bias) {
		found.Tensor = bias
	}
	return found, nil
}

// oneWeight describes the weight in which two tensors differ if there is exactly
// one, and otherwise returns "". Either tensor may be nil. A diagnosis that allows
// for rounding would overlook a single weight in a long row.
func oneWeight(a, b *qtensor.Matrix) (text string) {
	if a == nil || b == nil || a.Rows != b.Rows || a.Cols != b.Cols {
		return ""
	}
	var read qtensor.Reader
	x, y := make([]float32, a.Cols), make([]float32, a.Cols)
	for r := range a.Rows {
		read.Row(x, a, r)
		read.Row(y, b, r)
		for c, v := range x {
			if v == y[c] {
				continue
			}
			if text != "" {
				return ""
			}
			text = fmt.Sprintf("row %d, column %d is %.4g, the reference has %.4g", r, c, y[c], v)
		}
	}
	return text
}
