package thimble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"thimble/format"
	"thimble/format/export"
	container "thimble/format/thimble"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
	"thimble/quantize"
)

// Formats returns the names of the formats that Export writes.
func Formats() (names []string) {
	for _, e := range format.Exporters() {
		names = append(names, e.Format().Name)
	}
	return names
}

// checkShardSize returns an error if a format's weights are not divided into files of size bytes.
func checkShardSize(size int64, name string) error {
	if size < 0 {
		return errors.New("--shard-size: want a positive number of bytes")
	}
	var sharded []string
	for _, e := range format.Exporters() {
		if f := e.Format(); f.Sharded {
			sharded = append(sharded, f.Name)
		}
	}
	if size == 0 || slices.Contains(sharded, name) {
		return nil
	}
	return fmt.Errorf("--shard-size: --to %s writes all weights to one file; shards are for %s", name, strings.Join(sharded, ", "))
}

// ExportOptions specify what Export writes.
type ExportOptions struct {
	Model      string   // path
	Set        []string // config overrides for a checkpoint
	Format     string   // see Formats; "" is that of Output's ending
	Output     string   // path; "" plans and writes nothing
	Overwrite  bool
	Context    int // longest text that the file is for, in tokens; 0 is the model's context
	Modelfile  Modelfile
	DType      string // float type of every value, in a format of floats: "f32", "f16" or "bf16"; "" is that of the model, see docs/EXPORT.md
	ShardSize  int64  // most bytes of tensors in a file, in a format of folders with shards; 0 is 5 GB
	Requantize bool   // round tensors whose scheme the format lacks to its nearest type

	Progress Progress
}

// An Exported is the result of Export.
type Exported struct {
	Output  string           `json:"output,omitempty"` // empty if only planned
	Format  string           `json:"format"`
	Bytes   int64            `json:"bytes"`            // of the file, or of all files of a folder
	SHA256  string           `json:"sha256,omitempty"` // of the file
	Files   []WrittenFile    `json:"files,omitempty"`  // of a folder
	Notes   []string         `json:"notes,omitempty"`
	Tensors []ExportedTensor `json:"tensors"`

	Modelfile string `json:"modelfile,omitempty"` // path
}

