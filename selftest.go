package thimble

import (
	"cmp"
	"context"
	_ "embed" // the text of a self-test
	"fmt"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/texts"
	"thimble/verify"
	"thimble/verify/reference"
	"thimble/verify/selftest"
)

// SelfTest injects known faults into copies of the model in memory. It reports which of
// them Verify would notice with these options, and where it would locate them. It ignores
// Tasks, Continue, Record, Decode, Layers, Attribute, Baseline and Bench. Without a text
// or a reference it scores a built-in text.
func SelfTest(ctx context.Context, o VerifyOptions) (*selftest.Report, error) {
	v := &verification{VerifyOptions: o}
	if err := v.open(ctx); err != nil {
		return nil, err
	}
	defer v.m.Close()
	gates, source, err := v.chosenGates()
	if err != nil {
		return nil, err
	}
	with, err := v.comparison(ctx, true)
	if err != nil {
		return nil, err
	}
	defer with.close()
	info, err := identify(ctx, v.m, o.Progress)
	if err != nil {
		return nil, err
	}
	subject := verify.Subject{Settings: with.settings, Rounded: with.rounded, Digests: isContainer(o.Model)}
	if with.reference == nil && with.source == nil {
		subject.Settings = verify.SettingsOf(&v.m.Spec)
	}
	if with.source != nil {
		with.reference = nil // selftest runs the source itself, once for all faults
	}
	faults := o.Progress.stage("self-test", Faults)
	report, err := selftest.Run(ctx, v.m, with.source, with.reference, with.prompts, subject, verify.Options{
		Gates: gates, Source: source, Model: info, Arithmetic: o.Arithmetic, Against: o.Reference + o.Against, Strict: v.Strict, Seed: o.Seed,
		Progress: func(done, total int) { faults(int64(done), int64(total)) },
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(o.Model), err)
	}
	return report, nil
}

// Length and number of the chunks of the built-in text: enough for faults to show.
const (
	selfTestContext = 128
	selfTestChunks  = 2
)

// selfTestText is plain English with a few numbers, a list and a line of code:
// neighbouring tokens differ, and predictions depend on distant ones.
//
//go:embed selftest.txt
var selfTestText string

// selfTestPrompts splits the built-in text into chunks. A context or number of chunks of
// 0 means the default.
func selfTestPrompts(m *model.Model, context, chunks int) ([]reference.Prompt, error) {
	tok, _, err := texts.Tokenizer(m)
	if err != nil {
		return nil, err
	}
	if err := texts.CheckContext(m, context, fmt.Sprintf("use --context %d or less", m.Spec.Context)); err != nil {
		return nil, err
	}
	length := cmp.Or(context, min(selfTestContext, m.Spec.Context))
	prompts, err := reference.TextPrompts(tok.Encode(selfTestText, true), length, cmp.Or(chunks, selfTestChunks), tok.Start())
	if err != nil {
		return nil, fmt.Errorf("the built-in text: %w", err)
	}
	return prompts, nil
}
