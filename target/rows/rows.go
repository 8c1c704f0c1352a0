// Package rows reads the rows of a curve and the recipes of a sweep: each is a file to make, by a
// recipe and perhaps a limit on its size or loss, or a file that exists.
package rows

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/label"
	"thimble/internal/model"
	"thimble/internal/strictyaml"
	"thimble/internal/units"
	"thimble/quantize"
	"thimble/quantize/calibration"
	"thimble/quantize/rounding"
	"thimble/quantize/words"
	"thimble/target"
)

// A Spec is an entry of a file of rows: a recipe, with its usual keys, and other
// options of Quantize.
type Spec struct {
	Name    string   `yaml:"name,omitempty"`    // default: its budget or scheme
	Size    string   `yaml:"size,omitempty"`    // as --target-size
	Bits    *float64 `yaml:"bpw,omitempty"`     // as --target-bpw
	KL      *float64 `yaml:"kl,omitempty"`      // as --max-kl
	Schemes []string `yaml:"schemes,omitempty"` // as --schemes
	For     string   `yaml:"for,omitempty"`     // as --for
	Calib   *bool    `yaml:"calib,omitempty"`   // false: without calibration
	File    string   `yaml:"file,omitempty"`    // an existing model; excludes all keys except name

	quantize.Recipe `yaml:",inline"`
}

// A Row is one file of a curve that is being made.
type Row struct {
	Name       string
	File       string // an existing file; the fields below are then empty
	Series     string // shared by rows that differ only in their budget
	Budget     *quantize.Budget
	Target     format.Exporter
	Calibrated bool
	Recipe     *quantize.Recipe // completed by Choose

	Model     *model.Model // of which files are planned
	Plan      *quantize.Plan
	Predicted float64 // nats per token; 0 without a budget
	Exported  int64   // bytes of Target's file; 0 without a target
}

// defaultBits are the default rows, in bits per weight.
var defaultBits = []float64{4.5, 5, 5.5, 6.5, 8}

// List returns the rows of specs. withText is true if there is a calibration text. place names the
// spec with an index, for errors.
func List(specs []Spec, withText bool, place func(i int) string) (rows []*Row, err error) {
	for i, s := range specs { // a copy, because Row completes it
		r, err := s.Row(withText)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place(i), err)
		}
		if slices.ContainsFunc(rows, func(other *Row) bool { return other.Name == r.Name }) {
			return nil, fmt.Errorf("%s: two are called %s; give one another name", place(i), defect.Printable(r.Name))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// ForSizes returns the specs of rows of these sizes, or the default ones without any.
func ForSizes(sizes, schemes []string, target string) (specs []Spec) {
	if sizes == nil {
		for _, bits := range defaultBits {
			specs = append(specs, Spec{Bits: &bits})
		}
	}
	for _, size := range sizes {
		specs = append(specs, Spec{Size: strings.TrimSpace(size)})
	}
	for i := range specs {
		specs[i].For, specs[i].Schemes = target, schemes
	}
	return specs
}

// Row checks s and returns its row. withText is true if there is a calibration text.
func (s *Spec) Row(withText bool) (*Row, error) {
	if s.File != "" {
		return s.existingRow()
	}
	if s.Recipe.Texts != nil {
		return nil, errors.New("calibration: --calib names the text, the same for all rows; remove this key")
	}
	if err := s.checkSchemes(); err != nil {
		return nil, err
	}
	r := &Row{Name: s.Name, Recipe: &s.Recipe}
	var err error
	if r.Budget, err = s.budget(); err != nil {
		return nil, err
	}
	if r.Target, err = target.Named(s.For); err != nil {
		return nil, fmt.Errorf("for: %w", err)
	}
	switch {
	case r.Budget == nil && s.Scheme == "":
		return nil, errors.New("it has neither a limit (size, bpw or kl) nor a scheme")
	case r.Budget == nil && s.Schemes != nil:
		return nil, errors.New("schemes has no effect without size, bpw or kl")
	}
	if err := s.chooseMethod(r, withText); err != nil {
		return nil, err
	}
	if r.Name == "" {
		r.Name = s.defaultName()
	}
	if r.Series, err = s.series(); err != nil {
		return nil, err
	}
	return r, label.Check(r.Name)
}

// checkSchemes returns an error if a scheme is misspelled, before any model is opened.
func (s *Spec) checkSchemes() error {
	for _, x := range [][2]string{{"", s.Scheme}, {"embedding: ", s.Embedding}, {"head: ", s.Head}, {"vectors: ", s.Vectors}} {
		if x[1] == "" || x[1] == quantize.Keep {
			continue
		}
		if _, err := words.Scheme(x[1]); err != nil {
			return fmt.Errorf("%s%w", x[0], err)
		}
	}
	return nil
}

// chooseMethod sets r.Calibrated and the default method.
func (s *Spec) chooseMethod(r *Row, withText bool) error {
	r.Calibrated = withText || r.Budget != nil || rounding.NeedsTexts(s.Method)
	if s.Calib != nil {
		if r.Budget != nil && !*s.Calib {
			return errors.New("calib: false: a budget needs a calibration text")
		}
		r.Calibrated = *s.Calib
	}
	if s.Method == "" && r.Calibrated {
		s.Method = calibration.DefaultMethod
	}
	if rounding.NeedsTexts(s.Method) && !r.Calibrated {
		return fmt.Errorf("calib: false: method %s needs a text", s.Method)
	}
	return s.CheckMethod()
}

// existingRow returns the row of an existing file.
func (s *Spec) existingRow() (*Row, error) {
	r := &Row{Name: s.Name, File: s.File}
	if r.Name == "" {
		r.Name = label.OfFile(s.File)
	}
	alone, err := strictyaml.Encode(Spec{Name: s.Name, File: s.File})
	if err != nil {
		return nil, err
	}
	if all, err := strictyaml.Encode(s); err != nil || all != alone {
		return nil, errors.New("file names an existing file, so the only other key is name")
	}
	return r, label.Check(r.Name)
}

// budget returns the budget of the row, or nil.
func (s *Spec) budget() (*quantize.Budget, error) {
	n, b := 0, &quantize.Budget{}
	var err error
	if b.Schemes, err = words.Schemes(s.Schemes); err != nil {
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
func (s *Spec) defaultName() string {
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
func (s *Spec) series() (string, error) {
	if s.Size == "" && s.Bits == nil && s.KL == nil {
		return "", nil
	}
	same := *s
	same.Name, same.Size, same.Bits, same.KL = "", "", nil, nil
	return strictyaml.Encode(same)
}
