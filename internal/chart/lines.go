package chart

import (
	"fmt"
	"strings"
)

// A LineChart draws values at equally spaced places, joined by a line, with a
// logarithmic y axis. A value outside 1e-100 to 1e100 interrupts the line.
type LineChart struct {
	Title     string
	About     string // text alternative
	XAxis     string
	YAxis     string
	Values    []Datum // one for each place, from 0 up
	Marks     []Mark  // written below the axis, as far as there is room
	Highlight *Mark   // a place to mark with a vertical line, or nil
	Limit     *Limit  // nil if there is none
}

// A Limit is a maximum that a chart draws as a horizontal line. It shades what is
// above.
type Limit struct {
	Value float64
	Text  string // its entry in the legend
}

// Sizes of the plot of a LineChart.
const (
	linesHeight = 250
	linesTop    = 50
	linesLegend = 36
	linesBottom = linesHeight - 48
)

// SVG draws l for an HTML page. id must be unique in the page.
func (l *LineChart) SVG(id string, width int) []byte {
	d := &drawing{width: width}
	d.open(id, l.Title, strings.TrimSpace(l.About), linesHeight)
	var values []float64
	for _, v := range l.Values {
		if inRange(v.Value) {
			values = append(values, v.Value)
		}
	}
	if l.limited() {
		values = append(values, l.Limit.Value)
	}
	if len(values) == 0 {
		values = []float64{1}
	}
	d.x = axis{lo: -0.5, hi: float64(max(1, len(l.Values))) - 0.5, from: left, to: d.plotRight()}
	d.y = newAxis(values, true, linesBottom, linesTop, yMargin, maxXTicks)
	if l.limited() {
		fmt.Fprintf(d, "<path class=\"refused\" d=\"M%d %dH%sV%sH%[1]dZ\"/>\n", left, linesTop, coord(d.plotRight()), coord(d.y.at(l.Limit.Value)))
	}
	d.yTicks(maxXTicks)
	d.names(l.XAxis, l.YAxis, linesHeight)
	d.drawMarks(l.Marks, linesBottom, func(i int) float64 { return d.x.at(float64(i)) })
	fmt.Fprintf(d, "<path class=\"axis\" d=\"M%d %dH%s\"/>\n", left, linesBottom, coord(d.plotRight()))
	l.drawLimit(d)
	if path := d.linePath(l.Values); path != "" {
		fmt.Fprintf(d, "<path class=\"line s0\" d=\"%s\"/>\n", path)
	}
	for i, v := range l.Values {
		if inRange(v.Value) {
			fmt.Fprintf(d, "<circle class=\"s0\" cx=\"%s\" cy=\"%s\" r=\"2.5\"><title>%s</title></circle>\n", coord(d.x.at(float64(i))), coord(d.y.at(v.Value)), escapeXML(v.About))
		}
	}
	if l.Highlight != nil {
		l.drawHighlight(d)
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// limited reports whether there is a limit to draw.
func (l *LineChart) limited() bool { return l.Limit != nil && inRange(l.Limit.Value) }

func (l *LineChart) drawLimit(d *drawing) {
	if !l.limited() {
		return
	}
	y := d.y.at(l.Limit.Value)
	fmt.Fprintf(d, "<path class=\"limit\" d=\"M%d %sH%s\"/>\n", left, coord(y), coord(d.plotRight()))
	fmt.Fprintf(d, "<path class=\"limit\" d=\"M%d %dh20\"/>\n", left, linesLegend-4)
	d.text("ink", "start", left+28, linesLegend, truncate(l.Limit.Text, fontSize, d.plotRight()-left-28))
}

func (l *LineChart) drawHighlight(d *drawing) {
	x := d.x.at(float64(l.Highlight.At))
	fmt.Fprintf(d, "<path class=\"found\" d=\"M%s %dV%d\"/>\n", coord(x), linesTop, linesBottom)
	anchor, beside, room := "start", 6.0, d.plotRight()-x
	if x > (left+d.plotRight())/2 {
		anchor, beside, room = "end", -6, x-left
	}
	d.text("label ink", anchor, x+beside, linesBottom-8, truncate(l.Highlight.Text, labelSize, room-6))
}

// linePath returns the path of a line, interrupted where a value is out of range.
func (d *drawing) linePath(values []Datum) string {
	var path strings.Builder
	command := 'M'
	for i, v := range values {
		if !inRange(v.Value) {
			command = 'M'
			continue
		}
		fmt.Fprintf(&path, "%c%s %s", command, coord(d.x.at(float64(i))), coord(d.y.at(v.Value)))
		command = 'L'
	}
	return path.String()
}
