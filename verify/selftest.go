package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// SelfTest makes mistakes in copies of m, one at a time, and finds out whether
// the gates of o would notice them on these prompts, and whether a comparison by
// operations names the place. A mistake that rounding hides from a gate must
// still be named; one that is not is a miss.
//
// The gates compare with reference; without one with source in float32, and
// without that with m itself. Places are found by comparing with m to the bit,
// and if there is a source by Locate too, which must be right where it speaks.
//
// It takes a run over the prompts and a comparison over the longest of them for
// each mistake. m is not written to.
func SelfTest(ctx context.Context, m, source *model.Model, reference Subject, prompts []Prompt, o Options) (*SelfTestReport, error) {
	t, err := newSelfTest(ctx, m, source, reference, prompts, o)
	if err != nil {
		return nil, err
	}
	r := &SelfTestReport{Model: o.Model, Arithmetic: Describe(o.Arithmetic), Against: o.Against, Gates: o.Gates, Tokens: t.scored(), sourced: source != nil}
	if r.Unmodified, err = t.unmodified(ctx); err != nil {
		return nil, err
	}
	if r.Apart, err = t.against(ctx, m); err != nil {
		return nil, err
	}
	r.Pass = r.Unmodified.Pass && r.Apart == nil
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

// A selfTest is the state of one SelfTest.
type selfTest struct {
	*specimen
	source    *model.Model // nil if there is none
	reference Subject
	prompts   []Prompt
	options   Options
}

func newSelfTest(ctx context.Context, m, source *model.Model, reference Subject, prompts []Prompt, o Options) (*selfTest, error) {
	if len(o.Gates) == 0 {
		return nil, errors.New("a self-test wants gates")
	}
	if err := checkPrompts(prompts, m.Spec.Vocab); err != nil {
		return nil, err
	}
	t := &selfTest{nil, source, reference, prompts, o}
	positions, longest := 0, []int(nil)
	for _, p := range prompts {
		positions += len(p.IDs)
		if len(p.IDs) > len(longest) {
			longest = p.IDs
		}
	}
	if reference == nil {
		if source == nil {
			source = m
		}
		s, err := NewSubject(source, 0)
		if err != nil {
			return nil, err
		}
		t.reference = Remember(s, positions)
	}
	t.options.Progress = nil
	var err error
	t.specimen, err = newSpecimen(ctx, m, longest)
	return t, err
}

func (t *selfTest) scored() (n int) {
	for _, p := range t.prompts {
		n += p.To - p.From
	}
	return n
}

// unmodified judges the specimen itself.
func (t *selfTest) unmodified(ctx context.Context) (*Report, error) {
	subject, err := NewSubjectWith(t.m, t.options.Arithmetic, 0)
	if err != nil {
		return nil, err
	}
	return Run(ctx, t.reference, subject, t.prompts, t.options)
}

// fault makes f and looks for it.
func (t *selfTest) fault(ctx context.Context, f *fault) (*FaultReport, error) {
	r := &FaultReport{Name: f.name, KLMean: unknown, Top1Agreement: unknown}
	var in *injected
	err := parallel.Guard(func() error {
		in, r.Inapplicable = f.inject(t.specimen)
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
	r.Pass = r.Found != nil && in.want.matches(*r.Found)
	return r, t.compareSource(ctx, in, r)
}

// compareSource looks for a fault as a user does who has the source. A block for
// each step is not the source's way to name them, and a slip is in no model.
func (t *selfTest) compareSource(ctx context.Context, in *injected, r *FaultReport) (err error) {
	if t.source == nil || in.slip != nil || in.model.Spec.Blocks != t.source.Spec.Blocks || r.Error != "" {
		return nil
	}
	if r.FoundAgainst, err = t.against(ctx, in.model); err != nil {
		return err
	}
	switch {
	case r.FoundAgainst == nil:
		r.Against = AgainstHidden
	case in.want.roughly(*r.FoundAgainst), slices.Contains(in.every, r.FoundAgainst.Operation): // the first of them may hide in rounding
		r.Against = AgainstFound
	default:
		r.Against, r.Pass = AgainstWrong, false
	}
	return nil
}

// judge runs the gates.
func (t *selfTest) judge(ctx context.Context, in *injected, r *FaultReport) error {
	subject, reference, err := t.subjects(in)
	if err != nil {
		return err
	}
	report, err := Run(ctx, reference, subject, t.prompts, t.options)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil { // as where a logit is not finite: the specimen itself ran
		r.Error, r.Noticed = err.Error(), true
		return nil
	}
	r.KLMean, r.Top1Agreement, r.Noticed = report.Metrics.KLMean, report.Metrics.Top1Agreement, !report.Pass
	for _, c := range report.Gates {
		if !c.Pass {
			r.Missed = append(r.Missed, c)
		}
	}
	return nil
}

// subjects returns what is compared: a base that is no longer the specimen is
// its own reference, so that what made it so is not taken for the fault.
func (t *selfTest) subjects(in *injected) (subject, reference Subject, err error) {
	reference = t.reference
	if in.base != nil {
		if reference, err = NewSubject(in.base, 0); err != nil {
			return nil, nil, err
		}
	}
	if in.slip == nil {
		subject, err = NewSubjectWith(in.model, t.options.Arithmetic, 0)
		return subject, reference, err
	}
	d, err := transformer.NewWith(in.model, t.options.Arithmetic)
	return &slipped{decoded{d, in.model.Spec.Vocab, 0}, in.slip}, reference, err
}

// against returns where m parts from the source by more than rounding, nil if
// nowhere or without a source.
func (t *selfTest) against(ctx context.Context, m *model.Model) (*Place, error) {
	if t.source == nil {
		return nil, nil
	}
	d, err := Locate(ctx, t.source, m, t.ids)
	if d == nil || err != nil {
		return nil, err
	}
	return d.place(), nil
}

// locate returns where in's models part and why, nil if they do not.
func (t *selfTest) locate(ctx context.Context, in *injected) (*Place, string, error) {
	if in.slip != nil {
		at, err := locateSlip(ctx, in.model, t.options.Arithmetic, in.slip, t.ids)
		return at, "", err
	}
	base := t.m
	if in.base != nil {
		base = in.base
	}
	d, err := firstDifference(ctx, base, in.model, t.ids)
	if d == nil || err != nil {
		return nil, "", err
	}
	return d.place(), d.Cause, nil
}

func (d *Divergence) place() *Place {
	return &Place{d.Step, d.Block, d.Operation, d.Tensor, d.Token, d.Channel}
}

// firstDifference returns where a and b part over ids in float32, exactly: the
// first operation of b whose output, given a's inputs, is not a's to the bit, and
// the channel and position of the largest error there; nil if there is none.
func firstDifference(ctx context.Context, a, b *model.Model, ids []int) (found *Divergence, err error) {
	l, err := newLockstep(a, b, Arithmetic{}, [][]int{ids})
	if err != nil {
		return nil, err
	}
	err = l.walk(ctx, func(d *deviation) (enough bool) {
		if d.Added == 0 {
			return false
		}
		channel := 0
		for i, e := range d.added {
			if e > d.added[channel] {
				channel = i
			}
		}
		found = d.divergence(0, channel)
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
	// A layer's output does not tell its bias from its weights; what is stored does.
	if w, bias := found.Tensor, found.Tensor+model.BiasSuffix; b.Tensors[bias] != nil && sameValues(a.Tensors[w], b.Tensors[w]) && !sameValues(a.Tensors[bias], b.Tensors[bias]) {
		found.Tensor = bias
	}
	return found, nil
}

// oneWeight names the weight in which alone two tensors, either of which may be
// nil, differ; "" if there are others or none. In a row of many, one is less than
// a diagnosis that allows for rounding sees.
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
			text = fmt.Sprintf("row %d, column %d is %.4g, the model has %.4g", r, c, y[c], v)
		}
	}
	return text
}
