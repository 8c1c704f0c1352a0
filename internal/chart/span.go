package chart

import (
	"fmt"
	"math"
)

// A Span is a value with its confidence interval [Low, High] and its limit.
type Span struct {
	Title            string
	Low, Value, High float64
	Limit            float64
	LimitText        string  // written below the limit
	AtLeast          bool    // the limit is a minimum rather than a maximum
	From, To         float64 // range of the picture
}

// Sizes of a Span.
const (
	spanHeight = 42
	spanBottom = 24 // of what is not text
	spanMiddle = spanBottom / 2
	spanMargin = 2.0 // empty share of the width at each end, in percent
)

// SVG draws s for an HTML page. id must be unique in the page. It shades the values
// beyond the limit. Places are percentages, so the picture takes any width without
// scaling its text.
func (s *Span) SVG(id string) []byte {
	d := &drawing{}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" width="100%%" height="%d" role="img" aria-labelledby="%[2]st">`+"\n<title id=\"%[2]st\">%[3]s</title>\n",
		spanHeight, id, escapeXML(s.Title))
	d.x = axis{lo: s.From, hi: s.To, from: spanMargin, to: 100 - spanMargin}
	if all := s.Low + s.Value + s.High + s.Limit; all != all || !(s.To > s.From) || math.IsInf(s.To-s.From, 0) {
		d.WriteString("</svg>\n")
		return d.Bytes()
	}
	at := func(v float64) float64 { return d.x.at(min(max(v, s.From), s.To)) }
	limit := at(s.Limit)
	from, to := limit, 100.0
	if s.AtLeast {
		from, to = 0, limit
	}
	fmt.Fprintf(d, "<rect class=\"refused\" x=\"%s%%\" y=\"2\" width=\"%s%%\" height=\"%d\"/>\n", coord(from), coord(to-from), spanBottom-4)
	d.rule("axis", 0, 100)
	if s.Low < s.High {
		d.rule("reach", at(s.Low), at(s.High))
	}
	fmt.Fprintf(d, "<line class=\"limit\" x1=\"%s%%\" y1=\"2\" x2=\"%[1]s%%\" y2=\"%d\"/>\n", coord(limit), spanBottom-2)
	fmt.Fprintf(d, "<circle class=\"value\" cx=\"%s%%\" cy=\"%d\" r=\"5\"/>\n", coord(at(s.Value)), spanMiddle)
	anchor := "middle"
	switch { // the text stays in a picture of 200 pixels
	case limit < 20:
		anchor = "start"
	case limit > 80:
		anchor = "end"
	}
	fmt.Fprintf(d, "<text class=\"faint\" text-anchor=\"%s\" x=\"%s%%\" y=\"%d\">%s</text>\n</svg>\n", anchor, coord(limit), spanHeight-5, escapeXML(s.LimitText))
	return d.Bytes()
}

// rule draws a horizontal line in the middle of a Span, in percent of its width.
func (d *drawing) rule(class string, from, to float64) {
	fmt.Fprintf(d, "<line class=\"%s\" x1=\"%s%%\" y1=\"%d\" x2=\"%s%%\" y2=\"%[3]d\"/>\n", class, coord(from), spanMiddle, coord(to))
}
