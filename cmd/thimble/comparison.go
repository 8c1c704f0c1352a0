package main

import (
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/verify/reference"
)

// A comparison is what --reference, --against and --text ask for.
type comparison struct {
	reference reference.Reference // nil to measure perplexity alone
	prompts   []reference.Prompt
	files     []string // of the reference
	close     func() error
	source    *model.Model // that is the reference, or nil
}

// rememberedFloats is how much of the reference --attribute keeps, rather than
// run it again for every stage: 256 MB.
const rememberedFloats = 1 << 26

func comparisonOf(c *cli.Context, m *model.Model) (*comparison, error) {
	file, against, text, tasks := c.String("reference"), c.String("against"), c.String("text"), c.String("tasks")
	switch {
	case file == "" && text == "" && tasks == "" && !c.Bool(selfTestFlag.Name):
		return nil, errors.New("nothing to compare: give --reference REF, or --text FILE with or without --against SRC, or --tasks FILE")
	case file != "" && (text != "" || against != ""):
		return nil, errors.New("--reference holds its own prompts; leave out --text and --against")
	case file != "":
		r, err := reference.Open(file)
		if err != nil {
			return nil, err
		}
		if tok, err := openTokenizer(m); err == nil {
			r.StartWith(tok.Start())
		}
		return &comparison{reference: r, prompts: r.Prompts(), files: []string{file}, close: r.Close}, nil
	}
	var prompts []reference.Prompt
	var err error
	switch {
	case text != "":
		prompts, err = textPrompts(c, m, text)
	case c.Bool(selfTestFlag.Name):
		prompts, err = selfTestPrompts(c, m)
	}
	if err != nil {
		return nil, err
	}
	if against == "" {
		return &comparison{prompts: prompts, close: func() error { return nil }}, nil
	}
	source, err := openSound(against, overridesOf(c, against, m.Path))
	if err != nil {
		return nil, err
	}
	if prompts == nil {
		return &comparison{files: source.Files, close: source.Close, source: source}, nil
	}
	scorer, err := reference.NewScorer(source, reference.Arithmetic{}, 0)
	if err != nil {
		source.Close()
		return nil, err
	}
	if c.Bool("attribute") {
		scorer = reference.CacheLogits(scorer, rememberedFloats/source.Spec.Hidden)
	}
	return &comparison{reference.FromScorer(scorer), prompts, source.Files, source.Close, source}, nil
}

// textPrompts cuts the text at path into chunks of m's tokens.
func textPrompts(c *cli.Context, m *model.Model, path string) ([]reference.Prompt, error) {
	tok, err := openTokenizer(m)
	if err != nil {
		return nil, err
	}
	length := c.Int(contextFlag.Name)
	if err := checkContext(m, length, fmt.Sprintf("use --context %d or less", m.Spec.Context)); err != nil {
		return nil, err
	}
	text, err := readText(c.Context, path, maxText)
	if err != nil {
		return nil, err
	}
	ids, err := encode(c.Context, tok, text, true)
	if err != nil {
		return nil, err
	}
	prompts, err := reference.TextPrompts(ids, length, c.Int(chunksFlag.Name), tok.Start())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return prompts, nil
}
