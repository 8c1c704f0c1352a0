package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"thimble/convert"
	"thimble/fixtures"
	"thimble/format/thimble"
	"thimble/internal/model"
	"thimble/quantize"
	"thimble/verify"
	"thimble/verify/reference"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:      "demo",
		Usage:     "convert, quantize and verify a small model that is built in",
		UsageText: "thimble demo [--json]",
		Description: "A MobileLLM of 1.3 million parameters, trained on Go's documentation, goes through the\n" +
			"whole way: checkpoint, container, int8, int4, each verified against logits that PyTorch\n" +
			"computed. Nothing is downloaded and nothing stays on disk.",
		Flags:  []cli.Flag{jsonFlag},
		Action: demoAction,
	}
}

// A demonstration is the report of demo.
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

// demoRecipes are the files that demo makes, in the order of its table.
var demoRecipes = []struct {
	name   string
	recipe quantize.Recipe
}{
	{"bf16 as stored", quantize.Recipe{Scheme: quantize.Keep}},
	{"int8/g32", quantize.Recipe{Scheme: "int8/g32"}},
	{"int4/g32, embedding int8", quantize.Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}},
}

func demoAction(c *cli.Context) error {
	if c.NArg() != 0 {
		return fmt.Errorf("demo takes no arguments; see thimble demo --help")
	}
	begun := time.Now()
	dir, err := os.MkdirTemp("", "thimble-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	trained, err := fs.Sub(fixtures.Trained, "trained")
	if err != nil {
		return err
	}
	checkpoint := filepath.Join(dir, "checkpoint")
	if err := os.CopyFS(checkpoint, trained); err != nil {
		return err
	}
	m, err := convert.Open(checkpoint, convert.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	weights, _ := m.Size()
	d := &demonstration{
		Checkpoint: fmt.Sprintf("%s, %d layers %d wide, %.2f million weights", m.Provenance.Architecture, m.Spec.Blocks, m.Spec.Hidden, float64(weights)/1e6),
		Pass:       true,
	}
	sources, err := startHashing(c.Context, m.Files, nil)
	if err != nil {
		return err
	}
	defer sources.stop()
	for _, r := range demoRecipes {
		row, err := demonstrate(c.Context, m, sources, r.name, &r.recipe, filepath.Join(dir, "demo.thimble"), filepath.Join(checkpoint, "reference.safetensors"))
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		d.Rows = append(d.Rows, *row)
		d.Pass = d.Pass && row.Report.Pass
	}
	d.Seconds = time.Since(begun).Seconds()
	if err := print(c, d); err != nil {
		return err
	}
	if !d.Pass {
		return errRefused
	}
	return nil
}

// demonstrate writes m by recipe, opens the file again, checks every digest,
// verifies it against logits and lets it write.
func demonstrate(ctx context.Context, m *model.Model, sources *hashing, name string, recipe *quantize.Recipe, out, logits string) (*demoRow, error) {
	plan, err := quantize.NewPlan(m, recipe)
	if err != nil {
		return nil, err
	}
	fill := func(sink quantize.Sink) error { return quantize.Run(ctx, m, plan, nil, sink, nil) }
	if _, err := writeContainer(m, sources, plan, out, true, fill); err != nil {
		return nil, err
	}
	if err := thimble.Check(ctx, out, nil); err != nil {
		return nil, err
	}
	q, err := openModel(out, nil)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	ref, err := reference.Open(logits)
	if err != nil {
		return nil, err
	}
	defer ref.Close()
	s, err := reference.NewScorer(q, verify.Arithmetic{}, 0)
	if err != nil {
		return nil, err
	}
	row := &demoRow{Name: name}
	if row.Report, err = verify.Run(ctx, ref, s, ref.Prompts(), verify.Options{Gates: verify.DefaultGates(q)}); err != nil {
		return nil, err
	}
	if row.Report.Model, err = identity(ctx, q, nil); err != nil {
		return nil, err
	}
	row.Bytes, row.Report.Model.Path = row.Report.Model.Bytes, filepath.Base(out)
	g, err := newGenerator(q, verify.Arithmetic{}, 0, 0)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	ids, err := g.prompt(ctx, demoPrompt)
	if err != nil {
		return nil, err
	}
	_, err = g.run(ctx, ids, 32, &text)
	row.Sample = demoPrompt + text.String()
	return row, err
}

func (d *demonstration) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "checkpoint: %s\n", d.Checkpoint)
	fmt.Fprintf(&b, "each file written, every digest checked, verified against PyTorch's float32 logits:\n\n")
	fmt.Fprintf(&b, "  %-26s %9s %7s %10s %7s %11s  %s\n", "stored as", "bytes", "bits/w", "mean KL", "top-1", "perplexity", "gate")
	for _, r := range d.Rows {
		metrics, verdict := &r.Report.Metrics, "pass"
		if !r.Report.Pass {
			verdict = "FAIL"
		}
		fmt.Fprintf(&b, "  %-26s %9d %7.2f %10.2g %6.1f%% %11.3f  %s\n", r.Name, r.Bytes, r.Report.Model.BitsPerWeight,
			float64(metrics.KLMean), 100*float64(metrics.Top1Agreement), float64(metrics.PPL), verdict)
	}
	fmt.Fprintf(&b, "\n  PyTorch's perplexity on the same tokens is %.3f. KL is in nats per token.\n", float64(d.Rows[0].Report.Metrics.PPLReference))
	for _, r := range d.Rows {
		fmt.Fprintf(&b, "\n%s writes:\n%s", r.Name, indent(r.Sample))
	}
	fmt.Fprintf(&b, "\ndone in %.1f s\n", d.Seconds)
	return b.String()
}
