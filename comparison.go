package thimble

import (
	"context"
	"errors"
	"fmt"
	"os"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/texts"
	"thimble/verify"
	"thimble/verify/reference"
	"thimble/verify/selftest"
)

// A comparison holds the reference that a model is compared with, and the prompts.
type comparison struct {
	reference reference.Reference // nil to measure perplexity alone
	prompts   []reference.Prompt
	files     []string // of the reference
	close     func() error
	source    *model.Model    // the reference model, or nil
	settings  verify.Settings // of the reference model; nil if a file does not record them
	rounded   bool            // the reference is a file of rounded probabilities
}

// cachedFloats limits the hidden states of the reference that Attribute caches instead
// of running the reference again for every stage: 256 MB.
const cachedFloats = 1 << 26

// comparison opens the reference that the options name. With selfTest it uses a
// built-in text if none is named.
func (v *verification) comparison(ctx context.Context, selfTest bool) (*comparison, error) {
	switch {
	case v.Reference == "" && v.Text == "" && v.Tasks == "" && !selfTest:
		return nil, errors.New("nothing to compare: give --reference REF, or --text FILE with or without --against SRC, or --tasks FILE")
	case v.Reference != "" && (v.Text != "" || v.Against != ""):
		return nil, errors.New("--reference contains its own prompts; leave out --text and --against")
	case v.Reference != "":
		return v.referenceFile()
	}
	var prompts []reference.Prompt
	var err error
	switch {
	case v.Text != "":
		prompts, err = textPrompts(ctx, v.m, v.Text, v.Context, v.Chunks)
	case selfTest:
		prompts, err = selftest.Prompts(v.m, v.Context, v.Chunks)
	}
	if err != nil {
		return nil, err
	}
	if v.Against == "" {
		return &comparison{prompts: prompts, close: func() error { return nil }}, nil
	}
	return v.against(ctx, prompts)
}

// referenceFile opens Reference.
func (v *verification) referenceFile() (*comparison, error) {
	if name, ok := format.Sniff(v.Reference); ok {
		return nil, fmt.Errorf("--reference %s: is a model in the format %s, not a file of logits; use --against to compare with it", defect.Printable(v.Reference), name)
	}
	if _, err := os.Stat(v.Reference); err != nil {
		return nil, defect.Unreadable("--reference", v.Reference, err)
	}
	r, err := reference.Open(v.Reference)
	if err != nil {
		return nil, err
	}
	if tok, _, err := texts.Tokenizer(v.m); err == nil {
		r.StartWith(tok.Start())
	}
	settings, err := verify.ReadSettings(r.Metadata())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--reference %s: %w", defect.Printable(v.Reference), err), r.Close())
	}
	return &comparison{
		reference: r, prompts: r.Prompts(), files: []string{v.Reference}, close: r.Close, settings: settings, rounded: r.Form().Note != "",
	}, nil
}

// against opens Against as the reference for prompts.
func (v *verification) against(ctx context.Context, prompts []reference.Prompt) (*comparison, error) {
	if err := missing("--against", v.Against); err != nil {
		return nil, err
	}
	source, err := openVerified(ctx, v.Against, overridesFor(v.Set, v.Against, v.Model), v.Progress)
	if err != nil {
		return nil, err
	}
	with := &comparison{prompts: prompts, files: source.Files, close: source.Close, source: source, settings: verify.SettingsOf(&source.Spec)}
	if prompts == nil {
		return with, nil
	}
	scorer, err := reference.NewScorer(source, Arithmetic{}, 0)
	if err != nil {
		source.Close()
		return nil, err
	}
	if v.Attribute {
		scorer = reference.CacheLogits(scorer, cachedFloats/source.Spec.Hidden)
	}
	with.reference = reference.FromScorer(scorer)
	return with, nil
}
