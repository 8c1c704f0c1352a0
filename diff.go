package thimble

import (
	"context"

	"thimble/quantize"
	"thimble/verify/diff"
)

// DiffOptions specify the models that Diff compares.
type DiffOptions struct {
	A, B   string   // paths
	Set    []string // config overrides for those that are checkpoints
	Values bool     // compare values only, not the schemes that store them

	Progress Progress
}

// Diff compares two models, in any formats, tensor by tensor.
func Diff(ctx context.Context, o DiffOptions) (*diff.Report, error) {
	a, err := openVerified(ctx, o.A, overridesFor(o.Set, o.A, o.B), o.Progress)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	b, err := openVerified(ctx, o.B, overridesFor(o.Set, o.B, o.A), o.Progress)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	ordered := b.InOrderOf(&a.Provenance)
	with := diff.Options{
		Values: o.Values, Progress: o.Progress.stage("diff", Weights),
		OrderedB: ordered.Tensors, RotatedA: quantize.Rotated(a, b.Provenance.Recipe), RotatedB: quantize.Rotated(ordered, a.Provenance.Recipe),
	}
	for name := range with.RotatedA {
		if with.RotatedB[name] != nil { // both recipes rotated it alike
			delete(with.RotatedA, name)
			delete(with.RotatedB, name)
		}
	}
	r, err := diff.Models(ctx, a, b, with)
	if err != nil {
		return nil, err
	}
	if ordered != b {
		r.Notes = append(r.Notes, "the channels of the residual stream are not in one order, which does not change what a model computes: those of b are compared in the order of a")
	}
	r.A.Format, r.B.Format = formatOf(o.A), formatOf(o.B)
	return r, nil
}
