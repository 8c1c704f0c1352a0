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
	labelSize    = 11
	titleSize    = 14
	titleHeight  = 18  // of a line of the title
	seriesStyles = 4   // markers and colours, which repeat if there are more series
	scale        = 1.6 // pixels per unit if the page is wide enough
)

// style is the style sheet of a Chart, for both colour schemes. All text has the
// contrast of 4.5:1 to its background that WCAG 2.2 requires.
const style = `
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
.title{font-size:14px;font-weight:600}.label{font-size:11px;paint-order:stroke;stroke-width:3px;stroke-linejoin:round}
.line{fill:none;stroke-width:2}.grid{stroke-width:1}.theirs{fill:none!important;stroke-width:1.6}.mark{stroke-width:1.2}
.leader{stroke-width:1}
.ground{fill:#fff}.label,.mark{stroke:#fff}.ink{fill:#1f2328}.faint{fill:#59636e}.grid{stroke:#e3e7eb}
.s0{fill:#0757b8}.s1{fill:#7a3db8}.s2{fill:#17724a}.s3{fill:#a40e4c}.line.s0,.leader.s0{stroke:#0757b8}.line.s1,.leader.s1{stroke:#7a3db8}.line.s2,.leader.s2{stroke:#17724a}.line.s3,.leader.s3{stroke:#a40e4c}
.line,.leader{fill:none!important}.peer{fill:#8a4600}.leader.peer{stroke:#8a4600}.theirs{stroke:#b35c00}
@media(prefers-color-scheme:dark){
.ground{fill:#0d1117}.label,.mark{stroke:#0d1117}.ink{fill:#e6edf3}.faint{fill:#9aa4af}.grid{stroke:#262c35}
.s0{fill:#6cb6ff}.s1{fill:#c9a2ff}.s2{fill:#56d09a}.s3{fill:#ff8fb5}.line.s0,.leader.s0{stroke:#6cb6ff}.line.s1,.leader.s1{stroke:#c9a2ff}.line.s2,.leader.s2{stroke:#56d09a}.line.s3,.leader.s3{stroke:#ff8fb5}
.peer{fill:#f2ad6b}.leader.peer{stroke:#f2ad6b}.theirs{stroke:#f0a35e}}
`

// A drawing is an SVG being written.
type drawing struct {
	bytes.Buffer
	width int
	x, y  axis
}

// SVG draws c as a self-contained file.
func (c *Chart) SVG() []byte {
	s := c.drawn()
	d := &drawing{width: width}
	title := wrapped(c.Title, titleSize, width-28)
	more := titleHeight * (len(title) - 1) // height of what the title has beyond one line
	d.open("", c.Title, s.description(), height+more)
	fmt.Fprintf(d, "<style>%s</style>\n", style)
	fmt.Fprintf(d, "<rect class=\"ground\" width=\"%d\" height=\"%d\"/>\n", width, height+more)
	for i, line := range title {
		d.text("title ink", "start", 14, float64(22+i*titleHeight), line)
	}
	fmt.Fprintf(d, "<g transform=\"translate(0 %d)\">\n", more)
	d.legend(s.Series)
	if len(s.Series) > 0 {
		d.axes(&s)
		d.series(s.Series)
	}
	d.WriteString("</g>\n</svg>\n")
	return d.Bytes()
}

// open writes the start of a picture: the svg element, the title and the
// description. The ids of its elements begin with id.
func (d *drawing) open(id, title, words string, height int) {
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" style="max-width:100%%;height:auto" role="img" aria-labelledby="%[5]st %[5]sd">`+"\n",
		d.width, height, int(float64(d.width)*scale), int(float64(height)*scale), id)
	fmt.Fprintf(d, "<title id=\"%st\">%s</title>\n<desc id=\"%[1]sd\">%[3]s</desc>\n", id, escapeXML(title), escapeXML(words))
}

