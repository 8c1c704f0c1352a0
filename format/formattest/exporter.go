package formattest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// An ExporterTarget is an exporter under test.
type ExporterTarget struct {
	Exporter export.Exporter
	Schemes  []qtensor.Scheme // schemes of linear layers that the format has types for
	Without  qtensor.Scheme   // a scheme of linear layers that it has no type for; f32 if it has one for each
}

// RunExporter exports models of each scheme and shape. A plan must account for every
// tensor and for the length of the file, the same model must give the same bytes, the
// exporter must refuse unsupported features before it writes anything, and a failed or
// cancelled export must leave no file or folder. An exporter may refuse, with
// format.ErrUnsupported, a model whose widths are not multiples of 64.
func RunExporter(t *testing.T, target ExporterTarget) {
	t.Run("Format", func(t *testing.T) {
		f := target.Exporter.Format()
		if f.Name == "" || f.Program == "" || f.Fast == "" || f.Slow == "" {
			t.Errorf("%+v has an empty field", f)
		}
		switch {
		case f.Files != nil && (f.Ext != "" || !slices.IsSorted(f.Files)):
			t.Errorf("the folder has the extension %q and the files %q, want none, and sorted files", f.Ext, f.Files)
		case f.Files == nil && (!strings.HasPrefix(f.Ext, ".") || f.Ext != strings.ToLower(f.Ext)):
			t.Errorf("the extension is %q, want a dot and lower case", f.Ext)
		}
	})
	for _, scheme := range target.Schemes {
		for name, s := range specs() {
			t.Run(fmt.Sprintf("%v/%s", scheme, name), func(t *testing.T) {
				t.Parallel()
				target.complete(t, build(t, s, scheme))
			})
		}
	}
	tests := map[string]func(t *testing.T, m *model.Model){
		"Cancelled": target.cancelled,
		"Existing":  target.existing,
		"Invalid":   target.invalid,
		"Truncated": target.truncated,
	}
	if target.Without != (qtensor.Scheme{}) {
		tests["Unsupported"], tests["Requantize"], tests["Failure"] = target.unsupported, target.requantize, target.failure
	}
	for name, run := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, build(t, specs()["wide"], target.Schemes[0]))
		})
	}
}

