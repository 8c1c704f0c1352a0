package main

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
)

var budgetFlags = []cli.Flag{
	&cli.StringFlag{Name: "target-size", Usage: "choose each matrix's scheme so that the file takes at most `SIZE`, such as 92MB or 88MiB"},
	&cli.Float64Flag{Name: "target-bpw", Usage: "the same for `BITS` per weight"},
	&cli.Float64Flag{Name: "max-kl", Usage: "choose the smallest schemes whose predicted divergence is at most `NATS` per token"},
	&cli.StringFlag{Name: "schemes", Usage: "the `SCHEMES` to choose from, with commas between them"},
	statsFlag,
}

// usualSchemes are those that a budget is spent on unless --schemes says
// otherwise: every width in wide and narrow groups, with a minimum where it can
// pay.
const usualSchemes = "int3/g32/asym,int4/g64,int4/g32,int4/g64/asym,int4/g32/asym,int5/g64,int5/g32,int5/g64/asym,int5/g32/asym," +
	"int6/g64,int6/g32,int6/g64/asym,int7/g64,int7/g32,int8/g64,int8/g32"

// budgeted reports whether schemes are to be chosen.
func budgeted(c *cli.Context) bool {
	return c.IsSet("target-size") || c.IsSet("target-bpw") || c.IsSet("max-kl")
}

// A budget is what the flags allow: one of its limits is set.
type budget struct {
	file    int64   // bytes of the file
	bits    float64 // per weight, of the tensors
	kl      float64
	schemes []qtensor.Scheme // to choose from
}

// budgetFor reads and checks the flags for what r makes of m, for target if that
// is not nil, and fills in the schemes that are not to be chosen. It returns nil
// if none are.
func budgetFor(c *cli.Context, m *model.Model, r *quantize.Recipe, target *format.Target) (*budget, error) {
	if !budgeted(c) {
		for _, name := range []string{"schemes", statsFlag.Name} {
			if c.IsSet(name) {
				return nil, fmt.Errorf("--%s has no effect without --target-size, --target-bpw or --max-kl", name)
			}
		}
		return nil, nil
	}
	b, err := limitsOf(c)
	if err != nil {
		return nil, err
	}
	for _, text := range []string{r.Scheme, r.Head} {
		if text != "" {
			return nil, fmt.Errorf("--target-size, --target-bpw and --max-kl choose every matrix's scheme, so %s has no effect; leave it out, name --schemes to choose from, or keep matrices out of it with --set", defect.Printable(text))
		}
	}
	if r.Embedding != "" && m.Spec.Tied {
		return nil, fmt.Errorf("the embedding is tied to the head, whose scheme is chosen; --set %s=%s keeps it out of that", model.Embed, defect.Printable(r.Embedding))
	}
	if b.schemes, err = candidateSchemes(c, m, target); err != nil {
		return nil, err
	}
	r.Scheme = b.schemes[0].String() // which no matrix keeps
	if r.Embedding == "" && !m.Spec.Tied {
		r.Embedding = lookupScheme
	}
	return b, nil
}

// limitsOf reads the flags that limit.
func limitsOf(c *cli.Context) (b *budget, err error) {
	b = &budget{}
	n := 0
	for _, name := range []string{"target-size", "target-bpw", "max-kl"} {
		if c.IsSet(name) {
			n++
		}
	}
	if n != 1 {
		return nil, errors.New("--target-size, --target-bpw and --max-kl exclude each other; give one")
	}
	if c.IsSet("target-size") {
		b.file, err = parseSize(c.String("target-size"))
		return b, err
	}
	b.bits, b.kl = c.Float64("target-bpw"), c.Float64("max-kl")
	if c.IsSet("target-bpw") && !(b.bits > 0 && b.bits < 64) {
		return nil, fmt.Errorf("--target-bpw %g: want a number of bits between 0 and 64", b.bits)
	}
	if c.IsSet("max-kl") && !(b.kl > 0 && b.kl < 1e6) {
		return nil, fmt.Errorf("--max-kl %g: want a positive number of nats", b.kl)
	}
	return b, nil
}

// parseSize reads a number of bytes, kB, MB, GB, KiB, MiB or GiB.
func parseSize(text string) (int64, error) {
	number, unit := text, 1.0
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if size := v * unit; err == nil && size >= 1 && size < math.MaxInt64/2 {
		return int64(size), nil
	}
	return 0, fmt.Errorf("--target-size %s is not a size such as 92MB, 88MiB or 92000000", defect.Printable(text))
}

// lookupScheme is that of an embedding that is only looked up, which no budget is
// spent on.
const lookupScheme = "int8/g32"

// takeSurvey is quantize.NewSurvey with its progress shown.
func takeSurvey(c *cli.Context, m *model.Model, cal *quantize.Calibration, schemes []qtensor.Scheme) (*quantize.Survey, error) {
	progress := newMeter(c, "survey", "steps", 1)
	defer progress.done()
	return quantize.NewSurvey(c.Context, m, cal, schemes, func(done, of int) { progress.at(int64(done), int64(of)) })
}

// allocate chooses the schemes of r's matrices within b, among those of survey.
// predicted is in nats per token.
func (b *budget) allocate(survey *quantize.Survey, m *model.Model, r *quantize.Recipe) (out *quantize.Recipe, predicted float64, err error) {
	if b.kl > 0 {
		return survey.Allocate(m, r, 0, b.kl)
	}
	// The header's length and the padding depend on the choice a little, so a few
	// tries are needed, more the smaller the model is.
	const tries = 100
	bytes := b.file
	if b.bits > 0 {
		weights, _ := m.Size()
		return survey.Allocate(m, r, int64(b.bits*float64(weights)/8), 0)
	}
	for range tries {
		if out, predicted, err = survey.Allocate(m, r, bytes, 0); err != nil {
			return nil, 0, err
		}
		over, err := excess(m, out, b.file)
		if err != nil || over <= 0 {
			return out, predicted, err
		}
		bytes -= over
	}
	return nil, 0, fmt.Errorf("no choice of schemes makes a file of at most %s", bytesText(b.file))
}

// excess is how many bytes more than limit the file takes that r makes of m.
func excess(m *model.Model, r *quantize.Recipe, limit int64) (int64, error) {
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

// candidateSchemes are those of --schemes, or the usual ones, without what
// target has no type for.
func candidateSchemes(c *cli.Context, m *model.Model, target *format.Target) ([]qtensor.Scheme, error) {
	text := usualSchemes
	if c.IsSet("schemes") {
		text = c.String("schemes")
	}
	var schemes []qtensor.Scheme
next:
	for _, name := range strings.Split(text, ",") {
		s, err := qtensor.ParseScheme(strings.TrimSpace(name))
		if err != nil {
			return nil, fmt.Errorf("--schemes: %w", err)
		}
		if s.Kind != qtensor.Int {
			return nil, fmt.Errorf("--schemes: %v is no integer scheme", s)
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
		return nil, fmt.Errorf("--schemes %s: %s has no type for any of them", defect.Printable(text), target.Name)
	}
	return schemes, nil
}
