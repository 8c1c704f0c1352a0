package parity

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"thimble/internal/model"
)

// diagnose explains in one line why two models diverge at d: because their Specs
// differ in a setting of the operation, or because the tensors it uses differ.
func diagnose(ctx context.Context, reference, subject *model.Model, d *Divergence) (string, error) {
	l := Layer{Block: d.Block, Operation: d.Operation}
	if text := differingSettings(&reference.Spec, &subject.Spec, d); text != "" {
		return l.name() + ": " + text, nil
	}
	tensor := d.Tensor
	if tensor == "" {
		return l.name() + ": with the same tensors and settings the model computes something else", nil
	}
	want, got := reference.Spec.Biased(d.Operation), subject.Spec.Biased(d.Operation)
	switch {
	case want && !got:
		return tensor + model.BiasSuffix + ": missing; the reference has one", nil
	case got && !want:
		return tensor + model.BiasSuffix + ": the reference has none", nil
	}
	if d.Operation == model.V || d.Operation == model.O {
		r, err := rotationOf(ctx, reference, subject, d.Block)
		if err == nil && r != nil {
			reference, err = r.model(reference, d.Block)
		}
		if err != nil {
			return "", err
		}
	}
	diff := tensorDiff{ctx, reference, subject, rotaryOf(&reference.Spec, d)}
	var all []string
	for _, name := range []string{tensor, tensor + model.BiasSuffix} {
		text, err := diff.describe(name)
		if err != nil {
			return "", err
		}
		if text != "" {
			all = append(all, name+": "+text)
		}
	}
	if all == nil {
		return fmt.Sprintf("%s: the tensor equals the reference's, its result does not (it differs by %.2g, rounding explains %.2g)", tensor, d.Added, d.Expected), nil
	}
	return strings.Join(all, "; "), nil
}

// differingSettings lists the features that change d's operation and in which the
// two Specs differ.
func differingSettings(a, b *model.Spec, d *Divergence) string {
	var all []string
	for i := range model.Features {
		if f := &model.Features[i]; f.Changes(d.Operation) && f.Differs(a, b, d.Step) {
			all = append(all, fmt.Sprintf("%s is %s, the reference has %s", f.Label(), f.Value(b, d.Step), f.Value(a, d.Step)))
		}
	}
	return strings.Join(all, "; ")
}

// A rotary describes which rows of a head the rotary embedding pairs.
type rotary struct {
	model.Rotary
	pairs bool // neighbours are pairs; otherwise row i and row i+dims/2 are
}

func rotaryOf(s *model.Spec, d *Divergence) rotary {
	r := &s.Rope
	if d.Block != NoBlock && d.Block < s.Blocks && s.RopeOf(d.Block) != nil {
		r = s.RopeOf(d.Block)
	}
	if s.IsLatent() && d.Block != NoBlock && d.Block < s.Blocks {
		return rotary{s.RotaryRows(d.Block, d.Operation), r.Pairs}
	}
	head := s.HeadDim
	if d.Block != NoBlock && d.Block < s.Blocks {
		head = s.Of(d.Block).HeadDim
	}
	return rotary{model.Rotary{Head: head, Dims: cmp.Or(r.Dims, head)}, r.Pairs}
}

// A rowOrder is a rule by which a converter may have permuted rows: row i is the
// reference's row from(i).
type rowOrder struct {
	name string
	from func(i int) int
}

// orders lists the rules that apply to n rows, the likeliest first.
func (r rotary) orders(n int) []rowOrder {
	within := func(f func(i, dim int) int) func(int) int {
		return func(i int) int {
			if at := i%r.Head - r.First; at >= 0 && at < r.Dims {
				return i - at + f(at, r.Dims)
			}
			return i
		}
	}
	halved, interleaved := "rows are in the other rotary order (interleaved, want halves)", "rows were moved from interleaved to halves, and were in halves already"
	if r.pairs {
		halved, interleaved = "rows were moved from halves to interleaved, and were interleaved already", "rows are in the other rotary order (halves, want interleaved)"
	}
	var all []rowOrder
	if r.Head > 0 && n%r.Head == 0 && r.Dims > 2 {
		all = append(all, rowOrder{halved, within(model.HalfSplit)}, rowOrder{interleaved, within(model.Interleave)})
	}
	return all
}