// complete exports m twice and compares the file with the plan.
func (target ExporterTarget) complete(t *testing.T, m *model.Model) {
	e := target.Exporter
	if _, err := e.Plan(m, export.Options{}); errors.Is(err, defect.ErrUnsupported) && (m.Spec.Hidden%64 != 0 || m.Spec.FFN%64 != 0) {
		return
	}
	if _, _, err := e.Check(m); err != nil {
		t.Errorf("Check refuses what Plan accepts: %v", err)
	}
	target.foresees(t, m)
	dir := t.TempDir()
	var first []byte
	for i := range 2 {
		last := int64(0)
		p := target.plan(t, m, export.Options{
			Requantize: func(_ context.Context, source string, _ qtensor.Scheme) (*qtensor.Matrix, error) {
				t.Errorf("Requantize was called for %s, whose scheme has a type", source)
				return m.Tensors[source], nil
			},
			Progress: func(done int64) {
				if done < last {
					t.Errorf("progress went from %d to %d", last, done)
				}
				last = done
			},
		})
		target.accounts(t, p, m)
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := p.Write(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		data := target.read(t, path)
		if int64(len(data)) != p.Bytes || last != p.Bytes {
			t.Errorf("the file has %d bytes, progress reached %d, the plan has %d", len(data), last, p.Bytes)
		}
		if i > 0 && !bytes.Equal(data, first) {
			t.Error("the same model gave different bytes")
		}
		first = data
	}
	os.RemoveAll(filepath.Join(dir, "0"))
	os.RemoveAll(filepath.Join(dir, "1"))
	empty(t, dir)
}

// foresees checks that a plan with Options.Schemes, made from m before it has them,
// describes the file that m then becomes.
func (target ExporterTarget) foresees(t *testing.T, m *model.Model) {
	t.Helper()
	schemes := map[string]qtensor.Scheme{}
	before := *m
	before.Tensors = map[string]*qtensor.Matrix{}
	for name, x := range m.Tensors {
		schemes[name] = x.Scheme
		before.Tensors[name] = Fill(qtensor.Scheme{Kind: qtensor.BF16}, x.Rows, x.Cols, 1)
	}
	got, want := target.plan(t, &before, export.Options{Schemes: schemes}), target.plan(t, m, export.Options{})
	if got.Bytes != want.Bytes || !slices.Equal(got.Tensors, want.Tensors) {
		t.Errorf("the plan for schemes to come has %d bytes and tensors %+v, the model in these schemes has %d and %+v", got.Bytes, got.Tensors, want.Bytes, want.Tensors)
	}
}

// accounts checks that p stores every tensor of m in a type that Kernel names.
func (target ExporterTarget) accounts(t *testing.T, p *export.Plan, m *model.Model) {
	t.Helper()
	missing := maps.Clone(m.Tensors)
	sum := int64(0)
	for _, x := range p.Tensors {
		if sum += x.Bytes; x.Name == "" || x.Bytes <= 0 || x.Type == "" {
			t.Errorf("%+v lacks a name, a type or a size", x)
		}
		if x.Source == "" {
			continue
		}
		delete(missing, x.Source)
		source := m.Tensors[x.Source]
		if source == nil || x.Rows != source.Rows || x.Cols != source.Cols || x.From != source.Scheme || x.Requantize {
			t.Errorf("%+v is planned from %+v", x, source)
		}
		if typ, _ := target.Exporter.Kernel(x.To, x.Rows); typ != x.Type {
			t.Errorf("%s has type %s, Kernel calls %v %s", x.Name, x.Type, x.To, typ)
		}
	}
	if len(missing) > 0 {
		t.Errorf("the plan leaves out %v", slices.Sorted(maps.Keys(missing)))
	}
	if sum > p.Bytes {
		t.Errorf("the tensors take %d bytes, the file %d", sum, p.Bytes)
	}
}

func (target ExporterTarget) plan(t *testing.T, m *model.Model, o export.Options) *export.Plan {
	t.Helper()
	p, err := target.Exporter.Plan(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// read returns the contents of a file, or of all files of a folder.
func (target ExporterTarget) read(t *testing.T, path string) (data []byte) {
	t.Helper()
	files := target.Exporter.Format().Files
	if files == nil {
		return read(t, path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(files, e.Name()) {
			t.Errorf("%s is not among the format's files", e.Name())
		}
		data = append(data, read(t, filepath.Join(path, e.Name()))...)
	}
	return data
}

// odd is the name of the tensor that replaceOdd stores in the scheme without a type.
var odd = model.Name(1, model.Down)

func (target ExporterTarget) replaceOdd(m *model.Model) {
	m.Tensors[odd] = Fill(target.Without, m.Tensors[odd].Rows, m.Tensors[odd].Cols, 1)
}

// unsupported checks that Plan refuses a scheme without a type, and names the tensor.
func (target ExporterTarget) unsupported(t *testing.T, m *model.Model) {
	target.replaceOdd(m)
	_, err := target.Exporter.Plan(m, export.Options{})
	if !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), odd) || !strings.Contains(err.Error(), target.Without.String()) {
		t.Errorf("%v in %v: %v", odd, target.Without, err)
	}
}

// requantize checks that Write calls Requantize for the one tensor that needs it, and
// writes the result.
func (target ExporterTarget) requantize(t *testing.T, m *model.Model) {
	cols := m.Tensors[odd].Cols
	near := target.Exporter.Nearest(target.Without, cols, model.Linear)
	if again := target.Exporter.Nearest(near, cols, model.Linear); near == target.Without || again != near {
		t.Fatalf("the nearest to %v is %v, and to that %v", target.Without, near, again)
	}
	rounded := Fill(near, m.Tensors[odd].Rows, cols, 3)
	m.Tensors[odd] = rounded
	dir := t.TempDir()
	want := filepath.Join(dir, "want")
	if err := target.plan(t, m, export.Options{}).Write(t.Context(), want); err != nil {
		t.Fatal(err)
	}

	target.replaceOdd(m)
	var calls []string
	p := target.plan(t, m, export.Options{Requantize: func(_ context.Context, source string, to qtensor.Scheme) (*qtensor.Matrix, error) {
		calls = append(calls, source)
		if to != near {
			t.Errorf("Requantize(%s, %v), want %v", source, to, near)
		}
		return rounded, nil
	}})
	for _, x := range p.Tensors {
		if x.Requantize != (x.Source == odd) {
			t.Errorf("%s: Requantize is %v", x.Name, x.Requantize)
		}
	}
	if !strings.Contains(strings.Join(p.Notes, "\n"), target.Without.String()) {
		t.Errorf("none of the notes %q mentions %v", p.Notes, target.Without)
	}
	got := filepath.Join(dir, "got")
	if err := p.Write(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	if len(calls) != 1 || calls[0] != odd {
		t.Errorf("Requantize was called for %v", calls)
	}
	if !bytes.Equal(target.read(t, got), target.read(t, want)) {
		t.Error("the file differs from that of a model with the rounded tensor")
	}
}

// failure lets Requantize fail, or cancels the export while it works.
func (target ExporterTarget) failure(t *testing.T, m *model.Model) {
	target.replaceOdd(m)
	rows, cols := m.Tensors[odd].Rows, m.Tensors[odd].Cols
	near := target.Exporter.Nearest(target.Without, cols, model.Linear)
	fault := errors.New("fault")
	ctx, cancel := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		requantize func() (*qtensor.Matrix, error)
		want       error
	}{
		"Requantize fails":         {func() (*qtensor.Matrix, error) { return nil, fault }, fault},
		"another scheme":           {func() (*qtensor.Matrix, error) { return m.Tensors[odd], nil }, nil},
		"another shape":            {func() (*qtensor.Matrix, error) { return Fill(near, rows+1, cols, 1), nil }, nil},
		"cancelled while it works": {func() (*qtensor.Matrix, error) { cancel(); return Fill(near, rows, cols, 1), nil }, context.Canceled},
	} {
		dir := t.TempDir()
		p := target.plan(t, m, export.Options{Requantize: func(context.Context, string, qtensor.Scheme) (*qtensor.Matrix, error) { return c.requantize() }})
		run := t.Context()
		if c.want == context.Canceled {
			run = ctx
		}
		if err := p.Write(run, filepath.Join(dir, "out")); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: error is %v", name, err)
		}
		empty(t, dir)
	}
}

// cancelled cancels an export before Write.
func (target ExporterTarget) cancelled(t *testing.T, m *model.Model) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := target.plan(t, m, export.Options{}).Write(ctx, filepath.Join(dir, "out")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before Write: error is %v", err)
	}
	empty(t, dir)
}

