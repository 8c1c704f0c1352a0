package thimble

import (
	"context"

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
	r, err := diff.Models(ctx, a, b, diff.Options{Values: o.Values, Progress: o.Progress.stage("diff", Weights)})
	if err != nil {
		return nil, err
	}
	r.A.Format, r.B.Format = formatOf(o.A), formatOf(o.B)
	return r, nil
}
