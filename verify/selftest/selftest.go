// Package selftest tests whether verification would notice mistakes that converters,
// quantizers and runtimes have made in practice. It makes them in copies of a model,
// one at a time, judges each copy by the same gates on the same text, and checks that
// a comparison of operations names the place. docs/NUMERICS.md lists the faults, with
// a project in which each occurred.
package selftest

import (
	"context"
	"fmt"
	"slices"

	"thimble/internal/parallel"
	"thimble/internal/transformer"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/parity"
	"thimble/verify/reference"
)

// Run makes faults in copies of m, one at a time. For each it reports whether the gates
// of o would notice the fault on these prompts, and whether a comparison of operations
// names the place. A fault that the gates miss, or whose place is not named, fails the
// test. Without gates in o, Run judges each copy by the default gates, which
// verify.Expect derives from the copy itself: a user has only the faulty file, too.
//
// given holds the Settings and Rounded of the reference; Run fills in the rest.
//
// The gates compare each copy with ref; if ref is nil, with source in float32; and if
// source is nil too, with m itself. Run locates faults by a bit-exact comparison with
// m. With a source it also uses parity.Locate, which may miss a fault but must not
// name a wrong place.
//
// Each fault costs a run over the prompts and a comparison over the longest of them.
// Run does not write to m.
func Run(ctx context.Context, m, source *verify.Model, ref reference.Reference, prompts []reference.Prompt, given verify.Subject, o verify.Options) (*Report, error) {
	t, err := newTest(ctx, m, source, ref, prompts, given, o)
	if err != nil {
		return nil, err
	}
	r := &Report{Model: o.Model, Arithmetic: verify.Describe(o.Arithmetic), Against: o.Against, Tokens: t.scored(), Sourced: source != nil}
	if r.Unmodified, err = t.unmodified(ctx); err != nil {
		return nil, err
	}
	for _, c := range r.Unmodified.Gates {
		r.Gates = append(r.Gates, c.Gate)
	}
	t.gates = r.Gates
	if r.Diverges, err = t.against(ctx, m); err != nil {
		return nil, err
	}
	r.Pass = r.Unmodified.Pass && r.Diverges == nil
	for i := range faults {
		if o.Progress != nil {
			o.Progress(i, len(faults))
		}
		f, err := t.fault(ctx, &faults[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", faults[i].name, err)
		}
		r.Faults = append(r.Faults, *f)
		r.Pass = r.Pass && (f.Pass || f.Inapplicable != "")
	}
	return r, nil
}

// A test is the state of one Run.
type test struct {
	*faultTarget
	source  *verify.Model // nil without a source
	ref     reference.Reference
	prompts []reference.Prompt
	options verify.Options
	given   verify.Subject
	gates   []verify.Gate // of the target
}

func newTest(ctx context.Context, m, source *verify.Model, ref reference.Reference, prompts []reference.Prompt, given verify.Subject, o verify.Options) (*test, error) {
	if err := reference.CheckPrompts(prompts, m.Spec.Vocab); err != nil {
		return nil, err
	}
	t := &test{nil, source, ref, prompts, o, given, nil}
	positions, longest := 0, []int(nil)
	for _, p := range prompts {
		positions += len(p.IDs)
		if len(p.IDs) > len(longest) {
			longest = p.IDs
		}
	}
	if ref == nil {
		if source == nil {
			source = m
		}
		s, err := reference.NewScorer(source, verify.Arithmetic{}, 0)
		if err != nil {
			return nil, err
		}
		t.ref = reference.FromScorer(reference.CacheLogits(s, positions))
	}
	t.options.Progress = nil
	var err error
	t.faultTarget, err = newFaultTarget(ctx, m, longest)
	return t, err
}

// scored returns the number of scored positions.
func (t *test) scored() (n int) {
	for _, p := range t.prompts {
		n += p.To - p.From
	}
	return n
}

// unmodified judges the target itself.
func (t *test) unmodified(ctx context.Context) (*verify.Report, error) {
	scorer, err := reference.NewScorer(t.m, t.options.Arithmetic, 0)
	if err != nil {
		return nil, err
	}
	return t.verify(ctx, t.m, t.ref, scorer, nil)
}

// verify judges a model as thimble verify does. stepwise, if not nil, feeds the model
// token by token.
func (t *test) verify(ctx context.Context, m *verify.Model, ref reference.Reference, scorer, stepwise reference.Scorer) (*verify.Report, error) {
	o := t.options
	s := t.given
	s.Model, s.Arithmetic, s.Scorer, s.Stepwise, s.Prompts = m, o.Arithmetic, scorer, stepwise, t.prompts
	if err := verify.Prepare(ctx, &s, &o); err != nil {
		return nil, err
	}
	return verify.Run(ctx, ref, scorer, t.prompts, o)
}

// verifyDivergence judges a copy whose base is stored differently from the target. It
// uses only those gates of the target that limit divergence. Gates derived from the copy
// would allow for the rounding of its base, but the base is the reference here.
func (t *test) verifyDivergence(ctx context.Context, ref reference.Reference, scorer reference.Scorer) (*verify.Report, error) {
	o := t.options
	o.Gates = nil
	for _, g := range t.gates {
		if metric.Find(metric.Table, g.Metric) != nil {
			o.Gates = append(o.Gates, g)
		}
	}
	return verify.Run(ctx, ref, scorer, t.prompts, o)
}

// fault makes f and looks for it.
func (t *test) fault(ctx context.Context, f *fault) (*Result, error) {
	r := &Result{Name: f.name, KLMean: metric.Unknown, Top1Agreement: metric.Unknown}
	var in *injected
	err := parallel.Guard(func() error {
		in, r.Inapplicable = f.inject(t.faultTarget)
		return nil
	})
	if err != nil || in == nil {
		return r, err
	}
	r.Note, r.Want = in.note, &in.want
	if err := t.judge(ctx, in, r); err != nil {
		return nil, err
	}
	if r.Found, r.Cause, err = t.locate(ctx, in); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.Pass = r.Noticed && r.Found != nil && in.want.Matches(*r.Found)
	return r, t.compareSource(ctx, in, r)
}

// compareSource looks for a fault as a user with the source would. It skips copies with
// a separate block for each step, because the source numbers blocks differently, and
// cache faults, because they are not in a model.
func (t *test) compareSource(ctx context.Context, in *injected, r *Result) (err error) {
	if t.source == nil || in.cacheFault != nil || in.model.Spec.Blocks != t.source.Spec.Blocks || r.Error != "" {
		return nil
	}
	if r.FoundAgainst, err = t.against(ctx, in.model); err != nil {
		return err
	}
	switch {
	case r.FoundAgainst == nil:
		r.Against = AgainstHidden
	case in.want.matchesLayer(*r.FoundAgainst), slices.Contains(in.also, r.FoundAgainst.Operation): // rounding may hide the first of them
		r.Against = AgainstFound
	default:
		r.Against, r.Pass = AgainstWrong, false
	}
	return nil
}

// judge runs the gates.
func (t *test) judge(ctx context.Context, in *injected, r *Result) error {
	if in.stored && t.given.Digests {
		r.Refused = "the file has a digest of each tensor, and verify refuses a file with another value"
	}
	scorer, ref, err := t.compared(in)
	if err != nil {
		return err
	}
	var stepwise reference.Scorer
	if in.cacheFault != nil {
		stepwise = scorer
	}
	var report *verify.Report
	if in.base == nil {
		report, err = t.verify(ctx, in.model, ref, scorer, stepwise)
	} else {
		report, err = t.verifyDivergence(ctx, ref, scorer)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil { // such as a logit that is not finite: the target itself did run
		r.Error, r.Noticed = err.Error(), true
		return nil
	}
	r.KLMean, r.Top1Agreement, r.Noticed = report.Metrics.KLMean, report.Metrics.Top1Agreement, !report.Pass || r.Refused != ""
	for _, c := range report.Gates {
		if !c.Pass {
			r.Missed = append(r.Missed, c)
		}
	}
	return nil
}

// compared returns a scorer of the model with the fault, and the reference to compare it
// with. If the base differs from the target, the base is the reference, so that the
// difference is not mistaken for the fault.
func (t *test) compared(in *injected) (scorer reference.Scorer, ref reference.Reference, err error) {
	ref = t.ref
	if in.base != nil {
		base, err := reference.NewScorer(in.base, verify.Arithmetic{}, 0)
		if err != nil {
			return nil, nil, err
		}
		ref = reference.FromScorer(base)
	}
	if in.cacheFault == nil {
		scorer, err = reference.NewScorer(in.model, t.options.Arithmetic, 0)
		return scorer, ref, err
	}
	d, err := transformer.NewWith(in.model, t.options.Arithmetic)
	return &faultyScorer{d, in.model.Spec.Vocab, in.cacheFault}, ref, err
}

// against returns the place where m differs from the source by more than rounding. It
// returns nil if there is no such place, or no source.
func (t *test) against(ctx context.Context, m *verify.Model) (*Place, error) {
	if t.source == nil {
		return nil, nil
	}
	d, err := parity.Locate(ctx, t.source, m, t.ids)
	return placeOf(d), err
}

// locate returns where and why in's models differ, or nil if they do not.
func (t *test) locate(ctx context.Context, in *injected) (*Place, string, error) {
	if in.cacheFault != nil {
		at, err := locateCacheFault(ctx, in.model, t.options.Arithmetic, in.cacheFault, t.ids)
		return at, "", err
	}
	base := t.m
	if in.base != nil {
		base = in.base
	}
	d, err := parity.FirstDifference(ctx, base, in.model, t.ids)
	if d == nil || err != nil {
		return nil, "", err
	}
	return placeOf(d), d.Cause, nil
}

// placeOf returns the place of d, or nil if d is nil.
func placeOf(d *parity.Divergence) *Place {
	if d == nil {
		return nil
	}
	return &Place{d.Step, d.Block, d.Operation, d.Tensor, d.Token, d.Channel}
}
