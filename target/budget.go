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
// entropy-coded file if coded is set. It drops those that the exporter lacks a type for in every
// matrix of the model, and has Fits keep the others to the matrices that can have them.
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
	full.Fits = func(s qtensor.Scheme, cols int) bool { return f.Exporter.Nearest(s, cols, model.Linear) == s }
	one := false
	if full.Schemes, one = f.some(all, full.Fits); !one {
		var names []string
		for _, s := range all {
			names = append(names, s.String())
		}
		return nil, fmt.Errorf("%s has no type that all matrices can have among %s", f.Exporter.Format().Program, strings.Join(names, ", "))
	}
	return &full, nil
}

// some returns the schemes that fits accepts for the columns of some matrix of the model. one
// reports whether it accepts one of them for every matrix.
func (f *File) some(schemes []qtensor.Scheme, fits func(s qtensor.Scheme, cols int) bool) (some []qtensor.Scheme, one bool) {
	for _, s := range schemes {
		yes, no := false, false
		for _, slot := range f.Model.Spec.Slots() {
			if slot.Role != model.Vector {
				fit := fits(s, slot.Cols)
				yes, no = yes || fit, no || !fit
			}
		}
		if yes {
			some = append(some, s)
		}
		one = one || !no
	}
	return some, one
}

// Limited describes the file to the budget, as far as it limits the file.
func (f *File) Limited(b *quantize.Budget) (quantize.File, error) {
	switch {
	case b.Bits != 0:
		return quantize.File{Size: f.tensorBytes}, nil
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

// tensorBytes returns the bytes of the tensors in the file that plan becomes, each stored once.
func (f *File) tensorBytes(plan *quantize.Plan) (int64, error) {
	if f.Exporter == nil {
		return plan.Bytes, nil
	}
	stored, _, err := f.AsStored(plan)
	if err != nil {
		return 0, err
	}
	return stored.Bytes, nil
}

// Smallest checks everything about a budget that needs no survey: whether recipe r, which must
// be complete, fits the model and the file, and whether the smallest schemes keep a limit on
// size. It returns the plan of these. If they do not, the error is a SizeError.
func (f *File) Smallest(b *quantize.Budget, r *quantize.Recipe) (least *quantize.Plan, err error) {
	least, bytes, err := f.smallest(b, r)
	if err != nil {
		return nil, err
	}
	switch bits := 8 * float64(bytes) / float64(least.Weights); {
	case b.File != 0 && bytes > b.File:
		remedy := forgottenUnit(b.File, bytes, 4*least.Weights+bytes)
		if remedy == "" {
			remedy = "use " + units.AtLeast(bytes) + " or more" + f.narrower(b, r)
		}
		return nil, &SizeError{units.Size(bytes), remedy}
	case b.Bits != 0 && bits > b.Bits:
		return nil, &SizeError{fmt.Sprintf("%.3g bits per weight", bits), "use " + atLeastBits(bits) + " or more" + f.narrower(b, r)}
	}
	return least, nil
}

// smallest returns the plan of the smallest schemes, and the bytes that a limit on size is about.
func (f *File) smallest(b *quantize.Budget, r *quantize.Recipe) (least *quantize.Plan, bytes int64, err error) {
	limited, err := f.Limited(b)
	if err != nil {
		return nil, 0, err
	}
	if least, err = b.Smallest(f.Model, r, limited.Copies); err != nil {
		return nil, 0, err
	}
	if f.Exporter != nil {
		if _, _, err := f.Types(least); err != nil {
			return nil, 0, err
		}
	}
	if limited.Size != nil {
		bytes, err = limited.Size(least)
	}
	return least, bytes, err
}

// narrower returns an example of --schemes that take less than those of b, with the least that a
// limit can then be, or "". It prefers the widest that b allows.
func (f *File) narrower(b *quantize.Budget, r *quantize.Recipe) (example string) {
	for _, names := range [][]string{{"int3/row", "int4/row"}, {"int2/row", "int3/row", "int4/row"}} {
		with := *b
		with.Schemes, _ = words.Schemes(names)
		completed, err := f.Complete(&with, false)
		if err != nil || len(completed.Schemes) < len(names) || !wider(b.Schemes, with.Schemes[0]) {
			break
		}
		least, bytes, err := f.smallest(completed, r)
		if err != nil {
			break
		}
		takes, fits := units.AtLeast(bytes), bytes <= b.File
		if b.Bits != 0 {
			bits := 8 * float64(bytes) / float64(least.Weights)
			takes, fits = atLeastBits(bits), bits <= b.Bits
		}
		example = fmt.Sprintf(", or %s or more with --schemes %s", takes, strings.Join(names, ","))
		if fits {
			break
		}
	}
	return example
}

// wider reports whether all schemes take more bits per weight than s. Those with a rate, which
// take as much as is left, do not.
func wider(all []qtensor.Scheme, s qtensor.Scheme) bool {
	return !slices.ContainsFunc(all, func(x qtensor.Scheme) bool {
		return x.Rate > 0 || x.BitsPerWeight(words.Columns) <= s.BitsPerWeight(words.Columns)
	})
}

// MostBits returns the bits per weight of the plan in which every matrix that b chooses for has
// the largest of b's schemes, or 0 if not every matrix can have it.
func (f *File) MostBits(b *quantize.Budget, r *quantize.Recipe) float64 {
	largest := *b
	largest.Schemes = []qtensor.Scheme{slices.MaxFunc(b.Schemes, func(x, y qtensor.Scheme) int {
		return cmp.Compare(x.BitsPerWeight(words.Columns), y.BitsPerWeight(words.Columns))
	})}
	largest.File, largest.Bits = 0, 64
	plan, bytes, err := f.smallest(&largest, r)
	if err != nil {
		return 0
	}
	return 8 * float64(bytes) / float64(plan.Weights)
}

// A SizeError is the error of a limit on size that no choice of schemes keeps.
type SizeError struct{ least, remedy string }

func (e *SizeError) Error() string { return "the smallest schemes take " + e.least + "; " + e.remedy }

// forgottenUnit asks for the unit in which a target of given bytes, less than the least possible,
// is possible; "" if there is none.
func forgottenUnit(given, least, most int64) string {
	for _, unit := range []int64{1e3, 1e6, 1e9} {
		if given <= most/unit && given*unit >= least {
			return fmt.Sprintf("did you mean %s?", units.Exact(given*unit))
		}
	}
	return ""
}

// atLeastBits formats bits per weight rounded up: a lower limit that a person can copy.
func atLeastBits(bits float64) string { return fmt.Sprint(math.Ceil(100*bits) / 100) }
