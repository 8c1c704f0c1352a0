package thimble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/quantize"
	"thimble/verify"
	"thimble/verify/reference"
)

// limitNames lists the options that limit a Budget, as the command line spells them.
const limitNames = "--target-size, --target-bpw, --max-kl or --min-top1"

// prepareBudget checks the budget against the model and completes the recipe.
func (q *quantization) prepareBudget() (err error) {
	if head := q.recipe.Head; q.m.Spec.Tied && head != "" && head != cmp.Or(q.recipe.Embedding, q.recipe.Scheme) {
		return fmt.Errorf("%s: the head is tied to the embedding; --head has no effect, use --embedding", defect.Printable(q.Model))
	}
	if q.Budget == nil {
		if len(q.Surveys) > 0 {
			return errors.New("--stats has no effect without " + limitNames)
		}
		return nil
	}
	for _, text := range []string{q.recipe.Scheme, q.recipe.Head} {
		if text != "" {
			return fmt.Errorf(limitNames+" chooses every matrix's scheme, so %s has no effect; leave it out, name the schemes to choose from with --schemes, or fix the scheme of some matrices with --set", defect.Printable(text))
		}
	}
	if q.recipe.Embedding != "" && q.m.Spec.Tied {
		return fmt.Errorf("the embedding is tied to the head, whose scheme the budget chooses; --set %s=%s fixes it", model.Embed, defect.Printable(q.recipe.Embedding))
	}
	if q.Budget, err = budgetFor(q.m, q.Budget, q.target); err == nil {
		q.recipe = q.Budget.Complete(q.m, q.recipe)
	}
	return err
}

// budgetFor returns b with its schemes, or DefaultSchemes if it names none. If target is
// not nil, it drops those that target lacks a type for in some matrix of m.
func budgetFor(m *model.Model, b *Budget, target format.Exporter) (*Budget, error) {
	full := *b
	if len(full.Schemes) == 0 {
		var err error
		if full.Schemes, err = ParseSchemes(DefaultSchemes()); err != nil {
			return nil, err
		}
	}
	if err := full.Check(); err != nil {
		return nil, err
	}
	if target == nil {
		return &full, nil
	}
	all := full.Schemes
	full.Schemes = quantize.SchemesFor(m, all, func(s Scheme, cols int) bool { return target.Nearest(s, cols) == s })
	if len(full.Schemes) == 0 {
		var names []string
		for _, s := range all {
			names = append(names, s.String())
		}
		return nil, fmt.Errorf("%s has no type for any of %s", target.Format().Program, strings.Join(names, ", "))
	}
	return &full, nil
}

// measuredSearch quantizes the model in memory, with one plan after another, until it
// meets the budget's limits on divergence.
func (q *quantization) measuredSearch(ctx context.Context, survey *quantize.Survey) (*quantize.Trial, error) {
	weights, _ := q.m.Size()
	report := q.Progress.stage(q.stage, Weights)
	return q.Budget.MeasuredSearch(ctx, q.m, q.recipe, survey, q.cal.Calibration, quantize.SearchOptions{
		Special:  q.cal.special,
		Progress: func(_ int, done int64) { report(done, weights) },
		Measure: func(ctx context.Context, coarse *model.Model, texts [][]int) (Measurement, error) {
			return measure(ctx, q.m, coarse, texts, q.Progress)
		},
	})
}

// measure compares coarse, the quantized m, with m on texts of token ids.
func measure(ctx context.Context, m, coarse *model.Model, texts [][]int, progress Progress) (out Measurement, err error) {
	original, err := reference.NewScorer(m, Arithmetic{}, 0)
	if err != nil {
		return out, err
	}
	scorer, err := reference.NewScorer(coarse, Arithmetic{}, 0)
	if err != nil {
		return out, err
	}
	var prompts []reference.Prompt
	for _, ids := range texts {
		one, err := reference.TextPrompts(ids, len(ids), 1, -1)
		if err != nil {
			return out, err
		}
		prompts = append(prompts, one...)
	}
	tokens := progress.stage("measure", Tokens)
	r, err := verify.Run(ctx, reference.FromScorer(original), scorer, prompts, verify.Options{
		Progress: func(done, total int) { tokens(int64(done), int64(total)) },
	})
	if err != nil {
		return out, err
	}
	return Measurement{Tokens: r.Metrics.Tokens, KL: float64(r.Metrics.KLMean), Top1: float64(r.Metrics.Top1Agreement)}, nil
}
