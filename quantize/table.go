package quantize

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A planLine is one line of a plan's table: the tensors of one kind and shape with the
// same schemes or, for a kind with many schemes, all of them.
type planLine struct {
	kind           string
	from           Scheme
	to             []Scheme // in the order of first use
	count          int
	rows, cols     int
	weights, bytes int64
}

// mostLines is the largest number of schemes of a kind that get a line each.
const mostLines = 3

// String returns the plan as a table with one line per kind of tensor and scheme, in the
// order of first use. A kind with more than a few schemes gets one line, and below the
// table a line with one digit for the bits of each block.
func (p *Plan) String() string {
	lines, mixed := p.lines()
	from, to := len("from"), len("to") // widths
	for _, l := range lines {
		from, to = max(from, len(l.from.String())), max(to, len(l.target()))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-18s %13s  %-*s  %-*s %6s %9s %6s\n", "tensors", "shape", from, "from", to, "to", "bits/w", "MB", "share")
	for _, l := range lines {
		name := l.kind
		if l.count > 1 {
			name = fmt.Sprintf("%d x %s", l.count, l.kind)
		}
		fmt.Fprintf(&b, "%-18s %13s  %-*s  %-*s %6.2f %9.3f %5.1f%%\n", name, fmt.Sprintf("%d x %d", l.rows, l.cols), from, l.from, to, l.target(),
			8*float64(l.bytes)/float64(l.weights), float64(l.bytes)/1e6, 100*float64(l.bytes)/float64(p.Bytes))
	}
	fmt.Fprintf(&b, "%-32s  %-*s  %-*s %6.2f %9.3f\n", fmt.Sprintf("all %d weights", p.Weights), from, "", to, "", p.BitsPerWeight(), float64(p.Bytes)/1e6)
	for _, kind := range mixed {
		fmt.Fprintf(&b, "bits of %-9s %s\n", kind, p.digits(kind))
	}
	return b.String()
}

// lines groups the tensors; mixed lists the kinds whose lines were joined.
func (p *Plan) lines() (lines []*planLine, mixed []string) {
	schemes := map[string][]Scheme{}
	for _, e := range p.Tensors {
		if kind := kindOf(e.Slot); !slices.Contains(schemes[kind], e.To) {
			schemes[kind] = append(schemes[kind], e.To)
		}
	}
	for _, e := range p.Tensors {
		kind := kindOf(e.Slot)
		joined := len(schemes[kind]) > mostLines
		i := slices.IndexFunc(lines, func(l *planLine) bool {
			return l.kind == kind && l.from == e.From && l.rows == e.Rows && l.cols == e.Cols && (joined || l.to[0] == e.To)
		})
		if i < 0 {
			i = len(lines)
			lines = append(lines, &planLine{kind: kind, from: e.From, rows: e.Rows, cols: e.Cols})
			if joined && !slices.Contains(mixed, kind) {
				mixed = append(mixed, kind)
			}
		}
		l := lines[i]
		if !slices.Contains(l.to, e.To) {
			l.to = append(l.to, e.To)
		}
		l.count++
		l.weights += int64(e.Rows) * int64(e.Cols)
		l.bytes += e.Bytes
	}
	return lines, mixed
}

// target returns the scheme of l, or the number of its schemes.
func (l *planLine) target() string {
	if len(l.to) > 1 {
		return fmt.Sprintf("%d schemes", len(l.to))
	}
	return l.to[0].String()
}

// digits returns the width of a kind's codes in each block, "-" for floats.
func (p *Plan) digits(kind string) string {
	var b strings.Builder
	for _, e := range p.Tensors {
		switch {
		case kindOf(e.Slot) != kind:
		case e.To.Kind == qtensor.Int:
			fmt.Fprint(&b, e.To.Bits)
		default:
			b.WriteByte('-')
		}
	}
	return b.String()
}

// kindOf returns a slot's name without its block.
func kindOf(s Slot) string {
	if _, kind, ok := model.SplitName(s.Name); ok {
		return kind
	}
	return s.Name
}