// description returns the text alternative.
func (c *Chart) description() string {
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

// legend writes the names of the series in at most two lines. It omits names that
// do not fit; the points have tooltips.
func (d *drawing) legend(series []Series) {
	const indent = 14
	x, lines := float64(indent), 1
	var places []spot // the second number counts lines
	for _, s := range series {
		w := textWidth(truncate(s.Name, fontSize, width-60), fontSize) + 28
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
		d.drawMarker(&series[i], i, spot{at.x + 5, y - 4}, "")
		d.text("ink", "start", at.x+14, y, truncate(series[i].Name, fontSize, width-60))
	}
}

// axes chooses the axes of c and draws their ticks, grids and names.
func (d *drawing) axes(c *Chart) {
	var xs, ys []float64
	for _, s := range c.Series {
		for _, p := range s.Points {
			xs, ys = append(xs, p.X), append(ys, p.Y)
		}
	}
	d.x = newAxis(xs, false, left, plotRight, xMargin, maxXTicks)
	d.y = newAxis(ys, true, plotBottom, top, yMargin, maxYTicks)
	d.yTicks(maxYTicks)
	for _, t := range d.x.ticks(maxXTicks) {
		x := d.x.at(t.value)
		fmt.Fprintf(d, "<path class=\"grid\" d=\"M%s %dV%d\"/>\n", coord(x), top, plotBottom)
		d.text("faint", "middle", x, plotBottom+16, t.text)
	}
	d.text("faint", "middle", (left+plotRight)/2, height-10, c.XAxis)
	d.text("faint", "start", 14, top-10, truncate(c.YAxis, fontSize, width-28))
}

// series draws the lines, then the markers, then the labels on top.
func (d *drawing) series(series []Series) {
	var points []spot
	var lines [][2]spot
	var labels []label
	for i, s := range series {
		var path strings.Builder
		for j, p := range s.Points {
			at := spot{d.x.at(p.X), d.y.at(p.Y)}
			fmt.Fprintf(&path, "%c%s %s", "ML"[min(j, 1)], coord(at.x), coord(at.y))
			if s.Joined && j > 0 {
				lines = append(lines, [2]spot{points[len(points)-1], at})
			}
			points = append(points, at)
			if p.Label != "" {
				labels = append(labels, label{text: truncate(p.Label, labelSize, plotWidth/2), at: at, series: i})
			}
		}
		if s.Joined && len(s.Points) > 1 {
			fmt.Fprintf(d, "<path class=\"line s%d\" d=\"%s\"/>\n", i%seriesStyles, path.String())
		}
	}
	placeLabels(labels, points, lines)
	d.markers(series, false)
	d.markers(series, true) // on top, because they are hollow
	for _, l := range labels {
		if l.leader {
			d.drawLeader(&l, class(&series[l.series], l.series))
		}
	}
	for _, l := range labels {
		// The box is as wide as the widest font needs, so align the text with the side
		// that faces the point.
		anchor, x := "middle", (l.box.x0+l.box.x1)/2
		switch {
		case l.direction.x > 0:
			anchor, x = "start", l.box.x0
		case l.direction.x < 0:
			anchor, x = "end", l.box.x1
		}
		d.text("label "+class(&series[l.series], l.series), anchor, x, l.box.y1-2, l.text)
	}
}

// markers draws the points of our own series, or of the peers'.
func (d *drawing) markers(series []Series, peers bool) {
	for i := range series {
		if series[i].Peer != peers {
			continue
		}
		for _, p := range series[i].Points {
			d.drawMarker(&series[i], i, spot{d.x.at(p.X), d.y.at(p.Y)}, p.About)
		}
	}
}

// drawLeader draws the line from a point to its label, in the colour of both. A dot
// says in which of several points it begins.
func (d *drawing) drawLeader(l *label, class string) {
	to := l.box.nearest(l.at)
	fmt.Fprintf(d, "<path class=\"leader %s\" d=\"M%s %sL%s %s\"/>\n", class, coord(l.at.x), coord(l.at.y), coord(to.x), coord(to.y))
	fmt.Fprintf(d, "<circle class=\"%s\" cx=\"%s\" cy=\"%s\" r=\"1.8\"/>\n", class, coord(l.at.x), coord(l.at.y))
}

// class returns the CSS class of the labels and markers of the i-th series.
func class(s *Series, i int) string {
	if s.Peer {
		return "peer"
	}
	return "s" + strconv.Itoa(i%seriesStyles)
}

// drawMarker draws a point of the i-th series. Series differ in shape as well as in
// colour.
func (d *drawing) drawMarker(s *Series, i int, at spot, about string) {
	m := markerRadius
	shape, class := i%seriesStyles, "mark "+class(s, i)
	if s.Peer {
		shape, class = 1, "theirs"
	}
	title := ""
	if about != "" {
		title = "<title>" + escapeXML(about) + "</title>"
	}
	x, y := at.x, at.y
	switch shape {
	case 0:
		fmt.Fprintf(d, "<circle class=\"%s\" cx=\"%s\" cy=\"%s\" r=\"%s\">%s</circle>\n", class, coord(x), coord(y), coord(m), title)
	case 1: // diamond
		d.polygon(class, title, spot{x, y - m - 1}, spot{x + m + 1, y}, spot{x, y + m + 1}, spot{x - m - 1, y})
	case 2: // triangle
		d.polygon(class, title, spot{x, y - m - 1}, spot{x + m + 1, y + m}, spot{x - m - 1, y + m})
	default: // square
		d.polygon(class, title, spot{x - m, y - m}, spot{x + m, y - m}, spot{x + m, y + m}, spot{x - m, y + m})
	}
}

func (d *drawing) polygon(class, title string, corners ...spot) {
	var path strings.Builder
	for i, c := range corners {
		fmt.Fprintf(&path, "%c%s %s", "ML"[min(i, 1)], coord(c.x), coord(c.y))
	}
	fmt.Fprintf(d, "<path class=\"%s\" d=\"%sZ\">%s</path>\n", class, path.String(), title)
}

func (d *drawing) text(class, anchor string, x, y float64, text string) {
	fmt.Fprintf(d, "<text class=\"%s\" text-anchor=\"%s\" x=\"%s\" y=\"%s\">%s</text>\n", class, anchor, coord(x), coord(y), escapeXML(text))
}

// coord formats a coordinate, rounded to a tenth.
func coord(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// escapeXML escapes text for XML. Characters that XML does not allow become U+FFFD.
func escapeXML(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // writing to a Builder cannot fail
	return b.String()
}
