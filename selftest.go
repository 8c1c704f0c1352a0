package thimble

import (
	"context"
	"fmt"

	"thimble/internal/defect"
	"thimble/verify"
	"thimble/verify/selftest"
)

// SelfTest injects known faults into copies of the model in memory. It reports which of
// them Verify would notice with these options, and where it would locate them. It ignores
// Tasks, Continue, Record, Decode, Layers, Attribute, Baseline and Bench. Without a text
// or a reference it scores a built-in text.
func SelfTest(ctx context.Context, o VerifyOptions) (*selftest.Report, error) {
	var report *selftest.Report
	err := verifying(ctx, o, true, func(v *verification, with *comparison) (err error) {
		report, err = v.selfTest(ctx, with)
		return err
	})
	return report, err
}

func (v *verification) selfTest(ctx context.Context, with *comparison) (*selftest.Report, error) {
	gates, source, err := v.chosenGates()
	if err != nil {
		return nil, err
	}
	info, err := identify(ctx, v.m, v.Progress)
	if err != nil {
		return nil, err
	}
	subject := verify.Subject{Settings: with.settings, Rounded: with.rounded, Digests: isContainer(v.Model)}
	if with.reference == nil && with.source == nil {
		subject.Settings = verify.SettingsOf(&v.m.Spec)
	}
	if with.source != nil {
		with.reference = nil // selftest runs the source itself, once for all faults
		with.source = with.source.InOrderOf(&v.m.Provenance)
	}
	faults := v.Progress.stage("self-test", Faults)
	report, err := selftest.Run(ctx, v.m, with.source, with.reference, with.prompts, subject, verify.Options{
		Gates: gates, Source: source, Model: info, Arithmetic: v.Arithmetic, Against: v.Reference + v.Against, Strict: v.Strict, Seed: v.Seed,
		Progress: func(done, total int) { faults(int64(done), int64(total)) },
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(v.Model), err)
	}
	return report, nil
}
