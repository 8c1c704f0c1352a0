package main

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/strictyaml"
	"thimble/quantize"
)

// A rowSpec is what a curve's file of rows says of one: a recipe, in the keys
// that recipes have, and what else "thimble quantize" would be told.
type rowSpec struct {
	Name    string   `yaml:"name,omitempty"`    // default: its budget or scheme
	Size    string   `yaml:"size,omitempty"`    // as --target-size
	Bits    *float64 `yaml:"bpw,omitempty"`     // as --target-bpw
	KL      *float64 `yaml:"kl,omitempty"`      // as --max-kl
	Schemes []string `yaml:"schemes,omitempty"` // as --schemes
	For     string   `yaml:"for,omitempty"`     // as --for
	Calib   *bool    `yaml:"calib,omitempty"`   // false: made without the text
	File    string   `yaml:"file,omitempty"`    // a model that is there already, in place of all these

	quantize.Recipe `yaml:",inline"`
}

// A row is one file of a curve on its way.
type row struct {
	name       string
	file       string // that is measured as it is; then all below stays empty
	kind       string // what it shares with rows that differ in budget alone
	budget     *budget
	candidates []string // that the budget is spent on
	target     *format.Target
	calibrated bool
	recipe     *quantize.Recipe // completed as work goes on

	plan      *quantize.Plan
	predicted float64 // nats per token; 0 without a budget
}

// usualBits are the rows where none are asked for, in bits per weight.
var usualBits = []float64{4.5, 5, 5.5, 6.5, 8}

// maxRows and maxName keep a table readable.
const maxRows, maxName = 100, 40

