package verify

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"thimble/internal/qtensor"
	"thimble/verify/metric"
	"thimble/verify/noise"
	"thimble/verify/reference"
)

// The sources of an Expectation.
const (
	FromNoise  = "noise"  // copies of the model were rounded once more
	FromRecipe = "recipe" // the file's own recipe predicted it
	FromExact  = "exact"  // the file keeps every weight as its source has it
	FromScheme = "scheme" // floats that may have been rounded from wider ones
)

// An Expectation holds the figures that a sound file should have. The default gates are
// derived from it.
type Expectation struct {
	Source    string       `json:"source"` // FromNoise, FromRecipe, FromExact or FromScheme
	KLMean    metric.Value `json:"kl_mean"`
	Top1      metric.Value `json:"top1_agreement"`
	Noise     metric.Value `json:"noise_kl_mean"`     // divergence of copies that were rounded once more
	Predicted metric.Value `json:"predicted_kl_mean"` // the prediction that the file records
	Tokens    int          `json:"tokens,omitempty"`  // number of positions on which the copies were scored
	Tells     metric.Value `json:"tells_kl"`          // the divergence that a mistake must add to fail the gate
	Wreckage  bool         `json:"only_wreckage,omitempty"`

	integrity Integrity
	notes     []string
	gates     []Gate
}

// ofThisText reports whether the gates are derived from the same positions that are
// scored, so that other prompts would have other limits.
func (e *Expectation) ofThisText() bool { return e != nil && e.Noise.Known() }

// Prepare completes o for s. If o has no gates, it derives the default ones. If a gate
// limits a metric of an Integrity, it measures the Integrity.
func Prepare(ctx context.Context, s *Subject, o *Options) error {
	if len(o.Gates) == 0 {
		e, err := Expect(ctx, s)
		if err != nil {
			return err
		}
		o.Expected, o.Gates, o.integrity, o.notes = e, e.gates, &e.integrity, e.notes
		return nil
	}
	for _, g := range o.Gates {
		if metric.Find(integrityTable, g.Metric) != nil {
			i, notes, err := s.integrity(ctx)
			o.integrity, o.notes = &i, notes
			return err
		}
	}
	return nil
}

const (
	noiseCopies  = 3    // number of copies that are rounded once more
	noiseTokens  = 1536 // approximate number of positions on which the copies are scored
	calibrated   = 0.6  // largest share of the noise that calibrated methods leave
	leastRecipe  = 0.4  // smallest share of the noise that a prediction for another text may have
	wreckage     = 0.5  // nats; a limit this large or larger only detects wrecked models
	roundedFloor = 5e-3 // nats that a reference of rounded probabilities may add
)

// margins holds, by bits, the largest multiple of the expectation that a sound file may
// have. docs/NUMERICS.md has the measurements: with four bits or more, no file exceeds
// 1.1 times.
var margins = [9]float64{2: 2.2, 3: 1.8, 4: 1.3, 5: 1.3, 6: 1.3, 7: 1.3, 8: 1.3}

// Expect computes the figures that s should have, and measures its integrity. It runs
// the model and its copies on part of the prompts.
func Expect(ctx context.Context, s *Subject) (*Expectation, error) {
	e := &Expectation{KLMean: metric.Unknown, Top1: metric.Unknown, Noise: metric.Unknown, Predicted: metric.Unknown, Tells: metric.Unknown}
	var err error
	if e.integrity, e.notes, err = s.integrity(ctx); err != nil {
		return nil, err
	}
	ceiling := DefaultGates(s.Model)
	switch coarse := coarsest(s.Model); {
	case noise.Rounds(s.Model):
		if err := e.addNoise(ctx, s); err != nil {
			return nil, err
		}
		e.derive(s, ceiling, margins[bitsOf(coarse)])
	case s.exact() && !s.Rounded:
		e.Source, e.KLMean, e.Top1 = FromExact, 0, 1
		e.gates = SchemeGates(Scheme{})
	default:
		e.Source, e.gates = FromScheme, ceiling
	}
	if e.Source != FromNoise && e.Source != FromRecipe {
		e.Tells = metric.Value(e.gates[0].Limit)
	}
	for _, g := range integrityGates {
		if metric.Find(integrityTable, g.Metric).Of(&e.integrity).Known() {
			e.gates = append(e.gates, g)
		}
	}
	return e, nil
}

// bitsOf returns the number of bits of a scheme's codes, and 8 for floats.
func bitsOf(s Scheme) int {
	s = s.Rounding()
	if s.Kind != qtensor.Int {
		return 8
	}
	return s.Bits
}

// exact reports whether every weight equals the source's, as in a checkpoint, or in a
// container whose recipe keeps all types.
func (s *Subject) exact() bool {
	recipe := s.Model.Provenance.Recipe
	if recipe == "" { // a GGUF file in f16 may come from a wider type
		return coarsest(s.Model).Kind != qtensor.F16
	}
	for _, m := range storageLine.FindAllStringSubmatch(recipe, -1) {
		if m[1] == "set" || m[2] != "keep" {
			return false
		}
	}
	return true
}

