package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	labelSize = 11
	titleSize = 14
	kinds     = 4   // of marks for one's own series
	scale     = 1.6 // of the picture where there is room
)

// style names the parts' colours in both schemes. Every text has 4.5 times the
// contrast to its ground that WCAG 2.2 asks for.
const style = `
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
.title{font-size:14px;font-weight:600}.label{font-size:11px;paint-order:stroke;stroke-width:3px;stroke-linejoin:round}
.line{fill:none;stroke-width:2}.grid,.leader{stroke-width:1}.theirs{stroke-width:1.6}
.ground{fill:#fff}.label,.theirs{stroke:#fff}.ink{fill:#1f2328}.faint{fill:#59636e}.grid{stroke:#e3e7eb}.leader{stroke:#818b98}
.s0{fill:#0757b8}.s1{fill:#7a3db8}.s2{fill:#17724a}.s3{fill:#a40e4c}.line.s0{stroke:#0757b8}.line.s1{stroke:#7a3db8}.line.s2{stroke:#17724a}.line.s3{stroke:#a40e4c}
.line{fill:none}.peer{fill:#8a4600}.theirs{fill:#fff;stroke:#b35c00}
@media(prefers-color-scheme:dark){
.ground{fill:#0d1117}.label{stroke:#0d1117}.ink{fill:#e6edf3}.faint{fill:#9aa4af}.grid{stroke:#262c35}.leader{stroke:#6e7781}
.s0{fill:#6cb6ff}.s1{fill:#c9a2ff}.s2{fill:#56d09a}.s3{fill:#ff8fb5}.line.s0{stroke:#6cb6ff}.line.s1{stroke:#c9a2ff}.line.s2{stroke:#56d09a}.line.s3{stroke:#ff8fb5}
.line{fill:none}.peer{fill:#f2ad6b}.theirs{fill:#0d1117;stroke:#f0a35e}}
`

// A drawing is an SVG being written.
type drawing struct {
	bytes.Buffer
	x, y axis
}

