package chart

import (
	"fmt"
	"strings"
)

// A LineChart draws lines over equally spaced places, with a logarithmic y axis. A
// value outside 1e-100 to 1e100 interrupts its line.
type LineChart struct {
	Title     string
	About     string // text alternative
	XAxis     string
	YAxis     string
	Lines     []Line
	Marks     []Mark // written below the axis, as far as there is room
	Highlight *Mark  // a place to mark with a vertical line, or nil
}

// A Line is a line of a LineChart.
type Line struct {
	Name   string
	Values []float64 // one for each place, from 0 up
}

// Sizes of the plot of a LineChart.
const (
	linesHeight = 270
	linesTop    = 66
	linesBottom = linesHeight - 48
)

// dashes are the stroke patterns that distinguish lines without colour.
var dashes = [seriesStyles]string{"", "6 3", "2 3", "9 3 2 3"}

// SVG draws l for an HTML page. id must be unique in the page.
func (l *LineChart) SVG(id string) []byte {
	d := &drawing{}
	d.open(id, l.Title, strings.TrimSpace(l.About), linesHeight)
	var values []float64
	places := 1
	for _, line := range l.Lines {
		places = max(places, len(line.Values))
		for _, v := range line.Values {
			if drawable(Point{X: 1, Y: v}) {
				values = append(values, v)
			}
		}
	}
	if len(values) == 0 {
		values = []float64{1}
	}
	d.x = axis{lo: -0.5, hi: float64(places) - 0.5, from: left, to: plotRight}
	d.y = newAxis(values, true, linesBottom, linesTop, yMargin)
	l.legend(d)
	d.text("faint", "start", 14, linesTop-10, truncate(l.YAxis, fontSize, width-28))
	d.text("faint", "middle", (left+plotRight)/2, linesHeight-10, truncate(l.XAxis, fontSize, width-28))
	for _, t := range d.y.ticks(maxXTicks) {
		y := d.y.at(t.value)
		fmt.Fprintf(d, "<path class=\"grid\" d=\"M%d %sH%d\"/>\n", left, coord(y), plotRight)
		d.text("faint", "end", left-6, y+4, t.text)
	}
	d.drawMarks(l.Marks, linesBottom, func(i int) float64 { return d.x.at(float64(i)) })
	for i, line := range l.Lines {
		if path := d.linePath(line.Values); path != "" {
			fmt.Fprintf(d, "<path class=\"line s%d\" stroke-dasharray=\"%s\" d=\"%s\"/>\n", i%seriesStyles, dashes[i%seriesStyles], path)
		}
	}
	fmt.Fprintf(d, "<path class=\"axis\" d=\"M%d %dH%d\"/>\n", left, linesBottom, plotRight)
	if l.Highlight != nil {
		x := d.x.at(float64(l.Highlight.At))
		fmt.Fprintf(d, "<path class=\"limit\" d=\"M%s %dV%d\"/>\n", coord(x), linesTop, linesBottom)
		anchor, beside := "start", 5.0
		if x > (left+plotRight)/2 {
			anchor, beside = "end", -5
		}
		d.text("label ink", anchor, x+beside, linesTop+10, truncate(l.Highlight.Text, labelSize, plotWidth/2))
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// linePath returns the path of a line, interrupted where a value is out of range.
func (d *drawing) linePath(values []float64) string {
	var path strings.Builder
	command := 'M'
	for i, v := range values {
		if !drawable(Point{X: 1, Y: v}) {
			command = 'M'
			continue
		}
		x, y := coord(d.x.at(float64(i))), coord(d.y.at(v))
		fmt.Fprintf(&path, "%c%s %s", command, x, y)
		if command == 'M' { // makes an isolated point visible
			path.WriteString("h.1")
		}
		command = 'L'
	}
	return path.String()
}

// legend writes the names of the lines, in several rows if one is too narrow.
func (l *LineChart) legend(d *drawing) {
	const begin = 14.0
	x, y := begin, 18.0
	for i, line := range l.Lines {
		name := truncate(line.Name, fontSize, width-60)
		w := 28 + textWidth(name, fontSize)
		if x > begin && x+w > width {
			x, y = begin, y+16
		}
		fmt.Fprintf(d, "<path class=\"line s%d\" stroke-dasharray=\"%s\" d=\"M%s %sh22\"/>\n", i%seriesStyles, dashes[i%seriesStyles], coord(x), coord(y-4))
		d.text("ink", "start", x+28, y, name)
		x += w + 14
	}
}
