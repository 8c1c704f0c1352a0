package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/format"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/spell"
	"thimble/quantize"
)

var forFlag = &cli.StringFlag{Name: "for", Usage: "refuse what the program `TARGET` has no type for, and say what it computes fast: " + strings.Join(targetNames(), ", ")}

func targetNames() []string {
	var names []string
	for _, e := range format.Exporters() {
		names = append(names, e.Format().Program)
	}
	return names
}

// targetOf returns the target that --for names, or nil.
func targetOf(c *cli.Context) (format.Exporter, error) {
	if !c.IsSet(forFlag.Name) {
		return nil, nil
	}
	t, err := targetNamed(c.String(forFlag.Name))
	if err != nil {
		return nil, fmt.Errorf("--for %w", err)
	}
	return t, nil
}

func targetNamed(name string) (format.Exporter, error) {
	if e, ok := format.ExporterForProgram(name); ok {
		return e, nil
	}
	return nil, fmt.Errorf("%s is not one of %s%s", defect.Printable(name), strings.Join(targetNames(), ", "), spell.Suggest(name, targetNames()))
}

// A targetType is a type of a target that a plan uses.
type targetType struct {
	Target  string `json:"target"`
	Type    string `json:"type"`
	Scheme  string `json:"scheme"`
	Tensors int    `json:"tensors"`
	Weights int64  `json:"weights"`
	Fast    bool   `json:"fast"` // it has fast kernels for phones
}

// planFor checks that every matrix of plan has a type in target and lists the
// types. Vectors have one everywhere.
func planFor(target format.Exporter, m *model.Model, plan *quantize.Plan) (used []targetType, notes []string, err error) {
	if notes, err = target.Check(m); err != nil {
		return nil, nil, err
	}
	for _, e := range plan.Tensors {
		if e.Role == model.Vector {
			continue
		}
		if near := target.Nearest(e.To, e.Cols); near != e.To {
			return nil, nil, fmt.Errorf("%s: %s has no type for %v in %d columns; the nearest is %v (--set '%s=%v')",
				e.Name, target.Format().Program, e.To, e.Cols, near, e.Name, near)
		}
		used = counted(used, target, e.To, e.Rows, e.Cols)
	}
	return used, notes, nil
}

// counted adds a matrix to the types in use.
func counted(used []targetType, target format.Exporter, s qtensor.Scheme, rows, cols int) []targetType {
	name, fast := target.Kernel(s, rows)
	for i := range used {
		if u := &used[i]; u.Type == name && u.Fast == fast {
			u.Tensors++
			u.Weights += int64(rows) * int64(cols)
			return used
		}
	}
	return append(used, targetType{target.Format().Program, name, s.String(), 1, int64(rows) * int64(cols), fast})
}

// targetText is the types as lines under the plan.
func targetText(target format.Exporter, used []targetType) string {
	var b strings.Builder
	all := int64(0)
	for _, u := range used {
		all += u.Weights
	}
	f := target.Format()
	fmt.Fprintf(&b, "for %s:\n", f.Program)
	for _, u := range used {
		speed := f.Fast
		if !u.Fast {
			speed = f.Slow
		}
		fmt.Fprintf(&b, "  %-5s %4d matrices, %5.1f%% of their weights: %s\n", u.Type, u.Tensors, 100*float64(u.Weights)/float64(all), speed)
	}
	return b.String()
}
