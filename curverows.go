package thimble

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/strictyaml"
	"thimble/internal/texts"
	"thimble/internal/units"
	"thimble/quantize"
	"thimble/quantize/rounding"
	"thimble/target"
	"thimble/verify/curve"
)

// maxRowsFile is the maximum size of a file of rows or peers, in bytes.
const maxRowsFile = strictyaml.Limit

// A rowSpec is an entry of a file of rows: a recipe, with its usual keys, and other
// options of Quantize.
type rowSpec struct {
	Name    string   `yaml:"name,omitempty"`    // default: its budget or scheme
	Size    string   `yaml:"size,omitempty"`    // as --target-size
	Bits    *float64 `yaml:"bpw,omitempty"`     // as --target-bpw
	KL      *float64 `yaml:"kl,omitempty"`      // as --max-kl
	Schemes []string `yaml:"schemes,omitempty"` // as --schemes
	For     string   `yaml:"for,omitempty"`     // as --for
	Calib   *bool    `yaml:"calib,omitempty"`   // false: without calibration
	File    string   `yaml:"file,omitempty"`    // an existing model; excludes all keys except name

	Recipe `yaml:",inline"`
}

// A row is one file of a curve that is being made.
type row struct {
	name       string
	file       string // an existing file; the fields below are then empty
	series     string // shared by rows that differ only in their budget
	budget     *Budget
	target     format.Exporter
	calibrated bool
	recipe     *Recipe // completed by choose

	plan      *quantize.Plan
	predicted float64 // nats per token; 0 without a budget
	exported  int64   // bytes of target's file; 0 without a target
}

// defaultBits are the default rows, in bits per weight.
var defaultBits = []float64{4.5, 5, 5.5, 6.5, 8}

