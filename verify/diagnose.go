package verify

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"thimble/internal/model"
)

// diagnose says in a line why two models part where d says: by what their Specs
// say about the operation, then by what the tensors that make it hold.
func diagnose(ctx context.Context, reference, subject *model.Model, d *Divergence) (string, error) {
	place := d.Operation
	if d.Block != noBlock {
		place = model.Name(d.Block, d.Operation)
	}
	if text := differingSettings(&reference.Spec, &subject.Spec, d); text != "" {
		return place + ": " + text, nil
	}
	tensor := d.Tensor
	if tensor == "" {
		return place + ": with the same tensors and settings the model computes something else", nil
	}
	want, got := reference.Spec.Biased(d.Operation), subject.Spec.Biased(d.Operation)
	switch {
	case want && !got:
		return tensor + model.BiasSuffix + ": missing; the reference has one", nil
	case got && !want:
		return tensor + model.BiasSuffix + ": the reference has none", nil
	}
	if d.Operation == model.V || d.Operation == model.O {
		f, err := frameOf(ctx, reference, subject, d.Block)
		if err == nil && f != nil {
			reference, err = f.of(reference, d.Block)
		}
		if err != nil {
			return "", err
		}
	}
	c := relation{ctx, reference, subject, rotaryOf(&reference.Spec, d)}
	var all []string
	for _, name := range []string{tensor, tensor + model.BiasSuffix} {
		text, err := c.of(name)
		if err != nil {
			return "", err
		}
		if text != "" {
			all = append(all, name+": "+text)
		}
	}
	if all == nil {
		return fmt.Sprintf("%s: the tensor is that of the reference, its result is not (%.2g of it, rounding explains %.2g)", tensor, d.Added, d.Expected), nil
	}
	return strings.Join(all, "; "), nil
}

// differingSettings lists the features in which the two Specs differ and which
// change d's operation.
func differingSettings(a, b *model.Spec, d *Divergence) string {
	var all []string
	for i := range model.Features {
		if f := &model.Features[i]; f.Changes(d.Operation) && f.Differs(a, b, d.Step) {
			all = append(all, fmt.Sprintf("%s is %s, the reference has %s", f.Name, f.Value(b, d.Step), f.Value(a, d.Step)))
		}
	}
	return strings.Join(all, "; ")
}

// A rotary is how rows of a head lie that turn together.
type rotary struct {
	head, dims int  // width of a head, and how much of it turns
	pairs      bool // neighbours
}

func rotaryOf(s *model.Spec, d *Divergence) rotary {
	r := &s.Rope
	if d.Block != noBlock && d.Block < s.Blocks && s.RopeOf(d.Block) != nil {
		r = s.RopeOf(d.Block)
	}
	return rotary{s.HeadDim, cmp.Or(r.Dims, s.HeadDim), r.Pairs}
}

// An order is a rule by which rows may have been moved: row i holds what the
// reference has as row from(i).
type order struct {
	name string
	from func(i int) int
}

// orders lists rules for n rows, the likely ones first.
func (r rotary) orders(n int) []order {
	within := func(f func(i, dim int) int) func(int) int {
		return func(i int) int {
			if at := i % r.head; at < r.dims {
				return i - at + f(at, r.dims)
			}
			return i
		}
	}
	halved, interleaved := "rows are in the other rotary order (interleaved, want halves)", "rows were moved from interleaved to halves, and were in halves already"
	if r.pairs {
		halved, interleaved = "rows were moved from halves to interleaved, and were interleaved already", "rows are in the other rotary order (halves, want interleaved)"
	}
	var all []order
	if r.head > 0 && n%r.head == 0 && r.dims > 2 {
		all = append(all, order{halved, within(model.HalfSplit)}, order{interleaved, within(model.Interleave)})
	}
	return all
}
