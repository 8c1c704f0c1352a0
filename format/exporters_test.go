package format

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/formattest"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A toy file has a line of JSON for each tensor, with its name, type and shape,
// followed by the values as f32, f16 or bf16. The type shows what a new format
// takes: these methods and a line of the table.
type toy struct{}

func init() { exporters = append(exporters, toy{}, toyFolder{}) }

// A toyFolder is a folder with a toy file and a text.
type toyFolder struct{ toy }

func (toyFolder) Format() export.Format {
	f := toy{}.Format()
	f.Name, f.Ext, f.Program, f.Files = "toyfolder", "", "toybox 2", []string{"extra.txt", "note.txt", "weights.toy"}
	return f
}

func (f toyFolder) Plan(m *model.Model, o export.Options) (*export.Plan, error) {
	p, err := f.plan(m, &o)
	if err != nil {
		return nil, err
	}
	parts := []export.Part{{Name: "weights.toy", Bytes: p.Bytes, Body: f.body(p, m, &o)}, export.Text("note.txt", []byte("a toy"))}
	p.Bytes, p.Write = export.Bytes(parts), export.Folder(f.Format(), &o, parts)
	return p, nil
}

func TestToyFolder(t *testing.T) {
	formattest.RunExporter(t, formattest.ExporterTarget{
		Exporter: toyFolder{},
		Schemes:  []qtensor.Scheme{{Kind: qtensor.F16}},
		Without:  qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32},
	})
}

func (toy) Format() export.Format {
	return export.Format{Name: "toy", Ext: ".toy", Program: "toybox", Fast: "computed as it is", Slow: "widened first"}
}

func (toy) Check(m *model.Model) (context int, notes []string, err error) {
	if m.Spec.QKNorm != "" {
		return 0, nil, defect.Unsupported(m.Path, "normalized queries in toy")
	}
	return 0, nil, nil
}

func (toy) Nearest(s qtensor.Scheme, cols int, _ model.Role) qtensor.Scheme {
	if s.Float() {
		return s
	}
	return qtensor.Scheme{Kind: qtensor.F16}
}

func (toy) Kernel(s qtensor.Scheme, rows int) (typ string, fast bool) {
	return s.String(), s.Kind == qtensor.F32
}

func (f toy) Plan(m *model.Model, o export.Options) (*export.Plan, error) {
	p, err := f.plan(m, &o)
	if err != nil {
		return nil, err
	}
	p.Write = export.File(&o, p.Bytes, f.body(p, m, &o))
	return p, nil
}

// plan is Plan without Write.
func (f toy) plan(m *model.Model, o *export.Options) (*export.Plan, error) {
	s, err := o.Spec(m)
	if err != nil {
		return nil, err
	}
	_, notes, err := f.Check(m)
	if err != nil {
		return nil, err
	}
	p := &export.Plan{Notes: notes}
	for _, slot := range s.Slots() {
		t, err := export.Place(f, m, slot.Name, slot.Role, o.Scheme(m, slot.Name), o)
		if err != nil {
			return nil, err
		}
		t.Name = slot.Name
		if t.Bytes, _, _, err = t.To.Sizes(t.Rows, t.Cols); err != nil {
			return nil, err
		}
		p.Tensors = append(p.Tensors, t)
		p.Bytes += int64(len(line(&t))) + t.Bytes
	}
	p.Notes = append(p.Notes, export.RoundingNotes(p.Tensors)...)
	return p, nil
}

// body returns a function that writes the tensors of p.
func (toy) body(p *export.Plan, m *model.Model, o *export.Options) func(ctx context.Context, w io.Writer) error {
	return func(ctx context.Context, w io.Writer) error {
		for i := range p.Tensors {
			if err := write(ctx, w, &p.Tensors[i], m, o); err != nil {
				return err
			}
		}
		return nil
	}
}

func line(t *export.Tensor) []byte {
	b, _ := json.Marshal(map[string]any{"name": t.Name, "type": t.Type, "rows": t.Rows, "cols": t.Cols})
	return append(b, '\n')
}

func write(ctx context.Context, w io.Writer, t *export.Tensor, m *model.Model, o *export.Options) error {
	if _, err := w.Write(line(t)); err != nil {
		return err
	}
	return t.Read(ctx, m, o, func(x *qtensor.Matrix) error {
		var reader qtensor.Reader
		for r := range x.Rows {
			if _, err := w.Write(reader.Stored(x, r)); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestToy(t *testing.T) {
	formattest.RunExporter(t, formattest.ExporterTarget{
		Exporter: toy{},
		Schemes:  []qtensor.Scheme{{Kind: qtensor.F32}, {Kind: qtensor.F16}, {Kind: qtensor.BF16}},
		Without:  qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32},
	})
}

// Each format is found by its name, its program and the ending of its files, and
// exports through the interface alone.
func TestExporters(t *testing.T) {
	extensions := map[string]bool{}
	for _, e := range Exporters() {
		f := e.Format()
		to, ok := ExporterNamed(f.Name)
		by, ok2 := ExporterForProgram(f.Program)
		of, ok3 := ExporterForFile("dir.x/Model" + strings.ToUpper(f.Ext))
		if !ok || !ok2 || to != e || by != e || ok3 != (f.Files == nil) || ok3 && of != e {
			t.Errorf("%s: found %v, %v and %v", f.Name, to, by, of)
		}
		if f.Ext != "" && extensions[f.Ext] {
			t.Errorf("%s: two formats have the extension %s", f.Name, f.Ext)
		}
		extensions[f.Ext] = true
	}
	for _, name := range []string{"", "GGUF", "safetensor", "model.thimble", "toy"} {
		if e, ok := ExporterForProgram(name); ok {
			t.Errorf("%v runs %q", e, name)
		}
		if e, ok := ExporterForFile(name); ok {
			t.Errorf("%v writes %q", e, name)
		}
	}
	if e, ok := ExporterNamed("GGUF"); ok {
		t.Errorf("GGUF is %v", e)
	}

	e, _ := ExporterForFile("out.toy")
	m := formattest.Model(t, qtensor.Scheme{Kind: qtensor.BF16})
	p, err := e.Plan(m, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.toy")
	if err := p.Write(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if first := fmt.Sprintln(`{"cols":64,"name":"embed","rows":7,"type":"bf16"}`); !strings.HasPrefix(string(data), first) {
		t.Errorf("the file begins with %.60q, want %q", data, first)
	}
	m.Spec.QKNorm = model.QKBare
	if _, err := e.Plan(m, export.Options{}); !errors.Is(err, defect.ErrUnsupported) {
		t.Errorf("normalized queries: %v", err)
	}
}
