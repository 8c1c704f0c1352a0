package thimble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/format"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/units"
	"thimble/quantize"
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
	if q.Budget, err = budgetFor(q.m, q.Budget, q.target, q.recipe.EntropyCoded); err != nil {
		return err
	}
	q.recipe = q.Budget.Complete(q.m, q.recipe)
	q.least, err = checkBudget(q.m, q.Budget, q.recipe, q.target, q.containerName(), &q.Calibration)
	if err != nil {
		option := ""
		if errors.As(err, new(*smallError)) {
			option = "--target-size " + units.Exact(q.Budget.File) + ": "
			if q.Budget.Bits != 0 {
				option = fmt.Sprintf("--target-bpw %g: ", q.Budget.Bits)
			}
		}
		return q.inModel(fmt.Errorf("%s%w", option, err))
	}
	if bits := mostBits(q.m, q.Budget, q.recipe, &q.Calibration); bits > 0 && q.Budget.Bits > bits {
		q.Notes = append(slices.Clone(q.Notes), fmt.Sprintf("--target-bpw %g is more than the largest schemes take, %.2f bits per weight; --scheme needs no survey for those", q.Budget.Bits, bits))
	}
	if q.Output != "" {
		size, err := q.fileSize(q.least)
		if err == nil {
			err = checkTarget(q.exporter, q.Output, atomicfile.Options{Overwrite: q.Overwrite, Size: size})
		}
		if err != nil {
			return err
		}
	}
	return q.readSurveys(ctx)
}

// checkBudget checks everything about a budget that needs no survey: whether recipe r, which
// must be complete, fits the model and the target, and whether the smallest schemes keep a
// limit on size. It returns the plan of these.
func checkBudget(m *model.Model, b *Budget, r *Recipe, target format.Exporter, container string, texts *Calibration) (least *quantize.Plan, err error) {
	same := *r
	same.Texts = texts.unread(m, r.Texts)
	file, err := limitedFile(b, m, target, container)
	if err != nil {
		return nil, err
	}
	if least, err = b.Smallest(m, &same, file.Copies); err != nil {
		return nil, err
	}
	if target != nil {
		if _, _, err := typesFor(target, m, least); err != nil {
			return nil, err
		}
	}
	size := int64(0)
	if b.File != 0 {
		if size, err = file.Size(least); err != nil {
			return nil, err
		}
	}
	switch bits := least.BitsPerWeight(); {
	case size > b.File:
		return nil, &smallError{units.Size(size), remedyForSize(b.File, size, 4*least.Weights+size)}
	case b.Bits != 0 && bits > b.Bits:
		return nil, &smallError{fmt.Sprintf("%.3g bits per weight", bits), fmt.Sprintf("use %g or more, or smaller schemes", math.Ceil(100*bits)/100)}
	}
	return least, nil
}

// mostBits returns the bits per weight of the plan in which every matrix that b chooses for
// has the largest of b's schemes, or 0 if not every matrix can have it.
func mostBits(m *model.Model, b *Budget, r *Recipe, texts *Calibration) float64 {
	const cols = 4096 // every group divides it
	largest := *b
	largest.Schemes = []Scheme{slices.MaxFunc(b.Schemes, func(x, y Scheme) int { return cmp.Compare(x.BitsPerWeight(cols), y.BitsPerWeight(cols)) })}
	same := *r
	same.Texts = texts.unread(m, r.Texts)
	plan, err := largest.Smallest(m, &same, nil)
	if err != nil {
		return 0
	}
	return plan.BitsPerWeight()
}

// A smallError is the error of a limit on size that no choice of schemes keeps.
type smallError struct{ least, remedy string }

func (e *smallError) Error() string { return "the smallest schemes take " + e.least + "; " + e.remedy }

// remedyForSize returns the remedy for a target of given bytes, less than the least
// possible. If the target is possible in a larger unit, that unit was forgotten.
func remedyForSize(given, least, most int64) string {
	for _, unit := range []int64{1e3, 1e6, 1e9} {
		if given <= most/unit && given*unit >= least {
			return fmt.Sprintf("did you mean %s?", units.Exact(given*unit))
		}
	}
	return fmt.Sprintf("use %s or more, or smaller schemes", units.AtLeast(least))
}

// budgetFor returns b with its schemes, or DefaultSchemes if it names none. If target is
// not nil, it drops those that target lacks a type for in some matrix of m.
func budgetFor(m *model.Model, b *Budget, target format.Exporter, coded bool) (*Budget, error) {
	full := *b
	if len(full.Schemes) == 0 {
		names := DefaultSchemes()
		if coded {
			names = quantize.CodedSchemes()
		}
		var err error
		if full.Schemes, err = ParseSchemes(names); err != nil {
			return nil, err
		}
	}
	if err := full.Check(); err != nil {
		return nil, err
	}
	rated := slices.ContainsFunc(full.Schemes, func(s Scheme) bool { return s.Rate > 0 })
	switch {
	case rated && target != nil:
		return nil, fmt.Errorf("entropy-coded schemes such as %v are for .thimble files, and --for %s makes no use of them", full.Schemes[len(full.Schemes)-1], target.Format().Program)
	case full.Resident > 0 && !rated:
		return nil, errors.New("--max-resident needs --entropy-coded: other files take in memory what they take on disk")
	}
	if target == nil {
		return &full, nil
	}
	all := full.Schemes
	full.Schemes = quantize.SchemesFor(m, all, func(s Scheme, cols int) bool { return target.Nearest(s, cols, model.Linear) == s })
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
	work := q.least.Work(q.m, q.cal.Calibration)
	return q.Budget.MeasuredSearch(ctx, q.m, q.recipe, survey, q.cal.Calibration, quantize.SearchOptions{
		Special: q.cal.special,
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
