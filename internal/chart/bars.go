package chart

import (
	"fmt"
	"math"
	"strings"
)

// A BarChart draws horizontal bars. A wide one has the names to the left of the bars,
// a narrow one above them.
type BarChart struct {
	Title string
	About string // text alternative; SVG appends the bars
	Bars  []Bar
}

// A Bar has a length proportional to Value. It extends to the left of zero if Value
// is negative, and SVG omits it if Value is not finite.
type Bar struct {
	Name      string
	Text      string // the formatted value
	Value     float64
	Highlight bool
}

// Sizes of a BarChart.
const (
	barPitch, barHeight = 40, 12 // of a narrow one
	wideBarPitch        = 30
	barNames            = 310 // width of the names of a wide one
)

// SVG draws b for an HTML page. id must be unique in the page.
func (b *BarChart) SVG(id string, width int) []byte {
	d := &drawing{width: width}
	words := []string{b.About}
	d.x = axis{from: 4, to: d.right(4)}
	pitch, wide, room := barPitch, width >= Wide, 0.0
	for _, k := range b.Bars {
		words = append(words, k.Name+": "+k.Text+".")
		if math.Abs(k.Value) <= 1e100 {
			d.x.lo, d.x.hi = min(d.x.lo, k.Value), max(d.x.hi, k.Value)
		}
		room = max(room, textWidth(k.Text, fontSize))
	}
	if d.x.hi-d.x.lo < 1e-100 {
		d.x.hi = 1
	}
	if wide {
		pitch = wideBarPitch
		d.x.from, d.x.to = barNames, d.right(12+min(room, barNames))
	}
	height := max(1, len(b.Bars)) * pitch
	d.open(id, b.Title, strings.TrimSpace(strings.Join(words, " ")), height)
	for i, k := range b.Bars {
		d.bar(&k, i*pitch, wide)
	}
	zero := coord(d.x.at(0))
	if wide {
		fmt.Fprintf(d, "<path class=\"axis\" d=\"M%s 0V%d\"/>\n", zero, height)
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// bar draws k in the row that begins at y.
func (d *drawing) bar(k *Bar, y int, wide bool) {
	known := math.Abs(k.Value) <= 1e100
	var x0, x1 float64
	if known {
		x0, x1 = d.x.at(min(0, k.Value)), d.x.at(max(0, k.Value))
	}
	top := y + 19
	if wide {
		top = y + (wideBarPitch-barHeight)/2
		d.text("ink", "start", 4, float64(top+10), truncate(k.Name, fontSize, barNames-16))
		d.text("ink", "start", max(x1, d.x.from)+8, float64(top+10), k.Text)
	} else {
		d.text("ink", "start", 4, float64(y+14), truncate(k.Name, fontSize, d.right(20+textWidth(k.Text, fontSize))))
		d.text("ink", "end", d.right(4), float64(y+14), k.Text)
	}
	if !known {
		return
	}
	class := "bar"
	if k.Highlight {
		class = "bar more"
	}
	fmt.Fprintf(d, "<path class=\"%s\" d=\"M%s %dH%sv%dH%sZ\"/>\n", class, coord(x0), top, coord(max(x1, x0+1)), barHeight, coord(x0))
}
