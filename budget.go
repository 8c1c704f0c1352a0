package thimble

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/units"
	"thimble/quantize"
)

// A Budget lets the scheme of every matrix be chosen, within one limit: a size of
// the file, bits per weight, or the divergence that held-out text shows.
type Budget struct {
	File int64   // bytes of the file
	Bits float64 // per weight, of the tensors
	KL   float64 // largest mean divergence, nats per token
	Top1 float64 // least share of positions with the same most likely token

	Schemes []string // to choose from; none are DefaultSchemes
}

// DefaultSchemes are what a budget is spent on: every width in wide and narrow
// groups, with a minimum where it can pay.
var DefaultSchemes = strings.Split("int3/g32/asym,int4/g64,int4/g32,int4/g64/asym,int4/g32/asym,int5/g64,int5/g32,int5/g64/asym,int5/g32/asym,"+
	"int6/g64,int6/g32,int6/g64/asym,int7/g64,int7/g32,int8/g64,int8/g32", ",")

// measured reports whether the limits are on what the finished file computes.
func (b *Budget) measured() bool { return b != nil && (b.KL != 0 || b.Top1 != 0) }

func (b *Budget) String() string {
	switch {
	case b.KL != 0 && b.Top1 != 0:
		return fmt.Sprintf("--max-kl %g and --min-top1 %g", b.KL, b.Top1)
	case b.KL != 0:
		return fmt.Sprintf("--max-kl %g", b.KL)
	case b.Top1 != 0:
		return fmt.Sprintf("--min-top1 %g", b.Top1)
	case b.Bits != 0:
		return fmt.Sprintf("--target-bpw %g", b.Bits)
	}
	return "--target-size " + units.Size(b.File)
}

// limitNames are the flags of which a budget needs one.
const limitNames = "--target-size, --target-bpw, --max-kl or --min-top1"

// check finds limits that are out of range or exclude each other.
func (b *Budget) check() error {
	n := 0
	for _, set := range []bool{b.File != 0, b.Bits != 0, b.measured()} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return errors.New("--target-size, --target-bpw and limits on divergence (--max-kl, --min-top1) exclude each other; give one, larger than zero")
	case b.File < 0:
		return fmt.Errorf("--target-size %d: want a number of bytes", b.File)
	case b.Bits != 0 && !(b.Bits > 0 && b.Bits < 64):
		return fmt.Errorf("--target-bpw %g: want a number of bits between 0 and 64", b.Bits)
	case b.KL != 0 && !(b.KL > 0 && b.KL < 1e6):
		return fmt.Errorf("--max-kl %g: want a positive number of nats", b.KL)
	case b.Top1 != 0 && !(b.Top1 > 0 && b.Top1 < 1):
		return fmt.Errorf("--min-top1 %g: want a share between 0 and 1", b.Top1)
	}
	return nil
}

// lookupScheme is that of an embedding that is only looked up, which no budget is
// spent on.
const lookupScheme = "int8/g32"

// prepareBudget checks the budget for the model, and completes the recipe.
func (q *quantization) prepareBudget() (err error) {
	if head := q.recipe.Head; q.m.Spec.Tied && head != "" && head != cmp.Or(q.recipe.Embedding, q.recipe.Scheme) {
		return fmt.Errorf("%s: the head is tied to the embedding; --head has no effect, say --embedding", defect.Printable(q.Model))
	}
	if q.Budget == nil {
		if len(q.Surveys) > 0 {
			return errors.New("--stats has no effect without " + limitNames)
		}
		return nil
	}
	if err := q.Budget.check(); err != nil {
		return err
	}
	for _, text := range []string{q.recipe.Scheme, q.recipe.Head} {
		if text != "" {
			return fmt.Errorf(limitNames+" chooses every matrix's scheme, so %s has no effect; leave it out, name --schemes to choose from, or keep matrices out of it with --set", defect.Printable(text))
		}
	}
	if q.recipe.Embedding != "" && q.m.Spec.Tied {
		return fmt.Errorf("the embedding is tied to the head, whose scheme is chosen; --set %s=%s keeps it out of that", model.Embed, defect.Printable(q.recipe.Embedding))
	}
	if q.schemes, err = candidateSchemes(q.Budget.Schemes, q.m, q.target); err != nil {
		return fmt.Errorf("--schemes: %w", err)
	}
	q.recipe = completed(q.recipe, q.schemes, q.m)
	return nil
}

// completed is r with a scheme for all matrices, as Allocate wants: the first of
// schemes, which no matrix keeps, and that of an embedding that is not chosen for.
func completed(r *Recipe, schemes []qtensor.Scheme, m *model.Model) *Recipe {
	same := *r
	if same.Scheme == "" {
		same.Scheme = schemes[0].String()
	}
	if same.Embedding == "" && !m.Spec.Tied {
		same.Embedding = lookupScheme
	}
	return &same
}

func (q *quantization) allocate(survey *quantize.Survey) (*Recipe, float64, error) {
	return q.Budget.allocate(survey, q.m, q.recipe)
}

// allocate chooses the schemes of r's matrices within b, among those of survey, as
// far as that is known before any is quantized. predicted is in nats per token.
func (b *Budget) allocate(survey *quantize.Survey, m *model.Model, r *Recipe) (out *Recipe, predicted float64, err error) {
	if b.measured() {
		return survey.Allocate(m, r, 0, b.firstAim())
	}
	// The header's length and the padding depend on the choice a little, so a few
	// tries are needed, more the smaller the model is.
	const tries = 100
	bytes := b.File
	if b.Bits > 0 {
		weights, _ := m.Size()
		return survey.Allocate(m, r, int64(b.Bits*float64(weights)/8), 0)
	}
	for range tries {
		if out, predicted, err = survey.Allocate(m, r, bytes, 0); err != nil {
			return nil, 0, err
		}
		over, err := excess(m, out, b.File)
		if err != nil || over <= 0 {
			return out, predicted, err
		}
		bytes -= over
	}
	return nil, 0, fmt.Errorf("no choice of schemes makes a file of at most %s", units.Size(b.File))
}

// excess is how many bytes more than limit the file takes that r makes of m.
func excess(m *model.Model, r *Recipe, limit int64) (int64, error) {
	plan, err := quantize.NewPlan(m, r)
	if err != nil {
		return 0, err
	}
	sources := make([]model.Source, len(m.Files))
	for i, f := range m.Files {
		sources[i] = model.Source{Name: filepath.Base(f), Bytes: math.MaxInt64, SHA256: make([]byte, 32)}
	}
	contents, err := contentsOf(m, sources, plan)
	if err != nil {
		return 0, err
	}
	size, err := contents.Size()
	return size - limit, err
}

// candidateSchemes are those of these names, without what target has no type for;
// no names are DefaultSchemes.
func candidateSchemes(names []string, m *model.Model, target format.Exporter) ([]qtensor.Scheme, error) {
	if names == nil {
		names = DefaultSchemes
	}
	var schemes []qtensor.Scheme
next:
	for _, name := range names {
		s, err := qtensor.ParseScheme(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		if s.Kind != qtensor.Int {
			return nil, fmt.Errorf("%v is no integer scheme", s)
		}
		if target != nil {
			for _, slot := range m.Spec.Slots() {
				if slot.Role != model.Vector && target.Nearest(s, slot.Cols) != s {
					continue next
				}
			}
		}
		schemes = append(schemes, s)
	}
	if len(schemes) == 0 {
		return nil, fmt.Errorf("%s has no type for any of %s", target.Format().Program, defect.Printable(strings.Join(names, ",")))
	}
	return schemes, nil
}