// rowsOf reads --rows and --sizes.
func rowsOf(c *cli.Context) ([]*row, error) {
	var specs []rowSpec
	if path := c.String("rows"); c.IsSet("rows") {
		text, err := readText(c.Context, path, strictyaml.Limit)
		if err != nil {
			return nil, err
		}
		if err := strictyaml.Decode([]byte(text), &specs); err != nil {
			return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
	}
	var sizes []rowSpec
	if c.IsSet("sizes") {
		for size := range strings.SplitSeq(c.String("sizes"), ",") {
			sizes = append(sizes, rowSpec{Size: strings.TrimSpace(size)})
		}
	} else if specs == nil {
		for _, bits := range usualBits {
			sizes = append(sizes, rowSpec{Bits: &bits})
		}
	}
	for i := range sizes {
		sizes[i].For = c.String(forFlag.Name)
		if c.IsSet("schemes") {
			sizes[i].Schemes = strings.Split(c.String("schemes"), ",")
		}
	}
	if len(sizes) == 0 && (c.IsSet("schemes") || c.IsSet(forFlag.Name)) {
		return nil, errors.New("--schemes and --for are about --sizes; rows of a file have keys of these names")
	}
	var rows []*row
	for i, s := range append(specs, sizes...) {
		r, err := s.row(c.IsSet("calib"))
		if err != nil {
			place := fmt.Sprintf("%s: row %d", defect.Printable(c.String("rows")), i+1)
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
	if len(rows) > maxRows {
		return nil, fmt.Errorf("there are %d rows, more than %d", len(rows), maxRows)
	}
	return rows, nil
}

// row checks what s says. withText tells that there is a text to calibrate on.
func (s *rowSpec) row(withText bool) (*row, error) {
	if s.File != "" {
		return s.given()
	}
	if s.Recipe.Texts != nil {
		return nil, errors.New("calibration: the text is what --calib names, the same for all rows")
	}
	r := &row{name: s.Name, recipe: &s.Recipe, candidates: s.Schemes}
	var err error
	if r.budget, err = s.budget(); err != nil {
		return nil, err
	}
	if s.For != "" {
		if r.target, err = targetNamed(s.For); err != nil {
			return nil, fmt.Errorf("for: %w", err)
		}
	}
	switch {
	case r.budget == nil && s.Scheme == "":
		return nil, errors.New("it says neither how large the file may be (size, bpw or kl) nor a scheme")
	case r.budget == nil && s.Schemes != nil:
		return nil, errors.New("schemes has no effect without size, bpw or kl")
	case s.Schemes == nil:
		r.candidates = strings.Split(quantize.DefaultSchemes(), ",")
	}
	r.calibrated = withText || r.budget != nil || quantize.NeedsTexts(s.Method)
	if s.Calib != nil {
		if r.budget != nil && !*s.Calib {
			return nil, errors.New("calib: false: a budget is spent by what a text shows")
		}
		r.calibrated = *s.Calib
	}
	if s.Method == "" && r.calibrated {
		s.Method = quantize.MethodGPTQ
	}
	if quantize.NeedsTexts(s.Method) && !r.calibrated {
		return nil, fmt.Errorf("calib: false: method %s needs a text", s.Method)
	}
	if err := s.CheckMethod(); err != nil {
		return nil, err
	}
	if r.name == "" {
		r.name = s.usualName()
	}
	if r.kind, err = s.kind(); err != nil {
		return nil, err
	}
	return r, checkName(r.name)
}

// given is the row of a file that is there already.
func (s *rowSpec) given() (*row, error) {
	r := &row{name: s.Name, file: s.File}
	if r.name == "" {
		r.name = textName(s.File)
	}
	alone, err := strictyaml.Encode(rowSpec{Name: s.Name, File: s.File})
	if err != nil {
		return nil, err
	}
	if all, err := strictyaml.Encode(s); err != nil || all != alone {
		return nil, errors.New("file is measured as it is; beside it there is only name")
	}
	return r, checkName(r.name)
}

// checkName keeps a table readable.
func checkName(name string) error {
	if name == "" || utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name) || defect.Printable(name) != name {
		return fmt.Errorf("the name %.60q is not 1 to %d letters that can be printed", name, maxName)
	}
	return nil
}

// budget is the row's, nil for none.
func (s *rowSpec) budget() (*budget, error) {
	n, b := 0, &budget{}
	if s.Size != "" {
		n++
		var err error
		if b.file, err = parseSize(s.Size); err != nil {
			return nil, fmt.Errorf("size: %w", err)
		}
	}
	if s.Bits != nil {
		n++
		if b.bits = *s.Bits; checkBits("", b.bits) != nil {
			return nil, checkBits("bpw", b.bits)
		}
	}
	if s.KL != nil {
		n++
		if b.kl = *s.KL; checkKL("", b.kl) != nil {
			return nil, checkKL("kl", b.kl)
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

// usualName is the name of a row that has none.
func (s *rowSpec) usualName() string {
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

// kind is all that s says but for its name and budget; "" where it has none.
func (s *rowSpec) kind() (string, error) {
	if s.Size == "" && s.Bits == nil && s.KL == nil {
		return "", nil
	}
	same := *s
	same.Name, same.Size, same.Bits, same.KL = "", "", nil, nil
	return strictyaml.Encode(same)
}

// choose chooses r's schemes by survey, where it has a budget, and plans it on m.
func (r *row) choose(m *model.Model, survey *quantize.Survey) error {
	if r.file != "" {
		return r.fits(m)
	}
	if r.budget != nil {
		some, err := survey.Only(r.budget.schemes)
		if err != nil {
			return err
		}
		if r.recipe, r.predicted, err = r.budget.allocate(some, m, completed(r.recipe, some.Schemes, m)); err != nil {
			return err
		}
	}
	var err error
	if r.plan, err = quantize.NewPlan(m, r.recipe); err != nil {
		return err
	}
	if r.target != nil {
		_, _, err = planFor(r.target, m, r.plan)
	}
	return err
}

// fits reports whether r's file is a model of m's vocabulary.
func (r *row) fits(m *model.Model) error {
	q, err := openModel(r.file, nil)
	if err != nil {
		return err
	}
	defer q.Close()
	if q.Spec.Vocab != m.Spec.Vocab {
		return fmt.Errorf("%s: has a vocabulary of %d, not of %d: it is not the same model", defect.Printable(r.file), q.Spec.Vocab, m.Spec.Vocab)
	}
	return nil
}

// fileName is a name that every file system takes, and no shell minds.
func fileName(name string) string {
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '+' {
			return c
		}
		return '-'
	}, name)
	return strings.Trim(safe, "-.")
}

// A peer is a point that somebody else's tool has reached.
type peer struct {
	Name  string  `yaml:"name" json:"name"`
	Bytes float64 `yaml:"bytes" json:"bytes"` // of the file; 91.9e6 is a way to say it
	KL    float64 `yaml:"kl" json:"kl"`       // mean, nats per token
	Text  string  `yaml:"text" json:"text"`   // that it was measured on: a --text less its folder and ending

	// What else is known of it, if anything.
	KLP99 *float64 `yaml:"kl_p99" json:"kl_p99,omitempty"`
	Top1  *float64 `yaml:"top1" json:"top1_agreement,omitempty"` // 0 to 1
	PPL   *float64 `yaml:"ppl" json:"ppl,omitempty"`
}

// peersOf reads --peers. note says which of them no text of names is for.
func peersOf(c *cli.Context, names []string) (peers []peer, note string, err error) {
	if !c.IsSet("peers") {
		return nil, "", nil
	}
	path := c.String("peers")
	text, err := readText(c.Context, path, strictyaml.Limit)
	if err == nil {
		if err = strictyaml.Decode([]byte(text), &peers); err != nil {
			err = fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
	}
	if err != nil {
		return nil, "", err
	}
	if len(peers) > maxRows {
		return nil, "", fmt.Errorf("%s: there are %d peers, more than %d", defect.Printable(path), len(peers), maxRows)
	}
	var elsewhere []string
	for i, p := range peers {
		place := fmt.Sprintf("%s: peer %d", defect.Printable(path), i+1)
		switch {
		case checkName(p.Name) != nil:
			return nil, "", fmt.Errorf("%s: %w", place, checkName(p.Name))
		case !(p.Bytes >= 1 && p.Bytes < 1e18):
			return nil, "", fmt.Errorf("%s: bytes %g: want the size of a file", place, p.Bytes)
		case !(p.KL > 0 && !math.IsInf(p.KL, 0)):
			return nil, "", fmt.Errorf("%s: kl %g: want a positive number of nats", place, p.KL)
		case p.Top1 != nil && !(*p.Top1 >= 0 && *p.Top1 <= 1):
			return nil, "", fmt.Errorf("%s: top1 %g: want a share from 0 to 1", place, *p.Top1)
		case p.KLP99 != nil && !(*p.KLP99 >= 0 && *p.KLP99 < 1e9), p.PPL != nil && !(*p.PPL >= 1 && *p.PPL < 1e12):
			return nil, "", fmt.Errorf("%s: kl_p99 or ppl is out of range", place)
		case p.Text == "":
			return nil, "", fmt.Errorf("%s: text: want the name of the text that it was measured on", place)
		case !slices.Contains(names, p.Text) && !slices.Contains(elsewhere, p.Text):
			elsewhere = append(elsewhere, p.Text)
		}
	}
	if len(elsewhere) > 0 {
		note = fmt.Sprintf("the peers on %s are left out: --text has %s", defect.Printable(strings.Join(elsewhere, ", ")), defect.Printable(strings.Join(names, ", ")))
	}
	return peers, note, nil
}

// textName is what a text is called: its file less folder and ending.
func textName(path string) string {
	base := filepath.Base(path)
	if path == "-" {
		base = "stdin"
	}
	if name := strings.TrimSuffix(base, filepath.Ext(base)); name != "" {
		base = name
	}
	return strings.ToValidUTF8(defect.Printable(base), "?")
}
