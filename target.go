package thimble

import (
	"fmt"
	"slices"
	"strings"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
	"thimble/quantize"
)

// Targets returns the names of the programs that models can be quantized for.
func Targets() []string {
	var names []string
	for _, e := range format.Exporters() {
		names = append(names, e.Format().Program)
	}
	return names
}

// targetNamed returns the target of that name, or nil for "".
func targetNamed(name string) (format.Exporter, error) {
	if name == "" {
		return nil, nil
	}
	if e, ok := format.ExporterForProgram(name); ok {
		return e, nil
	}
	if e, ok := format.ExporterNamed(name); ok {
		return e, nil
	}
	return nil, fmt.Errorf("%s is not one of %s%s", defect.Printable(name), strings.Join(Targets(), ", "), spell.Suggest(name, Targets()))
}

// A TargetType is a type of a target that a plan uses.
type TargetType struct {
	Target  string `json:"target"`
	Type    string `json:"type"`
	Scheme  string `json:"scheme"`
	Tensors int    `json:"tensors"`
	Weights int64  `json:"weights"`
	Fast    bool   `json:"fast"` // the program has fast kernels for the type on phones

	Speed string `json:"-"` // Fast in words
}

// typesFor returns the types of target that plan uses, or an error if target lacks a
// type for a matrix. Every target has a type for vectors.
func typesFor(target format.Exporter, m *model.Model, plan *quantize.Plan) (used []TargetType, notes []string, err error) {
	if _, notes, err = target.Check(m); err != nil {
		return nil, nil, err
	}
	for _, e := range plan.Tensors {
		if e.Role == model.Vector {
			continue
		}
		s := e.To.InMemory() // what an export of the container stores
		if near := target.Nearest(s, e.Cols, e.Role); near != s {
			return nil, nil, fmt.Errorf("%s: %s has no type for %v in %d columns; the nearest is %v (%s)",
				e.Name, target.Format().Program, e.To, e.Cols, near, remedyFor(target, plan, e, near))
		}
		used = addType(used, target, s, e.Rows, e.Cols)
	}
	return used, notes, nil
}

// remedyFor returns the flag that gives e, for whose scheme target lacks a type, the scheme
// near: one flag for all layers if they have the same scheme and the same remedy.
func remedyFor(target format.Exporter, plan *quantize.Plan, e quantize.Entry, near qtensor.Scheme) string {
	differs := func(x quantize.Entry) bool {
		return x.Role == model.Linear && (x.To != e.To || target.Nearest(x.To.InMemory(), x.Cols, x.Role) != near)
	}
	if !slices.ContainsFunc(plan.Tensors, differs) {
		return "--scheme " + near.String()
	}
	return fmt.Sprintf("--set '%s=%v'", e.Name, near)
}

// checkNames returns an error if a scheme of the recipe is another program's name for
// something that none of the schemes is exactly. It suggests one that the target has a type for.
func (q *quantization) checkNames() error {
	if q.target == nil {
		return nil
	}
	const cols = 4096 // every group divides it
	nearest := func(s Scheme) Scheme { return q.target.Nearest(s, cols, model.Linear) }
	texts := []string{q.recipe.Scheme, q.recipe.Embedding, q.recipe.Head}
	for _, rule := range q.recipe.Rules {
		texts = append(texts, rule.Scheme)
	}
	for _, text := range texts {
		if err := quantize.ForeignName(text, q.target.Format().Program, nearest); err != nil {
			return err
		}
	}
	return nil
}

// addType counts a matrix in used.
func addType(used []TargetType, target format.Exporter, s qtensor.Scheme, rows, cols int) []TargetType {
	name, fast := target.Kernel(s, rows)
	for i := range used {
		if u := &used[i]; u.Type == name && u.Fast == fast {
			u.Tensors++
			u.Weights += int64(rows) * int64(cols)
			return used
		}
	}
	f := target.Format()
	speed := f.Slow
	if fast {
		speed = f.Fast
	}
	return append(used, TargetType{f.Program, name, s.String(), 1, int64(rows) * int64(cols), fast, speed})
}
