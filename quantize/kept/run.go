// Package kept keeps the costly parts of a calibrated run for a later one: its survey, and the
// blocks that it finished before it was interrupted. A later run uses them only if everything
// that they depend on is the same.
package kept

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/quantize"
)

// A Run is what a survey and finished blocks depend on.
type Run struct {
	Model       *model.Model
	Sources     *digest.Hashing // the files that Model was read from
	Recipe      *quantize.Recipe
	Calibration *quantize.Calibration
}

// ModelFacts returns the names and digests of the model's files, and the overrides. It waits for
// the digests.
func (r *Run) ModelFacts() (f quantize.Facts, err error) {
	if err := r.Sources.Wait(); err != nil {
		return nil, err
	}
	for _, s := range r.Sources.Sources {
		f = append(f, [2]string{s.Name, hex.EncodeToString(s.SHA256)})
	}
	if set := r.Model.Provenance.Overrides; len(set) > 0 {
		f = append(f, [2]string{"--set", strings.Join(set, " ")})
	}
	return f, nil
}

// TextFacts returns the digests of the texts that the recipe is calibrated on, and how they are
// cut.
func (r *Run) TextFacts() (f quantize.Facts) {
	texts := r.Recipe.Texts
	for i, sum := range texts.SHA256 {
		f = append(f, [2]string{fmt.Sprintf("calibration text %d", i+1), sum})
	}
	f = append(f, [2]string{"--calib-tokens", strconv.Itoa(texts.Tokens)}, [2]string{"--calib-context", strconv.Itoa(texts.Context)},
		[2]string{"--calib-seed", strconv.FormatUint(texts.Seed, 10)})
	return append(f, r.Calibration.Facts()...)
}

// Facts returns everything that the output bytes of the run depend on. b is its budget, or nil,
// and surveys are those that it uses. program names the one that runs.
func (r *Run) Facts(program string, b *quantize.Budget, surveys *Surveys) (quantize.Facts, error) {
	f := quantize.Facts{{"program", program + ", arithmetic " + strconv.Itoa(quantize.Arithmetic)}}
	files, err := r.ModelFacts()
	if err != nil {
		return nil, err
	}
	f = append(append(f, files...), r.TextFacts()...)
	if b != nil {
		merged, err := surveys.facts()
		if err != nil {
			return nil, err
		}
		f = append(append(f, budgetFacts(b)...), merged...)
	}
	recipe, err := r.Recipe.YAML()
	return append(f, [2]string{"recipe", recipe}), err
}

// budgetFacts returns the budget's limit on size and its schemes.
func budgetFacts(b *quantize.Budget) quantize.Facts {
	var schemes []string
	for _, s := range b.Schemes {
		schemes = append(schemes, s.String())
	}
	return quantize.Facts{
		{"bytes of --target-size", strconv.FormatInt(b.File, 10)}, {"--target-bpw", strconv.FormatFloat(b.Bits, 'g', -1, 64)},
		{"--schemes", strings.Join(schemes, ",")},
	}
}
