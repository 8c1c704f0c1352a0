package thimble

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/quantize"
	"thimble/quantize/kept"
	"thimble/verify"
	"thimble/verify/reference"
)

// VerifyPart scores the share o.Shard of the chunks that Verify would score, and stores the
// scores in a part of o.Scores. Verify with o.Merge then reports the scores of all parts.
func VerifyPart(ctx context.Context, o VerifyOptions) (*verify.Part, error) {
	var p *verify.Part
	err := verifying(ctx, o, false, func(v *verification, with *comparison) (err error) {
		if len(with.prompts) == 0 {
			return errors.New("--shard divides the chunks of a text: add --text FILE or --reference REF")
		}
		if p, err = v.scorePart(ctx, with); err != nil {
			return fmt.Errorf("%s: %w", defect.Printable(v.Model), err)
		}
		return nil
	})
	return p, err
}

func (v *verification) scorePart(ctx context.Context, with *comparison) (*verify.Part, error) {
	scorer, err := v.scorer()
	if err != nil {
		return nil, err
	}
	o := &verify.Options{Arithmetic: v.Arithmetic}
	if err := verify.CheckRun(with.reference, scorer, with.prompts, o); err != nil {
		return nil, err
	}
	if err := verify.Fits(v.MaxMem, v.m, with.source, with.prompts, o, false); err != nil {
		return nil, err
	}
	parts, err := v.scoreParts(ctx, with)
	if err != nil {
		return nil, err
	}
	tokens := v.Progress.stage("verify", Tokens)
	return parts.Write(ctx, v.Shard, with.reference, scorer, v.Arithmetic, func(done, total int) { tokens(int64(done), int64(total)) })
}

// scorer returns the scorer of the model.
func (v *verification) scorer() (reference.Scorer, error) {
	batch := 0
	if v.Decode {
		batch = 1
	}
	return reference.NewScorer(v.m, v.Arithmetic, batch)
}

// scoreParts returns the parts of the scores of the prompts.
func (v *verification) scoreParts(ctx context.Context, with *comparison) (*verify.Parts, error) {
	sources, err := digest.Start(ctx, slices.Concat(v.m.Files, with.files), v.Progress.stage("hash", Bytes))
	if err != nil {
		return nil, err
	}
	defer sources.Stop()
	files, err := (&kept.Run{Model: v.m, Sources: sources}).ModelFacts()
	if err != nil {
		return nil, err
	}
	if with.source != nil {
		for _, set := range with.source.Provenance.Overrides {
			files = append(files, [2]string{"--set of the reference", set})
		}
	}
	return &verify.Parts{Path: v.Scores, Inputs: append(quantize.Facts{{"program", Tool}}, files...), Prompts: with.prompts, Vocab: v.m.Spec.Vocab}, nil
}
