package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/fixtures"
	"thimble/internal/atomicfile"
	"thimble/verify"
)

const demoHelp = `Converts a MobileLLM of 1.3 million parameters, trained on Go's documentation,
to a container, to int8 and to int4, and verifies each against logits that
PyTorch computed. Downloads nothing and leaves nothing on disk.`

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:        "demo",
		Usage:       "convert, quantize and verify a small built-in model",
		UsageText:   "thimble demo [--json]",
		Description: demoHelp,
		Flags:       []cli.Flag{colorFlag, jsonFlag},
		Action:      demoAction,
	}
}

// A demonstration is the result of demo.
type demonstration struct {
	Checkpoint string    `json:"checkpoint"`
	Rows       []demoRow `json:"rows"`
	Pass       bool      `json:"pass"`
	Seconds    float64   `json:"seconds"`
}

type demoRow struct {
	Name   string         `json:"name"`
	Bytes  int64          `json:"bytes"`
	Report *verify.Report `json:"report"`
	Sample string         `json:"sample"`
}

const demoPrompt = "The function returns"

// demoRecipes lists the recipes of the files that demo makes, in the order of its table.
var demoRecipes = []struct {
	name   string
	recipe thimble.Recipe
}{
	{"bf16 as stored", thimble.Recipe{Scheme: thimble.Keep}},
	{"int8/g32", thimble.Recipe{Scheme: "int8/g32"}},
	{"int4/g32, embedding int8/g32", thimble.Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}},
}

func demoAction(c *cli.Context) error {
	if c.NArg() != 0 {
		return errors.New("demo takes no arguments; see thimble demo --help")
	}
	colors, err := colorsOf(c)
	if err != nil {
		return err
	}
	start := time.Now()
	dir, remove, err := atomicfile.MkdirTemp(os.TempDir())
	if err != nil {
		return err
	}
	defer remove()
	trained, err := fs.Sub(fixtures.Trained, "trained")
	if err != nil {
		return err
	}
	checkpoint := filepath.Join(dir, "checkpoint")
	if err := os.CopyFS(checkpoint, trained); err != nil {
		return err
	}
	source, err := thimble.Inspect(c.Context, thimble.InspectOptions{Model: checkpoint})
	if err != nil {
		return err
	}
	d := &demonstration{
		Checkpoint: fmt.Sprintf("%s, %d layers %d wide, %.2f million weights",
			source.Provenance.Architecture, source.Spec.Blocks, source.Spec.Hidden, float64(source.Weights)/1e6),
		Pass: true,
	}
	for _, r := range demoRecipes {
		row, err := demonstrate(c, checkpoint, r.recipe, filepath.Join(dir, "demo.thimble"))
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		row.Name = r.name
		d.Rows = append(d.Rows, *row)
		d.Pass = d.Pass && row.Report.Pass
	}
	d.Seconds = time.Since(start).Seconds()
	if err := printVerdict(c, d, colors, d.String); err != nil {
		return err
	}
	if !d.Pass {
		return errRefused
	}
	return nil
}

// demonstrate quantizes checkpoint by recipe, checks every digest of the file,
// verifies it against PyTorch's logits and generates a sample.
func demonstrate(c *cli.Context, checkpoint string, recipe thimble.Recipe, out string) (*demoRow, error) {
	if _, err := thimble.Quantize(c.Context, thimble.QuantizeOptions{Model: checkpoint, Output: out, Overwrite: true, Recipe: recipe}); err != nil {
		return nil, err
	}
	if _, err := thimble.Inspect(c.Context, thimble.InspectOptions{Model: out, Check: true}); err != nil {
		return nil, err
	}
	report, err := thimble.Verify(c.Context, thimble.VerifyOptions{Model: out, Reference: filepath.Join(checkpoint, "reference.safetensors")})
	if err != nil {
		return nil, err
	}
	text, err := thimble.Generate(c.Context, thimble.GenerateOptions{Model: out, Prompt: demoPrompt, Tokens: 32})
	if err != nil {
		return nil, err
	}
	report.Model.Path, report.Against = filepath.Base(out), filepath.Base(report.Against) // without temporary paths
	report.Tensors, report.Provenance = nil, nil                                          // inspect shows them
	return &demoRow{Bytes: report.Model.Bytes, Report: report, Sample: demoPrompt + text.Text}, nil
}

func (d *demonstration) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "checkpoint: %s\n", d.Checkpoint)
	fmt.Fprintf(&b, "each file written, every digest checked, verified against PyTorch's float32 logits:\n\n")
	fmt.Fprintf(&b, "  %-28s %8s %7s %9s %7s %11s  %s\n", "stored as", "bytes", "bits/w", "mean KL", "top-1", "perplexity", "gate")
	for _, r := range d.Rows {
		metrics, verdict := &r.Report.Metrics, "pass"
		if !r.Report.Pass {
			verdict = "FAIL"
		}
		fmt.Fprintf(&b, "  %-28s %8d %7.2f %9.2g %6.1f%% %11.3f  %s\n", r.Name, r.Bytes, r.Report.Model.BitsPerWeight,
			float64(metrics.KLMean), 100*float64(metrics.Top1Agreement), float64(metrics.PPL), verdict)
	}
	fmt.Fprintf(&b, "\n  PyTorch's perplexity on the same tokens is %.3f. KL is in nats per token.\n", float64(d.Rows[0].Report.Metrics.PPLReference))
	for _, r := range d.Rows {
		fmt.Fprintf(&b, "\n%s writes:\n%s", r.Name, indent(r.Sample))
	}
	fmt.Fprintf(&b, "\ndone in %.1f s\n", d.Seconds)
	return b.String()
}

// indent indents every line of a text by two spaces.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
