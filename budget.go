package thimble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/units"
	"thimble/quantize"
	"thimble/quantize/order"
	"thimble/target"
	"thimble/verify"
	"thimble/verify/reference"
)

// limitNames lists the options that limit a Budget, as the command line spells them.
const limitNames = "--target-size, --target-bpw, --max-kl or --min-top1"

// prepareBudget checks the budget against the model and completes the recipe.
func (q *quantization) prepareBudget(ctx context.Context) (err error) {
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
	if q.Budget, err = q.ships().Complete(q.Budget, q.recipe.EntropyCoded); err != nil {
		return err
	}
	q.recipe = q.Budget.Complete(q.m, q.recipe)
	unread := *q.recipe
	unread.Texts = q.Calibration.Unread(q.m, q.recipe.Texts)
	q.least, err = q.ships().Smallest(q.Budget, &unread)
	if err != nil {
		option := ""
		if errors.As(err, new(*target.SizeError)) {
			option = "--target-size " + units.Exact(q.Budget.File) + ": "
			if q.Budget.Bits != 0 {
				option = fmt.Sprintf("--target-bpw %g: ", q.Budget.Bits)
			}
		}
		return q.inModel(fmt.Errorf("%s%w", option, err))
	}
	q.expectOrder(order.Group(q.m, q.recipe, q.Budget.Schemes, nil))
	if bits := q.ships().MostBits(q.Budget, &unread); bits > 0 && q.Budget.Bits > bits {
		q.Notes = append(slices.Clone(q.Notes), fmt.Sprintf("--target-bpw %g is more than the largest schemes take, %.2f bits per weight; --scheme needs no survey for those", q.Budget.Bits, bits))
	}
	if q.Output != "" {
		size, err := q.file().Size(q.least)
		if err == nil {
			err = checkTarget(q.exporter, q.Output, atomicfile.Options{Overwrite: q.Overwrite, Size: size})
		}
		if err != nil {
			return err
		}
	}
	return q.readSurveys(ctx)
}

// measuredSearch quantizes the model in memory, with one plan after another, until it
// meets the budget's limits on divergence.
func (q *quantization) measuredSearch(ctx context.Context, survey *quantize.Survey) (*quantize.Trial, error) {
	work := q.least.Work(q.m, q.cal.Calibration)
	return q.Budget.MeasuredSearch(ctx, q.m, q.recipe, survey, q.cal.Calibration, quantize.SearchOptions{
		Special: q.cal.Special,
		Progress: func(trial int, weights int64) {
			q.Progress.stage(fmt.Sprintf("%s, trial %d", q.stage, trial), Work)(work(weights))
		},
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
