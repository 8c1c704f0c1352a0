package chart

import (
	"fmt"
	"strings"
)

// pageStyle is what pictures in a page have beyond those of a Chart.
const pageStyle = `
.bar{fill:#0757b8}.bar.more{fill:#a40e4c}.refused{fill:#f6d5d3}.limit{stroke:#b3261e;stroke-width:2}.reach{stroke:#0757b8;stroke-width:3;stroke-linecap:round}.axis{stroke:#818b98;stroke-width:1}.value{fill:#0757b8}
@media(prefers-color-scheme:dark){
.bar{fill:#6cb6ff}.bar.more{fill:#ff8fb5}.refused{fill:#4d2225}.limit{stroke:#ff8a80}.reach{stroke:#6cb6ff}.axis{stroke:#6e7781}.value{fill:#6cb6ff}}
`

// Style is the style sheet of a page with pictures in it. Its classes are
// "ground", "ink", "faint", "grid", "axis", "title", "label", "leader", "line",
// "s0" to "s3", "peer", "theirs", "bar", "more", "refused", "limit", "reach" and
// "value", which the page does not use for anything else.
func Style() string { return style + pageStyle }

// Of the plot in a picture of Columns.
const (
	columnsHeight = 220
	columnsTop    = 28
	columnsBottom = columnsHeight - 48
)

// Columns stand side by side on an axis, each as high as its value. Those that
// are not positive and finite have no height.
type Columns struct {
	Title string
	About string // in words, for those who do not see them; the columns follow by themselves
	XAxis string
	YAxis string
	Log   bool      // the axis below is logarithmic; a first edge of 0 is drawn near the second
	Edges []float64 // of the columns, one more than there are, ascending
	Of    []Column
	Marks []Mark // what is written below columns in place of round numbers, as far as there is room
}

// A Mark is a place, counted from 0, and what is written there.
type Mark struct {
	At   int
	Text string
}

// A Column is one of Columns.
type Column struct {
	Value float64
	About string // shown when pointed at
}

// SVG draws c for a page, in which no other picture has this id.
func (c *Columns) SVG(id string) []byte {
	d := &drawing{}
	d.begin(id, c.Title, c.words(), columnsHeight)
	if len(c.Edges) < 2 {
		d.WriteString("</svg>\n")
		return d.Bytes()
	}
	d.x = c.axis()
	most := 0.0
	for _, k := range c.Of {
		if k.Value <= 1e100 { // which not a number is not
			most = max(most, k.Value)
		}
	}
	if most < 1e-100 {
		most = 1
	}
	d.y = axis{lo: 0, hi: float64(1.05 * most), from: columnsBottom, to: columnsTop}
	for _, t := range d.y.ticks(5) {
		y := d.y.at(t.value)
		fmt.Fprintf(d, "<path class=\"grid\" d=\"M%d %sH%d\"/>\n", left, number(y), plotRight)
		d.text("faint", "end", left-6, y+4, t.text)
	}
	c.marks(d)
	d.text("faint", "start", 14, 16, fitted(c.YAxis, fontSize, width-28))
	d.text("faint", "middle", (left+plotRight)/2, columnsHeight-10, fitted(c.XAxis, fontSize, width-28))
	for i, k := range c.Of {
		if !(k.Value > 0 && k.Value <= 1e100) {
			continue
		}
		x0, x1 := d.x.at(c.edge(i)), d.x.at(c.edge(i+1))
		gap := min(4, float64(0.05*(x1-x0))) // at both sides
		x0, x1 = x0+gap, x1-gap
		y := min(d.y.at(k.Value), columnsBottom-1) // what is there is seen
		fmt.Fprintf(d, "<path class=\"bar\" d=\"M%s %dV%sH%sV%dZ\"><title>%s</title></path>\n", number(x0), columnsBottom, number(y), number(x1), columnsBottom, escaped(k.About))
	}
	fmt.Fprintf(d, "<path class=\"axis\" d=\"M%d %dH%d\"/>\n</svg>\n", left, columnsBottom, plotRight)
	return d.Bytes()
}

// axis is the one below, over all edges.
func (c *Columns) axis() axis {
	a := axis{log: c.Log, from: left, to: plotRight}
	a.lo, a.hi = a.scaled(c.edge(0)), a.scaled(c.edge(len(c.Edges)-1))
	return a
}

// edge is where an edge is drawn.
func (c *Columns) edge(i int) float64 {
	switch {
	case i > 0 || !c.Log || c.Edges[0] > 0:
		return c.Edges[i]
	case len(c.Edges) > 2:
		return c.Edges[1] * (c.Edges[1] / c.Edges[2])
	}
	return c.Edges[1] / 10
}

// marks writes what is below the columns.
func (c *Columns) marks(d *drawing) {
	if c.Marks != nil {
		d.marks(c.Marks, columnsBottom, func(i int) float64 { return (d.x.at(c.edge(i)) + d.x.at(c.edge(i+1))) / 2 })
		return
	}
	for _, t := range d.x.ticks(mostXTicks) {
		if c.edge(0) != c.Edges[0] && t.value < c.Edges[1] { // it would name what is below
			continue
		}
		d.below(d.x.at(t.value), columnsBottom, t.text)
	}
}

// words says what c shows.
func (c *Columns) words() string {
	parts := []string{c.About}
	for _, k := range c.Of {
		if k.Value > 0 && k.About != "" {
			parts = append(parts, k.About+".")
		}
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// below writes a text below an axis, with a tick.
func (d *drawing) below(x float64, bottom int, text string) {
	fmt.Fprintf(d, "<path class=\"axis\" d=\"M%s %dv4\"/>\n", number(x), bottom)
	d.text("faint", "middle", x, float64(bottom+16), text)
}

// marks writes those that do not run into the one before.
func (d *drawing) marks(marks []Mark, bottom int, at func(int) float64) {
	end := 0.0
	for _, m := range marks {
		x, half := at(m.At), textWidth(m.Text, fontSize)/2
		if x-half < end || x+half > width {
			continue
		}
		end = x + half + 8
		d.below(x, bottom, m.Text)
	}
}
