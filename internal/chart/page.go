package chart

import (
	"bytes"
	"fmt"
	"strings"
)

// pageStyle has the classes that only pictures in a page use. A page shows the wide
// drawing of a picture if the window has room for it, and on paper.
const pageStyle = `
.bar{fill:#0757b8}.bar.more{fill:#a40e4c}.refused{fill:#fbe3e1}.limit{stroke:#b3261e;stroke-width:2}.found{stroke:#8a4600;stroke-width:1.5;stroke-dasharray:4 3}.reach{stroke:#0757b8;stroke-width:4;stroke-linecap:round}.axis{stroke:#818b98;stroke-width:1}.value{fill:#0757b8}
.wide{display:none}
@media(min-width:58rem),print{.wide{display:block}.narrow{display:none}}
@media(prefers-color-scheme:dark){
.bar{fill:#6cb6ff}.bar.more{fill:#ff8fb5}.refused{fill:#3d1c1f}.limit{stroke:#ff8a80}.found{stroke:#f2ad6b}.reach{stroke:#6cb6ff}.axis{stroke:#6e7781}.value{fill:#6cb6ff}}
`

// Style returns the style sheet for a page with pictures. The page must not use its
// classes for anything else: "ground", "ink", "faint", "grid", "axis", "title",
// "label", "leader", "line", "s0" to "s3", "peer", "theirs", "bar", "more",
// "refused", "limit", "found", "reach", "value", "wide" and "narrow".
func Style() string { return style + pageStyle }

// Widths of the drawings of a picture: one for a laptop, one for a phone.
const (
	Wide   = 880
	Narrow = 344
)

// A Picture can be drawn at any width from Narrow up.
type Picture interface {
	SVG(id string, width int) []byte
}

// Responsive draws p twice, at the widths Wide and Narrow. The style sheet shows one
// of the two. id must be unique in the page.
func Responsive(p Picture, id string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<div class=\"wide\">%s</div>\n<div class=\"narrow\">%s</div>\n", p.SVG(id+"w", Wide), p.SVG(id+"n", Narrow))
	return b.Bytes()
}

// Sizes of the plot of a ColumnChart.
const (
	columnsHeight = 220
	columnsTop    = 28
	columnsBottom = columnsHeight - 48
)

// A ColumnChart draws vertical columns, such as a histogram. It omits values that
// are not positive and finite.
type ColumnChart struct {
	Title   string
	About   string // text alternative; SVG appends the columns
	XAxis   string
	YAxis   string
	Log     bool      // the x axis is logarithmic; a first edge of 0 is drawn near the second
	Edges   []float64 // ascending edges of the columns, one more than there are columns
	Columns []Datum
	Marks   []Mark // written below the columns, as far as there is room; nil for round numbers
}

// A Mark is text at a place of an axis. Places count from 0.
type Mark struct {
	At   int
	Text string
}

// A Datum is a value of a chart.
type Datum struct {
	Value float64
	About string // tooltip
}

// SVG draws c for an HTML page. id must be unique in the page.
func (c *ColumnChart) SVG(id string, width int) []byte {
	d := &drawing{width: width}
	d.open(id, c.Title, c.description(), columnsHeight)
	if len(c.Edges) < 2 {
		d.WriteString("</svg>\n")
		return d.Bytes()
	}
	d.x = c.axis(d.plotRight())
	most := 0.0
	for _, k := range c.Columns {
		if k.Value <= 1e100 { // false for NaN
			most = max(most, k.Value)
		}
	}
	if most < 1e-100 {
		most = 1
	}
	d.y = axis{lo: 0, hi: float64(1.05 * most), from: columnsBottom, to: columnsTop}
	d.yTicks(5)
	c.drawMarks(d)
	d.names(c.XAxis, c.YAxis, columnsHeight)
	for i, k := range c.Columns {
		if !(k.Value > 0 && k.Value <= 1e100) {
			continue
		}
		x0, x1 := d.x.at(c.edge(i)), d.x.at(c.edge(i+1))
		gap := min(4, float64(0.05*(x1-x0))) // on each side
		x0, x1 = x0+gap, x1-gap
		y := min(d.y.at(k.Value), columnsBottom-1) // every positive value is visible
		fmt.Fprintf(d, "<path class=\"bar\" d=\"M%s %dV%sH%sV%dZ\"><title>%s</title></path>\n", coord(x0), columnsBottom, coord(y), coord(x1), columnsBottom, escapeXML(k.About))
	}
	fmt.Fprintf(d, "<path class=\"axis\" d=\"M%d %dH%s\"/>\n</svg>\n", left, columnsBottom, coord(d.plotRight()))
	return d.Bytes()
}

