// Package text formats the results of operations for a terminal.
package text

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"thimble"
	"thimble/cmd/thimble/internal/terminal"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/textwrap"
	"thimble/internal/units"
)

// shownSources is the number of source files that inspect lists, so that a checkpoint in
// many shards still fits one screen.
const shownSources = 4

// Inspection formats r for a terminal, in one screen. If listed is set, it lists every
// tensor.
func Inspection(r *thimble.Inspection, listed bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", defect.Printable(r.Path), r.Format)
	if r.Container != nil {
		fmt.Fprintf(&b, " version %d, %s", r.Container.Version, units.Size(r.Container.Bytes))
	}
	if r.Container != nil && r.Container.Checked {
		b.WriteString(", every digest verified")
	}
	size, memory := units.Size(r.FileBytes()), ""
	if r.Coded() {
		size, memory = size+" of the file", fmt.Sprintf(", entropy coded; %s in memory", units.Size(r.Bytes))
		if r.Container.Checked {
			memory += fmt.Sprintf(", decoded in %.2f s", r.Container.DecodeSeconds)
		}
	}
	fmt.Fprintf(&b, "\n%s, %.2fM weights in %s, %.2f bits per weight%s\n\n", defect.Printable(r.Provenance.Architecture),
		float64(r.Weights)/1e6, size, 8*float64(r.FileBytes())/float64(r.Weights), memory)
	for _, row := range slices.Concat(specRows(r), originRows(r)) {
		if row[0] == "from" || row[0] == "" { // columns
			fmt.Fprintf(&b, "  %-13s %s\n", row[0], row[1])
			continue
		}
		fmt.Fprintf(&b, "  %-13s ", row[0])
		textwrap.Write(&b, row[1], 16, 16, textwrap.TerminalWidth)
	}
	b.WriteString("\n")
	if listed {
		listTensors(&b, r)
	} else {
		sumTensors(&b, r)
	}
	return b.String()
}

// specRows returns a row for each fact about the computation and the tokenizer.
func specRows(r *thimble.Inspection) (rows [][2]string) {
	s := &r.Spec
	row := func(name, format string, args ...any) {
		rows = append(rows, [2]string{name, fmt.Sprintf(format, args...)})
	}
	row("layers", "%d blocks%s, width %d, feed-forward %d", s.Blocks, sharing(s), s.Hidden, s.FFN)
	row("attention", "%d heads of %d, %d key-value head%s, context %d", s.Heads, s.HeadDim, s.KVHeads, plural(s.KVHeads), s.Context)
	if notes := s.Notes(); notes != nil {
		row("features", "%s", strings.Join(notes, ", "))
	}
	row("rope", "%s", ropeText(s.Rope))
	row("vocabulary", "%d%s, bos %d, eos %v", s.Vocab, tied(s), s.BOS, s.EOS)
	row("tokenizer", "%s", r.Tokenizer)
	if r.Generation != (model.Generation{}) {
		row("sampling", "%s", r.Generation)
	}
	for _, n := range r.Notes {
		row("note", "%s", terminal.OneLine(n))
	}
	return rows
}

