package target

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/units"
	"thimble/quantize"
	"thimble/quantize/words"
)

// Complete returns b with its schemes, or the default ones if it names none: those for an
// entropy-coded file if coded is set. It drops those that the exporter lacks a type for in some
// matrix of the model.
func (f *File) Complete(b *quantize.Budget, coded bool) (*quantize.Budget, error) {
	full := *b
	if len(full.Schemes) == 0 {
		names := quantize.DefaultSchemes()
		switch {
		case coded:
			names = quantize.CodedSchemes()
		case f.Exporter != nil:
			names = quantize.WideSchemes()
		}
		var err error
		if full.Schemes, err = words.Schemes(names); err != nil {
			return nil, err
		}
	}
	if err := full.Check(); err != nil {
		return nil, err
	}
	rated := slices.ContainsFunc(full.Schemes, func(s qtensor.Scheme) bool { return s.Rate > 0 })
	switch {
	case rated && f.Exporter != nil:
		return nil, fmt.Errorf("entropy-coded schemes such as %v are for .thimble files, and --for %s makes no use of them", full.Schemes[len(full.Schemes)-1], f.Exporter.Format().Program)
	case full.Resident > 0 && !rated:
		return nil, errors.New("--max-resident needs --entropy-coded: other files take in memory what they take on disk")
	}
	if f.Exporter == nil {
		return &full, nil
	}
	all := full.Schemes
	full.Schemes = quantize.SchemesFor(f.Model, all, func(s qtensor.Scheme, cols int) bool { return f.Exporter.Nearest(s, cols, model.Linear) == s })
	if len(full.Schemes) == 0 {
		var names []string
		for _, s := range all {
			names = append(names, s.String())
		}
		return nil, fmt.Errorf("%s has no type for any of %s", f.Exporter.Format().Program, strings.Join(names, ", "))
	}
	return &full, nil
}

// Limited describes the file to the budget, as far as it limits the file.
func (f *File) Limited(b *quantize.Budget) (quantize.File, error) {
	switch {
	case b.File == 0:
		return quantize.File{}, nil
	case f.Exporter == nil:
		return quantize.File{Size: f.Size}, nil
	}
	copies, err := f.copies()
	return quantize.File{
		Copies: func(name string) int { return copies[name] },
		Size: func(plan *quantize.Plan) (int64, error) {
			if _, _, err := f.Types(plan); err != nil {
				return 0, err
			}
			return f.Size(plan)
		},
	}, err
}

// Smallest checks everything about a budget that needs no survey: whether recipe r, which must
// be complete, fits the model and the file, and whether the smallest schemes keep a limit on
// size. It returns the plan of these. If they do not, the error is a SizeError.
func (f *File) Smallest(b *quantize.Budget, r *quantize.Recipe) (least *quantize.Plan, err error) {
	limited, err := f.Limited(b)
	if err != nil {
		return nil, err
	}
	if least, err = b.Smallest(f.Model, r, limited.Copies); err != nil {
		return nil, err
	}
	if f.Exporter != nil {
		if _, _, err := f.Types(least); err != nil {
			return nil, err
		}
	}
	size := int64(0)
	if b.File != 0 {
		if size, err = limited.Size(least); err != nil {
			return nil, err
		}
	}
	switch bits := least.BitsPerWeight(); {
	case size > b.File:
		return nil, &SizeError{units.Size(size), remedyForSize(b.File, size, 4*least.Weights+size)}
	case b.Bits != 0 && bits > b.Bits:
		return nil, &SizeError{fmt.Sprintf("%.3g bits per weight", bits), fmt.Sprintf("use %g or more, or smaller schemes", math.Ceil(100*bits)/100)}
	}
	return least, nil
}

// MostBits returns the bits per weight of the plan in which every matrix that b chooses for has
// the largest of b's schemes, or 0 if not every matrix can have it.
func (f *File) MostBits(b *quantize.Budget, r *quantize.Recipe) float64 {
	largest := *b
	largest.Schemes = []qtensor.Scheme{slices.MaxFunc(b.Schemes, func(x, y qtensor.Scheme) int {
		return cmp.Compare(x.BitsPerWeight(nominal), y.BitsPerWeight(nominal))
	})}
	plan, err := largest.Smallest(f.Model, r, nil)
	if err != nil {
		return 0
	}
	return plan.BitsPerWeight()
}

// nominal is a number of columns that every group divides.
const nominal = 4096

// A SizeError is the error of a limit on size that no choice of schemes keeps.
type SizeError struct{ least, remedy string }

func (e *SizeError) Error() string { return "the smallest schemes take " + e.least + "; " + e.remedy }

// remedyForSize returns the remedy for a target of given bytes, less than the least possible. If
// the target is possible in a larger unit, that unit was forgotten.
func remedyForSize(given, least, most int64) string {
	for _, unit := range []int64{1e3, 1e6, 1e9} {
		if given <= most/unit && given*unit >= least {
			return fmt.Sprintf("did you mean %s?", units.Exact(given*unit))
		}
	}
	return fmt.Sprintf("use %s or more, or smaller schemes", units.AtLeast(least))
}
