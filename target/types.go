package target

import (
	"fmt"
	"slices"
	"strings"

	"thimble/format"
	"thimble/format/export"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
	"thimble/quantize"
	"thimble/quantize/words"
)

// Programs returns the names of the programs that models can be quantized for.
func Programs() []string {
	var names []string
	for _, e := range format.Exporters() {
		names = append(names, e.Format().Program)
	}
	return names
}

// Named returns the exporter for the program or of the format of that name, or nil for "".
func Named(name string) (format.Exporter, error) {
	if name == "" {
		return nil, nil
	}
	if e, ok := format.ExporterForProgram(name); ok {
		return e, nil
	}
	if e, ok := format.ExporterNamed(name); ok {
		return e, nil
	}
	return nil, fmt.Errorf("%s is not one of %s%s", defect.Printable(name), strings.Join(Programs(), ", "), spell.Suggest(name, Programs()))
}

// A Type is a type of another program that a plan uses.
type Type struct {
	Target  string `json:"target"`
	Type    string `json:"type"`
	Scheme  string `json:"scheme"`
	Tensors int    `json:"tensors"`
	Weights int64  `json:"weights"`
	Fast    bool   `json:"fast"` // the program has fast kernels for the type on phones

	Speed string `json:"-"` // Fast in words
}

// Types returns the types of the exporter that plan uses, or an error if it lacks a type for a
// matrix. Every exporter has a type for vectors.
func (f *File) Types(plan *quantize.Plan) (used []Type, notes []string, err error) {
	if _, notes, err = f.Exporter.Check(f.Model); err != nil {
		return nil, nil, err
	}
	for _, e := range plan.Tensors {
		if e.Role == model.Vector {
			continue
		}
		s := e.To.InMemory()                           // what an export of the container stores
		if native, _ := e.From.Native(); native == s { // its values stay the same
			s = export.Even(f.Exporter, s, e.Cols, e.Role)
		}
		if near := f.Exporter.Nearest(s, e.Cols, e.Role); near != s {
			return nil, nil, fmt.Errorf("%s: %s has no type for %v in %d columns; the nearest is %v (%s)",
				e.Name, f.Exporter.Format().Program, e.To, e.Cols, near, f.remedyFor(plan, e, near))
		}
		used = f.add(used, s, e.Rows, e.Cols)
	}
	return used, notes, nil
}

// remedyFor returns the flag that gives e, for whose scheme the exporter lacks a type, the
// scheme near: one flag for all layers if they have the same scheme and the same remedy.
func (f *File) remedyFor(plan *quantize.Plan, e quantize.Entry, near qtensor.Scheme) string {
	differs := func(x quantize.Entry) bool {
		return x.Role == model.Linear && (x.To != e.To || f.Exporter.Nearest(x.To.InMemory(), x.Cols, x.Role) != near)
	}
	if !slices.ContainsFunc(plan.Tensors, differs) {
		return "--scheme " + near.String()
	}
	return fmt.Sprintf("--set '%s=%v'", e.Name, near)
}

// add counts a matrix in used.
func (f *File) add(used []Type, s qtensor.Scheme, rows, cols int) []Type {
	name, fast := f.Exporter.Kernel(s, rows)
	for i := range used {
		if u := &used[i]; u.Type == name && u.Fast == fast {
			u.Tensors++
			u.Weights += int64(rows) * int64(cols)
			return used
		}
	}
	of := f.Exporter.Format()
	speed := of.Slow
	if fast {
		speed = of.Fast
	}
	return append(used, Type{of.Program, name, s.String(), 1, int64(rows) * int64(cols), fast, speed})
}

// CheckNames returns an error if a scheme of r is another program's name for something that none
// of Thimble's schemes is exactly. It suggests one that e, which may be nil, has a type for.
func CheckNames(r *quantize.Recipe, e format.Exporter) error {
	if e == nil {
		return nil
	}
	nearest := func(s qtensor.Scheme) qtensor.Scheme { return e.Nearest(s, words.Columns, model.Linear) }
	texts := []string{r.Scheme, r.Embedding, r.Head}
	for _, rule := range r.Rules {
		texts = append(texts, rule.Scheme)
	}
	for _, text := range texts {
		if err := words.Foreign(text, e.Format().Program, nearest); err != nil {
			return err
		}
	}
	return nil
}