// SVG draws c.
func (c *Chart) SVG() []byte {
	s := c.shown()
	d := &drawing{}
	d.begin("", c.Title, s.words(), height)
	fmt.Fprintf(d, "<style>%s</style>\n", style)
	fmt.Fprintf(d, "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n", width, height)
	d.text("title ink", "start", 14, 22, fitted(c.Title, titleSize, width-28))
	d.legend(s.Series)
	if len(s.Series) > 0 {
		d.axes(&s)
		d.series(s.Series)
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// begin writes the head of a picture of the usual width. id, which tells it from
// others in a page, begins those of its parts.
func (d *drawing) begin(id, title, words string, height int) {
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" style="max-width:100%%;height:auto" role="img" aria-labelledby="%[5]st %[5]sd">`+"\n",
		width, height, int(width*scale), int(float64(height)*scale), id)
	fmt.Fprintf(d, "<title id=\"%st\">%s</title>\n<desc id=\"%[1]sd\">%[3]s</desc>\n", id, escaped(title), escaped(words))
}

// words says what c shows.
func (c *Chart) words() string {
	var b strings.Builder
	b.WriteString(c.About)
	for _, s := range c.Series {
		var points []string
		for _, p := range s.Points {
			points = append(points, p.About)
		}
		fmt.Fprintf(&b, " %s: %s.", s.Name, strings.Join(points, "; "))
	}
	return strings.TrimSpace(b.String())
}

// legend names the series, in two lines as long as the picture is wide. Names that
// do not fit are left to the points' own.
func (d *drawing) legend(series []Series) {
	const indent = 14
	x, lines := float64(indent), 1
	var places []spot // the second number counts lines
	for _, s := range series {
		w := textWidth(fitted(s.Name, fontSize, width-60), fontSize) + 28
		if x > indent && x+w-10 > width-indent {
			x, lines = indent, lines+1
		}
		places = append(places, spot{x, float64(lines)})
		x += w
	}
	for i, at := range places {
		y := 50.0
		if lines > 1 {
			y = 26 + 16*at.y
		}
		if at.y > 2 {
			break
		}
		d.mark(&series[i], i, spot{at.x + 5, y - 4}, "")
		d.text("ink", "start", at.x+14, y, fitted(series[i].Name, fontSize, width-60))
	}
}

func (d *drawing) axes(c *Chart) {
	var xs, ys []float64
	for _, s := range c.Series {
		for _, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	d.x = axisOf(xs, false, left, plotRight, roomAtSides)
	d.y = axisOf(ys, true, plotBottom, top, roomAboveTop)
	for _, t := range d.y.ticks(mostYTicks) {
		y := d.y.at(t.value)
		fmt.Fprintf(d, "<path class=\"grid\" d=\"M%d %sH%d\"/>\n", left, number(y), plotRight)
		d.text("faint", "end", left-6, y+4, t.text)
	}
	for _, t := range d.x.ticks(mostXTicks) {
		x := d.x.at(t.value)
		fmt.Fprintf(d, "<path class=\"grid\" d=\"M%s %dV%d\"/>\n", number(x), top, plotBottom)
		d.text("faint", "middle", x, plotBottom+16, t.text)
	}
	d.text("faint", "middle", (left+plotRight)/2, height-10, c.XAxis)
	d.text("faint", "start", 14, top-10, fitted(c.YAxis, fontSize, width-28))
}

// series draws lines, then marks, then labels over both.
func (d *drawing) series(series []Series) {
	var points []spot
	var lines [][2]spot
	var labels []label
	for i, s := range series {
		var path strings.Builder
		for j, p := range s.Points {
			at := spot{d.x.at(p.X), d.y.at(p.Y)}
			fmt.Fprintf(&path, "%c%s %s", "ML"[min(j, 1)], number(at.x), number(at.y))
			if s.Joined && j > 0 {
				lines = append(lines, [2]spot{points[len(points)-1], at})
			}
			points = append(points, at)
			if p.Label != "" {
				labels = append(labels, label{text: fitted(p.Label, labelSize, plotWidth/2), at: at, series: i})
			}
		}
		if s.Joined && len(s.Points) > 1 {
			fmt.Fprintf(d, "<path class=\"line s%d\" d=\"%s\"/>\n", i%kinds, path.String())
		}
	}
	place(labels, points, lines)
	for _, l := range labels {
		if l.away > leaderFrom {
			to := l.box.nearest(l.at)
			fmt.Fprintf(d, "<path class=\"leader\" d=\"M%s %sL%s %s\"/>\n", number(l.at.x), number(l.at.y), number(to.x), number(to.y))
		}
	}
	for i := range series {
		for _, p := range series[i].Points {
			d.mark(&series[i], i, spot{d.x.at(p.X), d.y.at(p.Y)}, p.About)
		}
	}
	for _, l := range labels {
		// Its box is as wide as fonts may set it: it begins at the point's side.
		anchor, x := "middle", (l.box.x0+l.box.x1)/2
		switch {
		case l.way.x > 0:
			anchor, x = "start", l.box.x0
		case l.way.x < 0:
			anchor, x = "end", l.box.x1
		}
		d.text("label "+class(&series[l.series], l.series), anchor, x, l.box.y1-2, l.text)
	}
}

// class is the style of the i-th series' texts and marks.
func class(s *Series, i int) string {
	if s.Theirs {
		return "peer"
	}
	return "s" + strconv.Itoa(i%kinds)
}

// mark draws a point of the i-th series: a shape of its own, not a colour alone.
func (d *drawing) mark(s *Series, i int, at spot, about string) {
	m := marker
	shape, class := i%kinds, class(s, i)
	if s.Theirs {
		shape, class = 1, "theirs"
	}
	title := ""
	if about != "" {
		title = "<title>" + escaped(about) + "</title>"
	}
	x, y := at.x, at.y
	switch shape {
	case 0:
		fmt.Fprintf(d, "<circle class=\"%s\" cx=\"%s\" cy=\"%s\" r=\"%s\">%s</circle>\n", class, number(x), number(y), number(m), title)
	case 1: // a diamond
		d.polygon(class, title, spot{x, y - m - 1}, spot{x + m + 1, y}, spot{x, y + m + 1}, spot{x - m - 1, y})
	case 2: // a triangle
		d.polygon(class, title, spot{x, y - m - 1}, spot{x + m + 1, y + m}, spot{x - m - 1, y + m})
	default: // a square
		d.polygon(class, title, spot{x - m, y - m}, spot{x + m, y - m}, spot{x + m, y + m}, spot{x - m, y + m})
	}
}

func (d *drawing) polygon(class, title string, corners ...spot) {
	var path strings.Builder
	for i, c := range corners {
		fmt.Fprintf(&path, "%c%s %s", "ML"[min(i, 1)], number(c.x), number(c.y))
	}
	fmt.Fprintf(d, "<path class=\"%s\" d=\"%sZ\">%s</path>\n", class, path.String(), title)
}

func (d *drawing) text(class, anchor string, x, y float64, text string) {
	fmt.Fprintf(d, "<text class=\"%s\" text-anchor=\"%s\" x=\"%s\" y=\"%s\">%s</text>\n", class, anchor, number(x), number(y), escaped(text))
}

// number is v to a tenth.
func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// escaped is text as XML has it; what XML cannot have becomes U+FFFD.
func escaped(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
