package diff

import (
	"fmt"
	"strings"
	"unicode"

	"thimble/internal/defect"
	"thimble/internal/table"
	"thimble/internal/textwrap"
	"thimble/internal/units"
)

// listedTensors is the number of tensors that Text lists unless all is set.
const listedTensors = 20

// Text returns the report for a terminal. With all it lists every tensor, including
// the equal ones.
func Text(r *Report, all bool) string {
	var b strings.Builder
	b.WriteString(verdict(r) + "\n")
	for _, s := range []struct {
		name string
		of   *Side
	}{{"a", &r.A}, {"b", &r.B}} {
		fmt.Fprintf(&b, "  %s  %s: %s, %.2f bits per weight, %s\n", s.name, defect.Printable(s.of.Path), s.of.Format, s.of.BitsPerWeight, units.Size(s.of.Bytes))
	}
	writeFields(&b, "metadata", r.Metadata)
	writeFields(&b, "provenance (ignored)", r.Provenance)
	t := table.New("tensor", "a", "b", "bits a", "b", "NMSE", "groups")
	more := 0
	for i := range r.Tensors {
		d := &r.Tensors[i]
		switch {
		case !all && !d.differs():
		case !all && len(t.Rows) == listedTensors:
			more++
		default:
			t.Add(d.cells()...)
		}
	}
	if len(t.Rows) > 0 {
		b.WriteString("\n")
		t.Text(&b)
	}
	if more > 0 {
		fmt.Fprintf(&b, "  and %d more that differ; --all lists them\n", more)
	}
	for _, note := range r.Notes {
		fmt.Fprint(&b, "\n  * ")
		textwrap.Write(&b, note, 4, 4, 80)
	}
	return b.String()
}

// verdict returns a one-line summary of what differs.
func verdict(r *Report) string {
	var values, schemes, other int
	for i := range r.Tensors {
		switch d := &r.Tensors[i]; {
		case d.incomparable():
			other++
		case d.Changed > 0:
			values++
		case !d.Stored:
			schemes++
		}
	}
	if r.Same {
		text := ""
		if schemes > 0 {
			text = fmt.Sprintf(" (%d in different schemes)", schemes)
		}
		return fmt.Sprintf("SAME  all %d tensors have equal values%s; metadata equal", len(r.Tensors), text)
	}
	var parts []string
	add := func(n int, text string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(text, n))
		}
	}
	add(values, "%d in values")
	add(schemes, "%d only in scheme")
	add(other, "%d in shape, or missing from one model")
	text := "no tensor"
	if parts != nil {
		text = strings.Join(parts, ", ") + fmt.Sprintf(", of %d tensors", len(r.Tensors))
	}
	if values > 0 && r.NMSE.Known() {
		text += fmt.Sprintf(", NMSE %.4g", float64(r.NMSE))
	}
	if len(r.Metadata) > 0 {
		text += fmt.Sprintf("; %d metadata fields", len(r.Metadata))
	}
	return "DIFFER  " + text
}

func writeFields(b *strings.Builder, title string, list []Field) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(b, "\n  %s\n", title)
	for _, f := range list {
		fmt.Fprintf(b, "  %-13s a  %s\n  %-13s b  %s\n", shorten(f.Field), shorten(f.A), "", shorten(f.B))
	}
}

// shorten returns v without control characters, cut to fit a line of a terminal.
func shorten(v string) string {
	const most = 58
	if v == "" {
		return "-"
	}
	v = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, v)
	if runes := []rune(v); len(runes) > most {
		v = string(runes[:most-3]) + "..."
	}
	return v
}

// cells returns d's row of the table.
func (d *Tensor) cells() []string {
	cells := []string{d.Name, "-", "-", "-", "-", "-", "-"}
	for i, s := range []*Stored{d.A, d.B} {
		if s == nil {
			continue
		}
		cells[1+i], cells[3+i] = s.Scheme, fmt.Sprintf("%.2f", s.BitsPerWeight)
		if d.A != nil && d.B != nil && d.incomparable() {
			cells[1+i] = fmt.Sprintf("%d x %d", s.Rows, s.Cols)
		}
	}
	if d.incomparable() {
		return cells
	}
	if d.NMSE.Known() {
		cells[5] = fmt.Sprintf("%.4g", float64(d.NMSE))
		if d.Rotated {
			cells[5] += " *"
		}
	}
	cells[6] = fmt.Sprintf("%.1f%%", 100*float64(d.Changed)/float64(d.Groups))
	if d.Changed == 0 {
		cells[5], cells[6] = "same", ""
	}
	return cells
}
