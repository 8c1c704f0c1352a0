package main

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
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
	&cli.Float64Flag{Name: "max-kl", Usage: "choose the smallest schemes whose divergence, measured on held-out text, is at most `NATS` per token"},
	&cli.Float64Flag{Name: "min-top1", Usage: "the same for a `SHARE` of positions with the same most likely token, such as 0.9"},
	&cli.StringFlag{Name: "schemes", Usage: "the `SCHEMES` to choose from, with commas between them"},
	statsFlag,
}

// budgeted reports whether schemes are to be chosen.
func budgeted(c *cli.Context) bool {
	return slices.ContainsFunc(limits, c.IsSet)
}

// measuredLimit reports whether what the file says is limited.
func measuredLimit(c *cli.Context) bool { return c.IsSet("max-kl") || c.IsSet("min-top1") }

// limits are the flags of which a budget needs one.
var limits = []string{"target-size", "target-bpw", "max-kl", "min-top1"}

const limitNames = "--target-size, --target-bpw, --max-kl or --min-top1"

// A budget is what the flags allow: file, bits, or one or both of kl and top1 are
// set.
type budget struct {
	file    int64            // bytes of the file
	bits    float64          // per weight, of the tensors
	kl      float64          // nats per token
	top1    float64          // share of positions
	schemes []qtensor.Scheme // to choose from
}

// measured reports whether the limits are on what the file says.
func (b *budget) measured() bool { return b.kl > 0 || b.top1 > 0 }

// limit is b for package quantize.
func (b *budget) limit() *quantize.Budget {
	return &quantize.Budget{File: b.file, Bits: b.bits, KL: b.kl, Top1: b.top1, Schemes: b.schemes}
}

// budgetFor reads and checks the flags for what r makes of m, for target if that
// is not nil, and completes r. It returns nil if schemes are not to be chosen.
func budgetFor(c *cli.Context, m *model.Model, r *quantize.Recipe, target *format.Target) (*budget, error) {
	if !budgeted(c) {
		for _, name := range []string{"schemes", statsFlag.Name} {
			if c.IsSet(name) {
				return nil, fmt.Errorf("--%s has no effect without "+limitNames, name)
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
			return nil, fmt.Errorf(limitNames+" chooses every matrix's scheme, so %s has no effect; leave it out, name --schemes to choose from, or keep matrices out of it with --set", defect.Printable(text))
		}
	}
	if r.Embedding != "" && m.Spec.Tied {
		return nil, fmt.Errorf("the embedding is tied to the head, whose scheme is chosen; --set %s=%s keeps it out of that", model.Embed, defect.Printable(r.Embedding))
	}
	text := quantize.DefaultSchemes()
	if c.IsSet("schemes") {
		text = c.String("schemes")
	}
	if b.schemes, err = candidateSchemes(strings.Split(text, ","), m, target); err != nil {
		return nil, fmt.Errorf("--schemes: %w", err)
	}
	*r = *completed(r, b.schemes, m)
	return b, nil
}

// limitsOf reads the flags that limit.
func limitsOf(c *cli.Context) (b *budget, err error) {
	b = &budget{bits: c.Float64("target-bpw"), kl: c.Float64("max-kl"), top1: c.Float64("min-top1")}
	n := 0
	for _, set := range []bool{c.IsSet("target-size"), c.IsSet("target-bpw"), measuredLimit(c)} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return nil, errors.New("--target-size, --target-bpw and limits on divergence (--max-kl, --min-top1) exclude each other; give one")
	case c.IsSet("target-size"):
		if b.file, err = parseSize(c.String("target-size")); err != nil {
			err = fmt.Errorf("--target-size %w", err)
		}
		return b, err
	case c.IsSet("target-bpw"):
		return b, checkBits("--target-bpw", b.bits)
	case c.IsSet("max-kl") && checkKL("--max-kl", b.kl) != nil:
		return nil, checkKL("--max-kl", b.kl)
	case c.IsSet("min-top1") && !(b.top1 > 0 && b.top1 < 1):
		return nil, fmt.Errorf("--min-top1 %g: want a share between 0 and 1", b.top1)
	}
	return b, nil
}

func checkBits(name string, bits float64) error {
	if !(bits > 0 && bits < 64) {
		return fmt.Errorf("%s %g: want a number of bits between 0 and 64", name, bits)
	}
	return nil
}

func checkKL(name string, kl float64) error {
	if !(kl > 0 && kl < 1e6) {
		return fmt.Errorf("%s %g: want a positive number of nats", name, kl)
	}
	return nil
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
	return 0, fmt.Errorf("%s is not a size such as 92MB, 88MiB or 92000000", defect.Printable(text))
}

// takeSurvey is quantize.NewSurvey with its progress shown.
func takeSurvey(c *cli.Context, m *model.Model, cal *quantize.Calibration, schemes []qtensor.Scheme) (*quantize.Survey, error) {
	progress := newMeter(c, "survey", "steps", 1)
	defer progress.done()
	return quantize.NewSurvey(c.Context, m, cal, schemes, func(done, of int) { progress.at(int64(done), int64(of)) })
}

// completed is r with a scheme for all matrices.
func completed(r *quantize.Recipe, schemes []qtensor.Scheme, m *model.Model) *quantize.Recipe {
	return (&quantize.Budget{Schemes: schemes}).Complete(m, r)
}

// allocate chooses the schemes of r's matrices within b, among those of survey, as
// far as that is known before any is quantized. predicted is in nats per token.
func (b *budget) allocate(survey *quantize.Survey, m *model.Model, r *quantize.Recipe) (out *quantize.Recipe, predicted float64, err error) {
	return b.limit().Choose(m, r, survey, func(plan *quantize.Plan) (int64, error) { return fileSize(m, plan) })
}

// fileSize is the bytes of the file that plan makes of m.
func fileSize(m *model.Model, plan *quantize.Plan) (int64, error) {
	sources := make([]model.Source, len(m.Files))
	for i, f := range m.Files {
		sources[i] = model.Source{Name: filepath.Base(f), Bytes: math.MaxInt64, SHA256: make([]byte, 32)}
	}
	contents, err := contentsOf(m, sources, plan)
	if err != nil {
		return 0, err
	}
	return contents.Size()
}

// candidateSchemes are those of these names, without what target has no type for.
func candidateSchemes(names []string, m *model.Model, target *format.Target) ([]qtensor.Scheme, error) {
	var schemes []qtensor.Scheme
	for _, name := range names {
		s, err := qtensor.ParseScheme(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		if s.Kind != qtensor.Int {
			return nil, fmt.Errorf("%v is no integer scheme", s)
		}
		schemes = append(schemes, s)
	}
	if target == nil {
		return schemes, nil
	}
	schemes = quantize.SchemesFor(m, schemes, func(s qtensor.Scheme, cols int) bool { return target.Nearest(s, cols) == s })
	if len(schemes) == 0 {
		return nil, fmt.Errorf("%s has no type for any of %s", target.Name, defect.Printable(strings.Join(names, ",")))
	}
	return schemes, nil
}
