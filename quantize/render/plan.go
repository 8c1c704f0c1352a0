// Package render formats plans for people.
package render

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
)

// A planLine is one line of a plan's table: the matrices of one kind and shape in all
// blocks, or all vectors.
type planLine struct {
	kind           string
	from, to       []quantize.Scheme // in the order of first use
	depth          []quantize.Scheme // the scheme in each block, in order
	rows, cols     int               // 0 for vectors
	weights, bytes int64
}

// tableWidth is the width of a plan's table in columns.
const tableWidth = 80

// Plan returns the plan as a table with one line for each kind of matrix, in the order of
// the model. A kind with several schemes shows their widths in bits, and how they change
// with depth: with a bar for each block if unicode is set, otherwise with a digit. size is
// that of the file, with its unit.
func Plan(p *quantize.Plan, unicode bool, size string) string {
	lines, from, blocks := linesOf(p)
	kind, shape, source := len("vectors"), len("shape"), 0 // widths
	for _, l := range lines {
		kind, shape = max(kind, len(l.name(blocks))), max(shape, len(l.shape()))
		if len(from) > 1 {
			source = max(source, len(" from"), 1+len(schemesText(l.from)))
		}
	}
	digits := 2
	if p.Bytes < 10e6 {
		digits = 3
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%.4g million weights in %d blocks: %s to %.2f bits per weight, %s\n\n",
		float64(p.Weights)/1e6, blocks, schemesText(from), p.BitsPerWeight(), size)
	left := fmt.Sprintf("%-*s  %*s", kind, "", shape, "shape")
	if source > 0 {
		left += fmt.Sprintf(" %*s", source-1, "from")
	}
	left += fmt.Sprintf(" %8s %6s %6s  ", "MB", "share", "bits/w")
	room := max(tableWidth-len(left)-len("3-8  "), 16) // for the bars
	mixed, each := false, (blocks+room-1)/room
	var rows strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&rows, "%-*s  %*s", kind, l.name(blocks), shape, l.shape())
		if source > 0 {
			fmt.Fprintf(&rows, " %*s", source-1, schemesText(l.from))
		}
		fmt.Fprintf(&rows, " %8.*f %5.1f%% %6.2f  ", digits, float64(l.bytes)/1e6, 100*float64(l.bytes)/float64(p.Bytes), 8*float64(l.bytes)/float64(l.weights))
		if len(l.to) == 1 || l.rows == 0 {
			rows.WriteString(schemesText(l.to) + "\n")
		} else {
			mixed = true
			rows.WriteString(l.bits() + "  " + marks(l.depth, each, unicode) + "\n")
		}
	}
	title := "scheme"
	if mixed {
		title = "scheme, bits by block"
		if each > 1 {
			title += fmt.Sprintf(" (%d each)", each)
		}
	}
	b.WriteString(left + title + "\n" + rows.String())
	if mixed {
		if unicode {
			b.WriteString("bits: ")
			for bits := 2; bits <= 8; bits++ {
				fmt.Fprintf(&b, "%s %d  ", mark(bits, true), bits)
			}
			b.WriteString(mark(floatBits, true) + " float\n")
		}
		writeShares(&b, p)
	}
	return b.String()
}

// writeShares writes the share of the weights that each scheme has, largest first.
func writeShares(b *strings.Builder, p *quantize.Plan) {
	var schemes []quantize.Scheme
	weights := map[quantize.Scheme]int64{}
	for _, e := range p.Tensors {
		if e.Role == model.Vector {
			continue
		}
		to := e.To
		to.Rate = min(to.Rate, 1) // all rates together
		if weights[to] == 0 {
			schemes = append(schemes, to)
		}
		weights[to] += int64(e.Rows) * int64(e.Cols)
	}
	slices.SortStableFunc(schemes, func(x, y quantize.Scheme) int {
		switch {
		case weights[x] > weights[y]:
			return -1
		case weights[x] < weights[y]:
			return 1
		}
		return 0
	})
	const indent = "schemes: "
	line := indent
	for i, s := range schemes {
		name := s.String()
		if s.Rate > 0 {
			name = s.InMemory().String() + " entropy coded"
		}
		text := fmt.Sprintf("%s %.1f%%", name, 100*float64(weights[s])/float64(p.Weights))
		if i < len(schemes)-1 {
			text += ", "
		}
		if len(line)+len(text) > tableWidth {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = strings.Repeat(" ", len(indent))
		}
		line += text
	}
	b.WriteString(line + "\n")
}