// axis returns the x axis, which spans all edges and ends at right.
func (c *ColumnChart) axis(right float64) axis {
	a := axis{log: c.Log, from: left, to: right}
	a.lo, a.hi = a.scaled(c.edge(0)), a.scaled(c.edge(len(c.Edges)-1))
	return a
}

// edge returns the value at which edge i is drawn. On a logarithmic axis a first
// edge of 0 is drawn a little below the second.
func (c *ColumnChart) edge(i int) float64 {
	switch {
	case i > 0 || !c.Log || c.Edges[0] > 0:
		return c.Edges[i]
	case len(c.Edges) > 2:
		return c.Edges[1] * (c.Edges[1] / c.Edges[2])
	}
	return c.Edges[1] / 10
}

// drawMarks writes the marks or ticks below the columns.
func (c *ColumnChart) drawMarks(d *drawing) {
	if c.Marks != nil {
		d.drawMarks(c.Marks, columnsBottom, func(i int) float64 { return (d.x.at(c.edge(i)) + d.x.at(c.edge(i+1))) / 2 })
		return
	}
	for _, t := range d.x.ticks(d.width / tickRoom) {
		if c.edge(0) != c.Edges[0] && t.value < c.Edges[1] { // the column from 0 is not to scale
			continue
		}
		d.tickBelow(d.x.at(t.value), columnsBottom, t.text)
	}
}

// description returns the text alternative.
func (c *ColumnChart) description() string {
	parts := []string{c.About}
	for _, k := range c.Columns {
		if k.Value > 0 && k.About != "" {
			parts = append(parts, k.About+".")
		}
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// right returns the coordinate that is margin from the right edge.
func (d *drawing) right(margin float64) float64 { return float64(d.width) - margin }

// plotRight returns the right end of the plot.
func (d *drawing) plotRight() float64 { return d.right(right) }

// yTicks draws a grid line and a text at round values of the y axis.
func (d *drawing) yTicks(limit int) {
	for _, t := range d.y.ticks(limit) {
		y := d.y.at(t.value)
		fmt.Fprintf(d, "<path class=\"grid\" d=\"M%d %sH%s\"/>\n", left, coord(y), coord(d.plotRight()))
		d.text("faint", "end", left-8, y+4, t.text)
	}
}

// names writes the names of the axes: y above the plot, x below it.
func (d *drawing) names(x, y string, height int) {
	const yName = 16
	d.text("faint", "start", 0, yName, truncate(y, fontSize, d.right(8)))
	d.text("faint", "middle", (left+d.plotRight())/2, float64(height-10), truncate(x, fontSize, d.plotRight()-left))
}

// tickBelow draws a tick with text below an axis.
func (d *drawing) tickBelow(x float64, bottom int, text string) {
	fmt.Fprintf(d, "<path class=\"axis\" d=\"M%s %dv4\"/>\n", coord(x), bottom)
	d.text("faint", "middle", x, float64(bottom+18), text)
}

// drawMarks writes marks below an axis, without those that would overlap the one
// before.
func (d *drawing) drawMarks(marks []Mark, bottom int, at func(int) float64) {
	end := 0.0
	for _, m := range marks {
		x, half := at(m.At), textWidth(m.Text, fontSize)/2
		if x-half < end || x+half > d.right(0) {
			continue
		}
		end = x + half + 8
		d.tickBelow(x, bottom, m.Text)
	}
}