// originRows returns a row for each fact about the model's origin.
func originRows(r *thimble.Inspection) (rows [][2]string) {
	p := &r.Provenance
	row := func(name, format string, args ...any) {
		rows = append(rows, [2]string{name, fmt.Sprintf(format, args...)})
	}
	if r.Container != nil {
		row("header sha256", "%v", r.Container.HeaderSHA256)
		if !r.Container.Checked {
			row("checked", "the header; --check compares every tensor's digest")
		}
	}
	if s := r.Signature; s != nil {
		row("signed by", "%s", strings.Join(slices.DeleteFunc([]string{defect.Printable(s.Principals), defect.Printable(s.Comment), s.Key}, func(text string) bool { return text == "" }), ", "))
	}
	if p.Tool != "" {
		row("made by", "%s", defect.Printable(p.Tool))
	}
	if text := r.RecipeSummary(); text != "" {
		row("recipe", "%s; --recipe prints it", text)
	}
	if p.Reordered {
		row("channels", "reordered for groups")
	}
	for _, o := range p.Overrides {
		row("override", "%s", defect.Printable(o))
	}
	size := 0
	for _, s := range p.Sources {
		size = max(size, len(units.Size(s.Bytes)))
	}
	for i, s := range p.Sources {
		if i == shownSources && len(p.Sources) > shownSources+1 {
			row("", "and %d more files; --json lists them", len(p.Sources)-shownSources)
			break
		}
		row([...]string{"from", ""}[min(i, 1)], "%s  %*s  %s", s.SHA256[:16], size, units.Size(s.Bytes), defect.Printable(s.Name))
	}
	if r.Container == nil {
		return rows
	}
	for i, g := range r.Container.Gates {
		limit := fmt.Sprintf("%s %g", g.Direction(), g.Limit)
		if g.Direction() == "" { // an old file that does not record the operator
			limit = fmt.Sprintf("at its limit of %g", g.Limit)
		}
		row([...]string{"passed", ""}[min(i, 1)], "%s %.4g %s, against %x", defect.Printable(g.Metric), g.Value, limit, g.Against[:8])
	}
	return rows
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// listTensors writes a line for each tensor.
func listTensors(b *strings.Builder, r *thimble.Inspection) {
	name, shape := len("tensor"), len("shape") // widths
	for _, t := range r.Tensors {
		name, shape = max(name, len(t.Name)), max(shape, len(fmt.Sprintf("%d x %d", t.Rows, t.Cols)))
	}
	title, memory := "bytes", func(*thimble.InspectedTensor) string { return "" }
	if r.Coded() {
		title = fmt.Sprintf("%12s %12s", "file bytes", "in memory")
		memory = func(t *thimble.InspectedTensor) string { return fmt.Sprintf(" %12d", t.Bytes) }
	}
	fmt.Fprintf(b, "  %-*s  %-9s  %-14s  %*s %12s\n", name, "tensor", "role", "scheme", shape, "shape", title)
	for i := range r.Tensors {
		t := &r.Tensors[i]
		fmt.Fprintf(b, "  %-*s  %-9s  %-14s  %*s %12d%s\n", name, t.Name, t.Role, t.Scheme, shape, fmt.Sprintf("%d x %d", t.Rows, t.Cols), fileBytes(t), memory(t))
	}
}

// fileBytes returns the bytes that t takes in the file.
func fileBytes(t *thimble.InspectedTensor) int64 { return cmp.Or(t.FileBytes, t.Bytes) }

// A tensorGroup has the tensors of one role and scheme.
type tensorGroup struct {
	role, scheme  string
	order, count  int
	weights       int64
	bytes, memory int64 // in the file, in memory
}

// tensorGroups returns the groups: roles in the order of the model, the most bytes first.
func tensorGroups(r *thimble.Inspection) (groups []*tensorGroup) {
	roles := map[string]int{}
	for i := range r.Tensors {
		t := &r.Tensors[i]
		if _, ok := roles[t.Role]; !ok {
			roles[t.Role] = len(roles)
		}
		i := slices.IndexFunc(groups, func(g *tensorGroup) bool { return g.role == t.Role && g.scheme == t.Scheme })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &tensorGroup{role: t.Role, scheme: t.Scheme, order: roles[t.Role]})
		}
		g := groups[i]
		g.count++
		g.weights += int64(t.Rows) * int64(t.Cols)
		g.bytes += fileBytes(t)
		g.memory += t.Bytes
	}
	slices.SortStableFunc(groups, func(x, y *tensorGroup) int {
		return cmp.Or(cmp.Compare(x.order, y.order), cmp.Compare(y.bytes, x.bytes))
	})
	return groups
}

// sumTensors writes a line for each combination of role and scheme.
func sumTensors(b *strings.Builder, r *thimble.Inspection) {
	groups, all := tensorGroups(r), r.Bytes
	size, title, memory := "MB", "", func(*tensorGroup) string { return "" }
	if r.Coded() {
		all = r.Container.TensorBytes
		size, title = "MB in file", "  MB in memory"
		memory = func(g *tensorGroup) string { return fmt.Sprintf("  %12.3f", float64(g.memory)/1e6) }
	}
	fmt.Fprintf(b, "  %7s  %-9s  %-14s %6s %10s %6s%s\n", "tensors", "role", "scheme", "bits/w", size, "share", title)
	for _, g := range groups {
		fmt.Fprintf(b, "  %7d  %-9s  %-14s %6.2f %10.3f %5.1f%%%s\n", g.count, g.role, g.scheme,
			8*float64(g.bytes)/float64(g.weights), float64(g.bytes)/1e6, 100*float64(g.bytes)/float64(all), memory(g))
	}
}

func sharing(s *model.Spec) string {
	if !s.Shared() {
		return ""
	}
	return fmt.Sprintf(" run as %d steps", len(s.Schedule))
}

func tied(s *model.Spec) string {
	if s.Tied {
		return ", embedding tied to the head and stored once"
	}
	return ""
}

func ropeText(r model.Rope) string {
	text := fmt.Sprintf("base %g", r.Base)
	switch r.Scaling {
	case model.RopePlain:
	case model.RopeLinear:
		text += fmt.Sprintf(", linear scaling by %g", r.Factor)
	case model.RopeFactors:
		text += ", each frequency with its own factor"
	default:
		text += fmt.Sprintf(", %s scaling by %g from %d positions", r.Scaling, r.Factor, r.Original)
	}
	if r.Scale != 0 && r.Scale != 1 {
		text += fmt.Sprintf(", rotated values scaled by %.4g", r.Scale)
	}
	return text
}