// linesOf returns the lines of the table, the source's schemes of matrices, and the number
// of blocks.
func linesOf(p *quantize.Plan) (lines []*planLine, from []quantize.Scheme, blocks int) {
	vectors := &planLine{kind: "vectors"}
	for _, e := range p.Tensors {
		if block, _, ok := model.SplitName(e.Name); ok {
			blocks = max(blocks, block+1)
		}
		l := vectors
		if e.Role != model.Vector {
			from = with(from, e.From)
			kind := e.Kind()
			i := slices.IndexFunc(lines, func(l *planLine) bool { return l.kind == kind && l.rows == e.Rows && l.cols == e.Cols })
			if i < 0 {
				i = len(lines)
				lines = append(lines, &planLine{kind: kind, rows: e.Rows, cols: e.Cols})
			}
			l = lines[i]
		}
		l.from, l.to, l.depth = with(l.from, e.From), with(l.to, e.To), append(l.depth, e.To)
		l.weights += int64(e.Rows) * int64(e.Cols)
		l.bytes += e.Bytes
	}
	if len(vectors.depth) > 0 {
		lines = append(lines, vectors)
	}
	return lines, from, blocks
}

// with returns list with s, which it has at most once.
func with(list []quantize.Scheme, s quantize.Scheme) []quantize.Scheme {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// name returns the kind of l's matrices, with their number if that is neither 1 nor the
// number of blocks.
func (l *planLine) name(blocks int) string {
	if n := len(l.depth); l.rows > 0 && n != 1 && n != blocks {
		return fmt.Sprintf("%d x %s", n, l.kind)
	}
	return l.kind
}

func (l *planLine) shape() string {
	if l.rows == 0 {
		return ""
	}
	return fmt.Sprintf("%d x %d", l.rows, l.cols)
}

// schemesText names the schemes, or returns their number if the names are long.
func schemesText(list []quantize.Scheme) string {
	var names []string
	for _, s := range list {
		names = append(names, s.String())
	}
	if text := strings.Join(names, ", "); len(names) == 1 || len(text) <= len("Q8_0, Q5_0") {
		return text
	}
	return fmt.Sprintf("%d types", len(list))
}

// floatBits is the width in bits of a mark for a float type.
const floatBits = 9

// bitsOf returns the width of s's codes in bits.
func bitsOf(s quantize.Scheme) int {
	if s.Rate > 0 {
		return int(s.BitsRate() + 0.5)
	}
	if s.Kind == qtensor.Int {
		return s.Bits
	}
	return floatBits
}

// bits returns the range of l's widths, in three columns.
func (l *planLine) bits() string {
	least, most := floatBits, 0
	for _, s := range l.to {
		least, most = min(least, bitsOf(s)), max(most, bitsOf(s))
	}
	name := func(bits int) string {
		if bits == floatBits {
			return "f"
		}
		return fmt.Sprint(bits)
	}
	if least == most {
		return name(least) + "  "
	}
	return name(least) + "-" + name(most)
}

// mark returns the mark of a width in bits.
func mark(bits int, unicode bool) string {
	switch {
	case unicode:
		return string([]rune("▁▂▃▄▅▆▇█")[min(max(bits-2, 0), 7)])
	case bits == floatBits:
		return "f"
	}
	return fmt.Sprint(bits)
}

// marks returns the mean width of each run of blocks of the given length as a mark.
func marks(depth []quantize.Scheme, each int, unicode bool) string {
	var b strings.Builder
	for run := range slices.Chunk(depth, each) {
		sum := 0
		for _, s := range run {
			sum += bitsOf(s)
		}
		b.WriteString(mark((2*sum+len(run))/(2*len(run)), unicode))
	}
	return b.String()
}
