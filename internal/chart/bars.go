package chart

import (
	"fmt"
	"math"
	"strings"
)

// A BarChart draws horizontal bars, each below its name.
type BarChart struct {
	Title string
	About string // text alternative; SVG appends the bars
	Bars  []Bar
}

// A Bar has a length proportional to Value. It extends to the left of zero if Value
// is negative, and SVG omits it if Value is not finite.
type Bar struct {
	Name      string
	Text      string // the formatted value, at the right end
	Value     float64
	Highlight bool
}

// Sizes of a BarChart.
const barPitch, barHeight = 40, 12

// SVG draws b for an HTML page. id must be unique in the page.
func (b *BarChart) SVG(id string) []byte {
	d := &drawing{}
	words := []string{b.About}
	d.x = axis{from: 4, to: width - 4}
	for _, k := range b.Bars {
		words = append(words, k.Name+": "+k.Text+".")
		if math.Abs(k.Value) <= 1e100 {
			d.x.lo, d.x.hi = min(d.x.lo, k.Value), max(d.x.hi, k.Value)
		}
	}
	if d.x.hi-d.x.lo < 1e-100 {
		d.x.hi = 1
	}
	d.open(id, b.Title, strings.TrimSpace(strings.Join(words, " ")), max(1, len(b.Bars))*barPitch)
	for i, k := range b.Bars {
		y := i * barPitch
		d.text("ink", "start", 4, float64(y+14), truncate(k.Name, fontSize, width-20-textWidth(k.Text, fontSize)))
		d.text("ink", "end", width-4, float64(y+14), k.Text)
		if !(math.Abs(k.Value) <= 1e100) {
			continue
		}
		class := "bar"
		if k.Highlight {
			class = "bar more"
		}
		x0, x1 := d.x.at(min(0, k.Value)), d.x.at(max(0, k.Value))
		fmt.Fprintf(d, "<path class=\"%s\" d=\"M%s %dH%sv%dH%sZ\"/>\n", class, coord(x0), y+19, coord(max(x1, x0+1)), barHeight, coord(x0))
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// A Span is a value with its confidence interval [Low, High] and its limit.
type Span struct {
	Title            string
	Low, Value, High float64
	Limit            float64
	AtLeast          bool    // the limit is a minimum rather than a maximum
	From, To         float64 // range of the picture
}

// Sizes of a Span.
const spanWidth, spanHeight = 200, 24

// SVG draws s for an HTML page. id must be unique in the page. It shades the values
// beyond the limit.
func (s *Span) SVG(id string) []byte {
	d := &drawing{}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="%[3]st">`+"\n<title id=\"%[3]st\">%[4]s</title>\n",
		spanWidth, spanHeight, id, escapeXML(s.Title))
	d.x = axis{lo: s.From, hi: s.To, from: 6, to: spanWidth - 6}
	if all := s.Low + s.Value + s.High + s.Limit; all != all || !(s.To > s.From) || math.IsInf(s.To-s.From, 0) {
		d.WriteString("</svg>\n")
		return d.Bytes()
	}
	at := func(v float64) string { return coord(d.x.at(min(max(v, s.From), s.To))) }
	const middle = spanHeight / 2
	if s.AtLeast {
		fmt.Fprintf(d, "<path class=\"refused\" d=\"M0 2H%sV%dH0Z\"/>\n", at(s.Limit), spanHeight-2)
	} else {
		fmt.Fprintf(d, "<path class=\"refused\" d=\"M%d 2H%sV%dH%[1]dZ\"/>\n", spanWidth, at(s.Limit), spanHeight-2)
	}
	fmt.Fprintf(d, "<path class=\"axis\" d=\"M0 %dH%d\"/>\n<path class=\"limit\" d=\"M%s 2V%d\"/>\n", middle, spanWidth, at(s.Limit), spanHeight-2)
	if s.Low < s.High {
		fmt.Fprintf(d, "<path class=\"reach\" d=\"M%s %dH%s\"/>\n", at(s.Low), middle, at(s.High))
	}
	fmt.Fprintf(d, "<circle class=\"value\" cx=\"%s\" cy=\"%d\" r=\"4.5\"/>\n</svg>\n", at(s.Value), middle)
	return d.Bytes()
}
