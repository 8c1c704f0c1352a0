package chart

import (
	"fmt"
	"strings"
)

// Lines go from place to place, each place one step to the right of the one
// before, at heights on a logarithmic axis. Where a value is not from 1e-100 to
// 1e100 a line is broken.
type Lines struct {
	Title string
	About string // in words, for those who do not see them
	XAxis string
	YAxis string
	Of    []Line
	Marks []Mark // what is written below, as far as there is room
	Loud  *Mark  // a place to look at, nil for none
}

// A Line is one of Lines.
type Line struct {
	Name   string
	Values []float64
}

// Of the plot in a picture of Lines.
const (
	linesHeight = 270
	linesTop    = 66
	linesBottom = linesHeight - 48
)

// dashes tell lines apart without colour.
var dashes = [kinds]string{"", "6 3", "2 3", "9 3 2 3"}

// SVG draws l for a page, in which no other picture has this id.
func (l *Lines) SVG(id string) []byte {
	d := &drawing{}
	d.begin(id, l.Title, strings.TrimSpace(l.About), linesHeight)
	var values []float64
	places := 1
	for _, line := range l.Of {
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
	d.y = axisOf(values, true, linesBottom, linesTop, roomAboveTop)
	l.legend(d)
	d.text("faint", "start", 14, linesTop-10, fitted(l.YAxis, fontSize, width-28))
	d.text("faint", "middle", (left+plotRight)/2, linesHeight-10, fitted(l.XAxis, fontSize, width-28))
	for _, t := range d.y.ticks(mostXTicks) {
		y := d.y.at(t.value)
		fmt.Fprintf(d, "<path class=\"grid\" d=\"M%d %sH%d\"/>\n", left, number(y), plotRight)
		d.text("faint", "end", left-6, y+4, t.text)
	}
	d.marks(l.Marks, linesBottom, func(i int) float64 { return d.x.at(float64(i)) })
	for i, line := range l.Of {
		if path := d.broken(line.Values); path != "" {
			fmt.Fprintf(d, "<path class=\"line s%d\" stroke-dasharray=\"%s\" d=\"%s\"/>\n", i%kinds, dashes[i%kinds], path)
		}
	}
	fmt.Fprintf(d, "<path class=\"axis\" d=\"M%d %dH%d\"/>\n", left, linesBottom, plotRight)
	if l.Loud != nil {
		x := d.x.at(float64(l.Loud.At))
		fmt.Fprintf(d, "<path class=\"limit\" d=\"M%s %dV%d\"/>\n", number(x), linesTop, linesBottom)
		anchor, beside := "start", 5.0
		if x > (left+plotRight)/2 {
			anchor, beside = "end", -5
		}
		d.text("label ink", anchor, x+beside, linesTop+10, fitted(l.Loud.Text, labelSize, plotWidth/2))
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// broken is the path of a line.
func (d *drawing) broken(values []float64) string {
	var path strings.Builder
	command := 'M'
	for i, v := range values {
		if !drawable(Point{X: 1, Y: v}) {
			command = 'M'
			continue
		}
		x, y := number(d.x.at(float64(i))), number(d.y.at(v))
		fmt.Fprintf(&path, "%c%s %s", command, x, y)
		if command == 'M' { // seen even if it is alone
			path.WriteString("h.1")
		}
		command = 'L'
	}
	return path.String()
}

// legend names the lines, in two rows where they do not fit one.
func (l *Lines) legend(d *drawing) {
	const begin = 14.0
	x, y := begin, 18.0
	for i, line := range l.Of {
		name := fitted(line.Name, fontSize, width-60)
		wide := 28 + textWidth(name, fontSize)
		if x > begin && x+wide > width {
			x, y = begin, y+16
		}
		fmt.Fprintf(d, "<path class=\"line s%d\" stroke-dasharray=\"%s\" d=\"M%s %sh22\"/>\n", i%kinds, dashes[i%kinds], number(x), number(y-4))
		d.text("ink", "start", x+28, y, name)
		x += wide + 14
	}
}
