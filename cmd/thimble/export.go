package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/format"
	"thimble/format/export"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
	"thimble/quantize"
)

// targets are the names of the formats that export writes.
var targets = func() (names []string) {
	for _, e := range format.Exporters() {
		names = append(names, e.Format().Name)
	}
	return names
}()

func exportCommand() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "write a model in another program's format, without quantizing it again",
		UsageText: "thimble export MODEL --to gguf -o OUT.gguf [--context N] [--requantize]",
		Description: "gguf is the format of llama.cpp. Codes and scales are moved as they are: int4/g32 is\n" +
			"Q4_0, int4/g32/asym Q4_1, int5/g32 Q5_0, int5/g32/asym Q5_1, int8/g32 Q8_0; f32, f16\n" +
			"and bf16 keep their names. What GGUF has no type, key or tensor for is an error before\n" +
			"anything is written. Blocks that share their weights are written once for each step.\n\n" +
			"llama.cpp ignores the window of Mistral and Qwen2. --context N writes a file for texts of\n" +
			"up to N tokens, and a window that holds them all does not matter.\n\n" +
			"Examples:\n" +
			"   thimble quantize SmolLM2-135M -o smol.thimble --scheme int4/g32\n" +
			"   thimble export smol.thimble --to gguf -o smol.gguf\n" +
			"   thimble export Mistral-7B-v0.1 --to gguf -o mistral.gguf --context 4096\n" +
			"   thimble export g64.thimble --to gguf -o g64.gguf --requantize",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`"},
			&cli.StringFlag{Name: "to", Usage: "write `FORMAT`: " + strings.Join(targets, ", ")},
			&cli.IntFlag{Name: "context", Usage: "write a file for texts of up to `N` tokens (default: the model's context)"},
			&cli.BoolFlag{Name: "requantize", Usage: "round again, to the nearest type that has as many bits, what the format has no type for"},
			setFlag, dryRunFlag, forceFlag, jsonFlag, quietFlag,
		},
		Action: exportAction,
	}
}

// An exported is the report of export.
type exported struct {
	Output  string           `json:"output,omitempty"` // empty after --dry-run
	Format  string           `json:"format"`
	Bytes   int64            `json:"bytes"`            // of the file
	SHA256  string           `json:"sha256,omitempty"` // of the file
	Notes   []string         `json:"notes,omitempty"`
	Tensors []exportedTensor `json:"tensors"`
}

type exportedTensor struct {
	Name   string `json:"name"`             // in the file
	Source string `json:"source,omitempty"` // in the model
	Type   string `json:"type"`
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`
	Bytes  int64  `json:"bytes"`

	From       string `json:"from,omitempty"`       // scheme in the model
	Requantize bool   `json:"requantize,omitempty"` // the type holds other codes than that
}

func newExported(to string, e *export.Plan, notes []string) *exported {
	r := &exported{Format: to, Bytes: e.Bytes, Notes: slices.Concat(notes, e.Notes)}
	for _, t := range e.Tensors {
		x := exportedTensor{Name: t.Name, Source: t.Source, Type: t.Type, Rows: t.Rows, Cols: t.Cols, Bytes: t.Bytes, Requantize: t.Requantize}
		if t.Source != "" {
			x.From = t.From.String()
		}
		r.Tensors = append(r.Tensors, x)
	}
	return r
}

// String lists the types with how many tensors and bytes have each.
func (r *exported) String() string {
	var b strings.Builder
	for _, note := range r.Notes {
		fmt.Fprintln(&b, "note:", defect.Printable(note))
	}
	var order []string
	count, bytes := map[string]int{}, map[string]int64{}
	for _, t := range r.Tensors {
		if count[t.Type] == 0 {
			order = append(order, t.Type)
		}
		count[t.Type]++
		bytes[t.Type] += t.Bytes
	}
	for _, name := range order {
		fmt.Fprintf(&b, "  %-5s %5d tensors  %s\n", name, count[name], bytesText(bytes[name]))
	}
	if r.Output == "" {
		fmt.Fprintf(&b, "dry run: nothing was written, the file would have %s\n", bytesText(r.Bytes))
	} else {
		fmt.Fprintf(&b, "wrote %s, %s\nsha256 %s\n", defect.Printable(r.Output), bytesText(r.Bytes), r.SHA256)
	}
	return b.String()
}

func exportAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	out, to := c.String("output"), c.String("to")
	exporter, known := format.ExporterNamed(to)
	switch {
	case to == "":
		return fmt.Errorf("export needs --to FORMAT, which is one of %s", strings.Join(targets, ", "))
	case !known:
		return fmt.Errorf("--to %q is not one of %s%s", to, strings.Join(targets, ", "), spell.Suggest(to, targets))
	case c.IsSet("context") && c.Int("context") < 1:
		return fmt.Errorf("--context is %d, want the number of tokens in the longest text", c.Int("context"))
	case out == "" && !c.Bool(dryRunFlag.Name):
		return errors.New("export needs -o FILE, or --dry-run")
	}
	m, err := openSound(path, c.StringSlice(setFlag.Name))
	if err != nil {
		return err
	}
	defer m.Close()
	if !c.Bool(dryRunFlag.Name) {
		if err := mayWrite(c, out, m); err != nil {
			return err
		}
	}
	e, err := exporter.Plan(m, exportOptions(c, m)) // refuses before the sources are read through
	if err != nil {
		return err
	}
	if c.Bool(dryRunFlag.Name) {
		return print(c, newExported(to, e, m.Notes))
	}
	if e, err = writeExport(c, exporter, m, out); err != nil {
		return err
	}
	// The file is there: an interrupt comes too late to undo it.
	sums, err := hashFiles(context.WithoutCancel(c.Context), []string{out}, nil)
	if err != nil {
		return err
	}
	report := newExported(to, e, m.Notes)
	report.Output, report.SHA256 = out, hex.EncodeToString(sums[0].SHA256)
	return print(c, report)
}

// writeExport writes m, with the hashes of the files it was read from, to out.
func writeExport(c *cli.Context, exporter format.Exporter, m *model.Model, out string) (*export.Plan, error) {
	hashing := newMeter(c, "hash", "MB", 1e6)
	sources, err := hashFiles(c.Context, m.Files, hashing)
	hashing.done()
	if err != nil {
		return nil, err
	}
	m.Provenance.Sources = slices.Concat(m.Provenance.Sources, sources)
	m.Provenance.Tool = tool
	options := exportOptions(c, m)
	progress := newMeter(c, "export", "MB", 1e6)
	defer progress.done()
	var bytes int64
	options.Progress = func(done int64) { progress.at(done, bytes) }
	e, err := exporter.Plan(m, options)
	if err != nil {
		return nil, err
	}
	bytes = e.Bytes
	progress.at(0, bytes)
	return e, forceHint(e.Write(c.Context, out))
}

// exportOptions reads the flags. What --requantize needs to know of m is found
// out when the first tensor asks for it.
func exportOptions(c *cli.Context, m *model.Model) export.Options {
	o := export.Options{Context: c.Int("context"), Overwrite: c.Bool(forceFlag.Name), Inputs: m.Files}
	if !c.Bool("requantize") {
		return o
	}
	var q *quantize.Requantizer
	o.Requantize = func(ctx context.Context, source string, to qtensor.Scheme) (*qtensor.Matrix, error) {
		if q == nil {
			var err error
			if q, err = quantize.NewRequantizer(ctx, m); err != nil {
				return nil, err
			}
		}
		return q.Store(ctx, source, to)
	}
	return o
}