// An ExportedTensor is a tensor of the file.
type ExportedTensor struct {
	Name   string `json:"name"`             // in the file
	Source string `json:"source,omitempty"` // in the model
	Type   string `json:"type"`
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`
	Bytes  int64  `json:"bytes"`

	From       string `json:"from,omitempty"`       // scheme in the model
	Requantize bool   `json:"requantize,omitempty"` // rounded again: the codes differ from the model's
}

// Export writes a model in another program's format. It copies codes and scales
// unchanged. If the format cannot represent something in the model, Export fails before
// it writes anything.
func Export(ctx context.Context, o ExportOptions) (*Exported, error) {
	exporter, err := o.exporter()
	if err != nil {
		return nil, err
	}
	if IsFolder(o.Format) && o.Output != "" {
		o.Output = filepath.Clean(o.Output)
	}
	m, err := Open(o.Model, o.Set...)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if o.Output != "" {
		if err := checkTarget(exporter, o.Output, atomicfile.Options{Overwrite: o.Overwrite, Inputs: m.Files}); err != nil {
			return nil, err
		}
	}
	if err := o.Modelfile.check(exporter, o.Output, o.Overwrite, m.Files); err != nil {
		return nil, err
	}
	plan, err := exporter.Plan(m, o.options(m)) // before hashing reads the sources
	if err != nil {
		return nil, err
	}
	if o.Output == "" {
		return newExported(&o, plan, m.Remarks()), nil
	}
	if err := checkTarget(exporter, o.Output, atomicfile.Options{Overwrite: o.Overwrite, Inputs: m.Files, Size: plan.Bytes}); err != nil {
		return nil, err
	}
	if plan, err = o.write(ctx, exporter, m); err != nil {
		return nil, err
	}
	if err := o.Modelfile.write(context.WithoutCancel(ctx), m, o.Output, o.Overwrite); err != nil {
		return nil, err
	}
	r := newExported(&o, plan, m.Remarks())
	r.Output, r.Modelfile = o.Output, o.Modelfile.Path
	r.SHA256, r.Files, err = written(ctx, o.Output, exporter.Format())
	return r, err
}

// exporter returns the exporter that o names, and sets Format to its name. It refuses what the
// options alone rule out.
func (o *ExportOptions) exporter() (format.Exporter, error) {
	if e, ok := format.ExporterForFile(o.Output); ok && o.Format == "" {
		o.Format = e.Format().Name
	}
	exporter, known := format.ExporterNamed(o.Format)
	switch {
	case o.Format == container.Name, o.Format == "" && filepath.Ext(o.Output) == ".thimble":
		return nil, fmt.Errorf("export writes other programs' formats; thimble convert %s -o %s makes a container", defect.Printable(o.Model), defect.Printable(cmp.Or(o.Output, "FILE.thimble")))
	case o.Format == "":
		mean := spell.Suggest(strings.ToLower(filepath.Ext(o.Output)), endings())
		return nil, fmt.Errorf("export needs -o FILE.gguf, or --to FORMAT, which is one of %s%s", strings.Join(Formats(), ", "), mean)
	case !known:
		return nil, fmt.Errorf("--to %q is not one of %s%s", o.Format, strings.Join(Formats(), ", "), spell.Suggest(o.Format, Formats()))
	case o.DType != "" && !slices.Contains(exporter.Format().DTypes, o.DType):
		return nil, fmt.Errorf("--dtype %s: %s takes %s", defect.Printable(o.DType), o.Format, cmp.Or(strings.Join(exporter.Format().DTypes, ", "), "none"))
	case o.Context < 0:
		return nil, errors.New("--context: want the number of tokens in the longest text")
	}
	if err := checkShardSize(o.ShardSize, o.Format); err != nil {
		return nil, err
	}
	_, err := OutputFormat(o.Format, o.Output)
	return exporter, err
}

func newExported(o *ExportOptions, plan *export.Plan, notes []string) *Exported {
	r := &Exported{Format: o.Format, Bytes: plan.Bytes, Notes: slices.Concat(notes, plan.Notes)}
	for _, t := range plan.Tensors {
		x := ExportedTensor{Name: t.Name, Source: t.Source, Type: t.Type, Rows: t.Rows, Cols: t.Cols, Bytes: t.Bytes, Requantize: t.Requantize}
		if t.Source != "" {
			x.From = t.From.String()
		}
		r.Tensors = append(r.Tensors, x)
	}
	return r
}

// write verifies m and writes it, with the digests of the files that it was read from.
func (o *ExportOptions) write(ctx context.Context, exporter format.Exporter, m *model.Model) (*export.Plan, error) {
	hashed, err := digest.Start(ctx, m.Files, o.Progress.stage("hash", Bytes))
	if err != nil {
		return nil, err
	}
	defer hashed.Stop()
	if err := verifyWeights(ctx, m, nil); err != nil { // while one core hashes the same file
		return nil, err
	}
	if err := hashed.Wait(); err != nil {
		return nil, err
	}
	if err := quantize.CheckFinite(ctx, m); err != nil {
		return nil, err
	}
	m.Provenance.Sources = slices.Concat(m.Provenance.Sources, hashed.Sources)
	m.Provenance.Tool = Tool
	options := o.options(m)
	var bytes int64
	report := o.Progress.stage("export", Bytes)
	options.Progress = func(done int64) { report(done, bytes) }
	plan, err := exporter.Plan(m, options)
	if err != nil {
		return nil, err
	}
	bytes = plan.Bytes
	report(0, bytes)
	return plan, forceHint(plan.Write(ctx, o.Output))
}

// options returns the exporter's options. It creates the requantizer, which reads m,
// only when the first tensor needs it.
func (o *ExportOptions) options(m *model.Model) export.Options {
	g := export.Options{Context: o.Context, DType: o.DType, ShardSize: o.ShardSize, Overwrite: o.Overwrite, Inputs: m.Files}
	if !o.Requantize {
		return g
	}
	var q *quantize.Requantizer
	g.Requantize = func(ctx context.Context, source string, to qtensor.Scheme) (*qtensor.Matrix, error) {
		if q == nil {
			var err error
			if q, err = quantize.NewRequantizer(ctx, m); err != nil {
				return nil, err
			}
		}
		return q.Store(ctx, source, to)
	}
	return g
}