// existing checks that Write replaces an existing file only with Overwrite, and never an
// input.
func (target ExporterTarget) existing(t *testing.T, m *model.Model) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	old := path
	if files := target.Exporter.Format().Files; files != nil {
		if old = filepath.Join(path, files[0]); os.Mkdir(path, 0o700) != nil {
			t.Fatal("no folder")
		}
	}
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := target.plan(t, m, export.Options{}).Write(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("without Overwrite: %v, want an error about the existing file", err)
	}
	if err := target.plan(t, m, export.Options{Overwrite: true, Inputs: []string{old}}).Write(t.Context(), path); err == nil {
		t.Error("Write replaced an input")
	}
	if got := target.read(t, path); string(got) != "old" {
		t.Errorf("the file contains %.20q", got)
	}
	p := target.plan(t, m, export.Options{Overwrite: true})
	if err := p.Write(t.Context(), path); err != nil || int64(len(target.read(t, path))) != p.Bytes {
		t.Errorf("the file was not replaced: %v", err)
	}
	os.RemoveAll(path)
	empty(t, dir)
}

// invalid checks that Plan refuses invalid models and contexts.
func (target ExporterTarget) invalid(t *testing.T, m *model.Model) {
	for _, n := range []int{-1, m.Spec.Context + 1} {
		if _, err := target.Exporter.Plan(m, export.Options{Context: n}); err == nil {
			t.Errorf("Plan accepted a context of %d for a model of %d", n, m.Spec.Context)
		}
	}
	target.plan(t, m, export.Options{Context: m.Spec.Context / 2})
	delete(m.Tensors, model.Norm)
	if _, err := target.Exporter.Plan(m, export.Options{}); err == nil {
		t.Errorf("Plan accepted a model without %s", model.Norm)
	}
}

// truncated truncates the file of a tensor between Plan and Write.
func (target ExporterTarget) truncated(t *testing.T, m *model.Model) {
	source := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(source, m.Tensors[odd].Codes, 0o600); err != nil {
		t.Fatal(err)
	}
	mapped, err := mmap.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	defer mapped.Close()
	m.Tensors[odd].Codes = mapped.Data
	p := target.plan(t, m, export.Options{})
	if err := os.Truncate(source, 0); err != nil {
		t.Logf("this system does not truncate mapped files: %v", err)
		return
	}
	dir := t.TempDir()
	if err := p.Write(t.Context(), filepath.Join(dir, "out")); !errors.Is(err, parallel.ErrFault) || !strings.Contains(err.Error(), odd) {
		t.Errorf("the source of %s was truncated: %v", odd, err)
	}
	empty(t, dir)
}
