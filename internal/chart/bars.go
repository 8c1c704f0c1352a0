package chart

import (
	"fmt"
	"math"
	"strings"
)

// Bars lie under each other, each below its name. Those that are not finite have
// no length.
type Bars struct {
	Title string
	About string // in words, for those who do not see them; the bars follow by themselves
	Of    []Bar
}

// A Bar is as long as its value, to the left of the others' beginning where it is
// negative.
type Bar struct {
	Name  string
	Text  string // the value in words, at the other side
	Value float64
	Loud  bool // it is what to look at
}

// Of the picture of Bars.
const barStep, barHigh = 40, 12

// SVG draws b for a page, in which no other picture has this id.
func (b *Bars) SVG(id string) []byte {
	d := &drawing{}
	words := []string{b.About}
	d.x = axis{from: 4, to: width - 4}
	for _, k := range b.Of {
		words = append(words, k.Name+": "+k.Text+".")
		if math.Abs(k.Value) <= 1e100 {
			d.x.lo, d.x.hi = min(d.x.lo, k.Value), max(d.x.hi, k.Value)
		}
	}
	if d.x.hi-d.x.lo < 1e-100 {
		d.x.hi = 1
	}
	d.begin(id, b.Title, strings.TrimSpace(strings.Join(words, " ")), max(1, len(b.Of))*barStep)
	for i, k := range b.Of {
		y := i * barStep
		d.text("ink", "start", 4, float64(y+14), fitted(k.Name, fontSize, width-20-textWidth(k.Text, fontSize)))
		d.text("ink", "end", width-4, float64(y+14), k.Text)
		if !(math.Abs(k.Value) <= 1e100) {
			continue
		}
		class := "bar"
		if k.Loud {
			class = "bar more"
		}
		x0, x1 := d.x.at(min(0, k.Value)), d.x.at(max(0, k.Value))
		fmt.Fprintf(d, "<path class=\"%s\" d=\"M%s %dH%sv%dH%sZ\"/>\n", class, number(x0), y+19, number(max(x1, x0+1)), barHigh, number(x0))
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// A Span is one figure with the interval it is known to, and its limit.
type Span struct {
	Title            string
	Low, Value, High float64
	Limit            float64
	AtLeast          bool    // the figure is to be the limit or more; else the limit or less
	From, To         float64 // what is in the picture
}

// Of the picture of a Span.
const spanWidth, spanHeight = 200, 24

// SVG draws s for a page, in which no other picture has this id. What its limit
// refuses is shaded.
func (s *Span) SVG(id string) []byte {
	d := &drawing{}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="%[3]st">`+"\n<title id=\"%[3]st\">%[4]s</title>\n",
		spanWidth, spanHeight, id, escaped(s.Title))
	d.x = axis{lo: s.From, hi: s.To, from: 6, to: spanWidth - 6}
	if all := s.Low + s.Value + s.High + s.Limit; all != all || !(s.To > s.From) || math.IsInf(s.To-s.From, 0) {
		d.WriteString("</svg>\n")
		return d.Bytes()
	}
	at := func(v float64) string { return number(d.x.at(min(max(v, s.From), s.To))) }
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