// storageLine matches the lines of a recipe that set how tensors are stored.
var storageLine = regexp.MustCompile(`(?m)^(scheme|embedding|head|vectors|set): *(.*)$`)

// calibratedLine matches the line of a recipe that only calibrated runs have.
var calibratedLine = regexp.MustCompile(`(?m)^calibration:`)

// addNoise measures how far copies of the model that were rounded once more diverge from
// it. Copies differ more than prompts do, so several prompts are dealt out to the copies.
func (e *Expectation) addNoise(ctx context.Context, s *Subject) error {
	prompts := sampled(s.Prompts)
	base := s.Scorer
	if s.Arithmetic != (Arithmetic{}) { // the copies add the noise of activations, so the model must not have it
		var err error
		if base, err = reference.NewScorer(s.Model, Arithmetic{}, 0); err != nil {
			return err
		}
	}
	length := 0
	for _, p := range prompts {
		length += len(p.IDs)
		e.Tokens += p.To - p.From
	}
	base = reference.CacheLogits(base, length)
	var sum, same float64
	done, total := 0, 0
	hands := dealt(prompts)
	for _, prompts := range hands {
		total += len(prompts)
	}
	for seed, prompts := range hands {
		copied, err := noise.Copy(ctx, s.Model, uint64(seed))
		if err != nil {
			return err
		}
		scorer, err := reference.NewScorer(copied, s.Arithmetic, 0)
		if err != nil {
			return err
		}
		r := newRun(reference.FromScorer(base), scorer, prompts, nil)
		for i := range prompts {
			if err := r.prompt(ctx, &prompts[i]); err != nil {
				return fmt.Errorf("the model with more rounding noise: prompt %d: %w", i, err)
			}
			if done++; s.Progress != nil {
				s.Progress(done, total)
			}
		}
		m := &r.report().Metrics
		sum += float64(m.KLMean)
		same += float64(m.Top1Agreement)
	}
	e.Noise, e.Top1 = metric.Value(sum/noiseCopies), metric.Value(same/noiseCopies)
	return nil
}

// dealt returns the prompts of each copy: all of them, or a share if there are two for each.
func dealt(prompts []reference.Prompt) (hands [noiseCopies][]reference.Prompt) {
	for i, p := range prompts {
		for k := range hands {
			if len(prompts) < 2*noiseCopies || i%noiseCopies == k {
				hands[k] = append(hands[k], p)
			}
		}
	}
	return hands
}

// sampled returns every nth prompt, with n chosen to score about noiseTokens positions.
func sampled(all []reference.Prompt) (some []reference.Prompt) {
	total := 0
	for _, p := range all {
		total += p.To - p.From
	}
	step := max(1, (total+noiseTokens-1)/noiseTokens)
	for i := 0; i < len(all); i += step {
		some = append(some, all[i])
	}
	return some
}

// derive sets the gates of divergence. The noise was measured on this text; a prediction
// was made on another text, which may be easier.
func (e *Expectation) derive(s *Subject, ceiling []Gate, margin float64) {
	e.Source, e.KLMean = FromNoise, e.Noise
	switch {
	case s.Predicted > 0:
		e.Source, e.Predicted = FromRecipe, metric.Value(s.Predicted)
		e.KLMean = min(e.Noise, max(e.Predicted, e.Noise*leastRecipe))
		margin = max(margin, 1.5)
	case calibratedLine.MatchString(s.Model.Provenance.Recipe):
		e.KLMean = e.Noise * calibrated
	}
	kl := float64(e.KLMean) * margin
	if s.Rounded {
		kl += roundedFloor
	}
	kl = min(significant(kl), ceiling[0].Limit)
	// Disagreement is proportional to the square root of the divergence. The last term
	// allows five standard deviations for chance at positions with two equally good
	// choices.
	scored := 0
	for _, p := range s.Prompts {
		scored += p.To - p.From
	}
	differ := 1 - float64(e.Top1)
	differ = float64(math.Sqrt(margin)*differ) + float64(5*math.Sqrt(max(differ, 1/float64(scored))/float64(scored)))
	top1 := max(math.Floor(1000*(1-differ))/1000, ceiling[1].Limit)
	e.gates = gatePair(kl, top1)
	e.Tells = metric.Value(max(0, kl-float64(e.KLMean)))
	e.Wreckage = kl >= wreckage
}

// significant rounds x up to three significant digits.
func significant(x float64) float64 {
	if !(x > 0) {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-2)
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(math.Ceil(x/unit)*unit, 'g', 3, 64), 64) // FormatFloat writes what ParseFloat reads
	return rounded
}