// readRows reads the rows of RowsFile and Sizes.
func (d *curveRun) readRows(ctx context.Context) ([]*row, error) {
	specs := d.specs
	if d.RowsFile != "" {
		text, err := ReadText(ctx, "--rows", d.RowsFile, maxRowsFile)
		if err != nil {
			return nil, err
		}
		if err := strictyaml.Decode([]byte(text), &specs); err != nil {
			return nil, fmt.Errorf("%s: %w", defect.Printable(d.RowsFile), err)
		}
	}
	sizes := d.sizeSpecs(specs != nil)
	if len(sizes) == 0 && (d.Schemes != nil || d.Target != "") {
		return nil, errors.New("--schemes and --for apply to --sizes; a row in a file has its own keys schemes and for")
	}
	var rows []*row
	for i, s := range append(specs, sizes...) {
		r, err := s.row(len(d.Calibration.Texts) > 0)
		if err != nil {
			place := fmt.Sprintf("%s: row %d", defect.Printable(d.RowsFile), i+1)
			if i >= len(specs) {
				place = "--sizes"
			}
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		if slices.ContainsFunc(rows, func(other *row) bool { return other.name == r.name }) {
			return nil, fmt.Errorf("two rows are called %s; give one another name", defect.Printable(r.name))
		}
		rows = append(rows, r)
	}
	if len(rows) > curve.MaxRows {
		return nil, fmt.Errorf("there are %d rows, more than %d", len(rows), curve.MaxRows)
	}
	return rows, nil
}

// sizeSpecs returns the rows of Sizes, or the default ones if there are no others.
func (d *curveRun) sizeSpecs(others bool) (specs []rowSpec) {
	if d.Sizes == nil && !others {
		for _, bits := range defaultBits {
			specs = append(specs, rowSpec{Bits: &bits})
		}
	}
	for _, size := range d.Sizes {
		specs = append(specs, rowSpec{Size: strings.TrimSpace(size)})
	}
	for i := range specs {
		specs[i].For, specs[i].Schemes = d.Target, d.Schemes
	}
	return specs
}

// row checks s and returns its row. withText is true if there is a calibration text.
func (s *rowSpec) row(withText bool) (*row, error) {
	if s.File != "" {
		return s.existingRow()
	}
	if s.Recipe.Texts != nil {
		return nil, errors.New("calibration: --calib names the text, the same for all rows; remove this key")
	}
	r := &row{name: s.Name, recipe: &s.Recipe}
	var err error
	if r.budget, err = s.budget(); err != nil {
		return nil, err
	}
	if r.target, err = target.Named(s.For); err != nil {
		return nil, fmt.Errorf("for: %w", err)
	}
	switch {
	case r.budget == nil && s.Scheme == "":
		return nil, errors.New("it has neither a limit (size, bpw or kl) nor a scheme")
	case r.budget == nil && s.Schemes != nil:
		return nil, errors.New("schemes has no effect without size, bpw or kl")
	}
	if err := s.chooseMethod(r, withText); err != nil {
		return nil, err
	}
	if r.name == "" {
		r.name = s.defaultName()
	}
	if r.series, err = s.series(); err != nil {
		return nil, err
	}
	return r, curve.CheckName(r.name)
}

// chooseMethod sets r.calibrated and the default method.
func (s *rowSpec) chooseMethod(r *row, withText bool) error {
	r.calibrated = withText || r.budget != nil || rounding.NeedsTexts(s.Method)
	if s.Calib != nil {
		if r.budget != nil && !*s.Calib {
			return errors.New("calib: false: a budget needs a calibration text")
		}
		r.calibrated = *s.Calib
	}
	if s.Method == "" && r.calibrated {
		s.Method = CalibratedMethod
	}
	if rounding.NeedsTexts(s.Method) && !r.calibrated {
		return fmt.Errorf("calib: false: method %s needs a text", s.Method)
	}
	return s.CheckMethod()
}

// existingRow returns the row of an existing file.
func (s *rowSpec) existingRow() (*row, error) {
	r := &row{name: s.Name, file: s.File}
	if r.name == "" {
		r.name = curve.NameOf(s.File)
	}
	alone, err := strictyaml.Encode(rowSpec{Name: s.Name, File: s.File})
	if err != nil {
		return nil, err
	}
	if all, err := strictyaml.Encode(s); err != nil || all != alone {
		return nil, errors.New("file names an existing file, so the only other key is name")
	}
	return r, curve.CheckName(r.name)
}

// budget returns the budget of the row, or nil.
func (s *rowSpec) budget() (*Budget, error) {
	n, b := 0, &Budget{}
	var err error
	if b.Schemes, err = ParseSchemes(s.Schemes); err != nil {
		return nil, fmt.Errorf("schemes: %w", err)
	}
	if s.Size != "" {
		n++
		if b.File, err = units.ParseSize(s.Size); err != nil {
			return nil, fmt.Errorf("size: %w", err)
		}
	}
	if s.Bits != nil {
		n++
		if b.Bits = *s.Bits; !(b.Bits > 0 && b.Bits < 64) {
			return nil, fmt.Errorf("bpw %g: want a number of bits between 0 and 64", b.Bits)
		}
	}
	if s.KL != nil {
		n++
		if b.KL = *s.KL; !(b.KL > 0 && b.KL < 1e6) {
			return nil, fmt.Errorf("kl %g: want a positive number of nats", b.KL)
		}
	}
	switch n {
	case 0:
		return nil, nil
	case 1:
		return b, nil
	}
	return nil, errors.New("size, bpw and kl exclude each other; give one")
}

// defaultName returns the name of a row that specifies none.
func (s *rowSpec) defaultName() string {
	switch {
	case s.Size != "":
		return s.Size
	case s.Bits != nil:
		return fmt.Sprintf("%g bits", *s.Bits)
	case s.KL != nil:
		return fmt.Sprintf("KL %g", *s.KL)
	}
	return s.Scheme
}

// series returns s without its name and limit, as YAML; "" if it has no limit.
func (s *rowSpec) series() (string, error) {
	if s.Size == "" && s.Bits == nil && s.KL == nil {
		return "", nil
	}
	same := *s
	same.Name, same.Size, same.Bits, same.KL = "", "", nil, nil
	return strictyaml.Encode(same)
}

// fileName returns the name of the row's container.
func (r *row) fileName() string { return curve.FileName(r.name) + ".thimble" }

// ships describes the file that r's target reads, made from m.
func (r *row) ships(m *model.Model) *target.File {
	return &target.File{Model: m, Exporter: r.target, Tool: Tool, Container: r.fileName()}
}

// check finds, before the survey, all that is wrong with a row on m. texts will be read
// for it, and longest is the length of the longest chunk to be scored.
func (r *row) check(m *model.Model, texts *Calibration, longest int) error {
	switch {
	case r.file != "":
		return r.checkFile(m, longest)
	case r.budget != nil:
		complete := r.budget.Complete(m, r.recipe)
		complete.Texts = texts.Unread(m, complete.Texts)
		_, err := r.ships(m).Smallest(r.budget, complete)
		return err
	}
	same := *r.recipe
	if r.calibrated {
		same.Texts = texts.Unread(m, nil)
	}
	return r.fits(m, &same)
}

// fits sets the plan of recipe on m and, with a target, the size of the exported file.
func (r *row) fits(m *model.Model, recipe *Recipe) (err error) {
	if r.plan, err = quantize.NewPlan(m, recipe); err != nil || r.target == nil {
		return err
	}
	if _, _, err = r.ships(m).Types(r.plan); err == nil {
		r.exported, err = r.ships(m).Size(r.plan)
	}
	return err
}

// choose chooses the schemes of a row with a budget from survey, and plans the row on m.
func (r *row) choose(m *model.Model, survey *quantize.Survey) error {
	if r.file != "" {
		return nil
	}
	if r.budget != nil {
		some, err := survey.Only(r.budget.Schemes)
		if err != nil {
			return err
		}
		if some.Together, err = r.ships(m).Together(); err != nil {
			return err
		}
		file, err := r.ships(m).Limited(r.budget)
		if err != nil {
			return err
		}
		if r.recipe, r.predicted, err = r.budget.Choose(m, r.budget.Complete(m, r.recipe), some, file); err != nil {
			return err
		}
	}
	return r.fits(m, r.recipe)
}

// checkFile returns an error unless r's file is a model with m's vocabulary that can read
// chunks of the longest length.
func (r *row) checkFile(m *model.Model, longest int) error {
	q, err := Open(r.file)
	if err != nil {
		return err
	}
	defer q.Close()
	if q.Spec.Vocab != m.Spec.Vocab {
		return fmt.Errorf("%s: has a vocabulary of %d, the model's is %d: it is not the same model", defect.Printable(r.file), q.Spec.Vocab, m.Spec.Vocab)
	}
	return texts.CheckContext(q, longest, fmt.Sprintf("use --context %d or less", q.Spec.Context))
}
