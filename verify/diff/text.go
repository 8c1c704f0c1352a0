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
	var values, schemes, floats, other int
	for i := range r.Tensors {
		switch d := &r.Tensors[i]; {
		case d.incomparable():
			other++
		case d.Changed > 0:
			values++
		case d.differs():
			schemes++
		case !d.Stored:
			floats++
		}
	}
	if r.Same {
		var how []string
		if schemes > 0 {
			how = append(how, fmt.Sprintf("%d in different schemes", schemes))
		}
		if floats > 0 {
			how = append(how, fmt.Sprintf("%d in another float type without loss", floats))
		}
		text := ""
		if how != nil {
			text = " (" + strings.Join(how, ", ") + ")"
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
	const columns = 73 // of the field and a value
	width := 0
	for _, f := range list {
		width = max(width, textwrap.Columns(shorten(f.Field, columns/2)))
	}
	for _, f := range list {
		fmt.Fprintf(b, "  %s  a  %s\n", textwrap.Pad(shorten(f.Field, columns/2), width), shorten(f.A, columns-width))
		fmt.Fprintf(b, "  %s  b  %s\n", strings.Repeat(" ", width), shorten(f.B, columns-width))
	}
}

// shorten returns v without control characters, cut to the given number of columns.
func shorten(v string, most int) string {
	if v == "" {
		return "-"
	}
	v = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, v)
	return textwrap.First(v, most, most-3)
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
