package chart

import "math"

// A box is a rectangle.
type box struct{ x0, y0, x1, y1 float64 }

// overlap is the area that two boxes share.
func (b box) overlap(c box) float64 {
	w, h := min(b.x1, c.x1)-max(b.x0, c.x0), min(b.y1, c.y1)-max(b.y0, c.y0)
	if w <= 0 || h <= 0 {
		return 0
	}
	return float64(w * h)
}

// outside is how much of b is not in c.
func (b box) outside(c box) float64 {
	return float64((b.x1-b.x0)*(b.y1-b.y0)) - b.overlap(c)
}

// nearest is where in b a point is nearest to.
func (b box) nearest(p spot) spot {
	return spot{min(max(p.x, b.x0), b.x1), min(max(p.y, b.y0), b.y1)}
}

// A spot is a point of the picture.
type spot struct{ x, y float64 }

// distance is math.Hypot, which is not the same to the bit everywhere.
func distance(a, b spot) float64 {
	x, y := a.x-b.x, a.y-b.y
	return math.Sqrt(float64(x*x) + float64(y*y))
}

// A label is a text and the place that was found for it.
type label struct {
	text   string
	at     spot // the middle of its point
	box    box
	way    spot    // from the point, one of directions
	away   float64 // so far
	series int
}

// Places are tried around a point, near ones first: the unit vector to the middle
// of the label's nearest edge or corner.
var (
	directions = []spot{{1, 0}, {1, -0.7}, {1, 0.7}, {-1, 0}, {-1, -0.7}, {-1, 0.7}, {0, -1}, {0, 1}}
	distances  = []float64{marker + 3, marker + 12, marker + 22, marker + 34, marker + 48}
)

// What a place costs, per unit of area or of distance.
const (
	overText   = 20.0
	overPoint  = 8.0
	overLine   = 1.5
	outOfPlot  = 100.0
	perPixel   = 1.2
	leaderFrom = marker + 8 // beyond which a line leads from label to point
)

// plotBox is where labels may be.
var plotBox = box{left + 2, top - 8, plotRight + right - 4, plotBottom - 2}

// place finds places for labels where they hide neither points nor each other. It
// visits them three times, each time choosing the best place of one label while all
// others stay where they are.
func place(labels []label, points []spot, lines [][2]spot) {
	for round := range 3 {
		for i := range labels {
			placed := labels // that have a place already
			if round == 0 {
				placed = labels[:i]
			}
			placeOne(labels, i, placed, points, lines)
		}
	}
}

// placeOne chooses the cheapest place for label i.
func placeOne(labels []label, i int, placed []label, points []spot, lines [][2]spot) {
	l := &labels[i]
	least := math.Inf(1)
	for _, d := range distances {
		for order, way := range directions {
			b := boxAt(l.text, l.at, way, d)
			cost := float64(perPixel*(d-distances[0])) + float64(0.3*float64(order)) + float64(outOfPlot*b.outside(plotBox))
			cost += inTheWay(b, points, lines)
			for j := range placed {
				if j != i {
					cost += float64(overText * b.overlap(placed[j].box))
				}
			}
			if d > leaderFrom {
				cost += crossed(l.at, b.nearest(l.at), points, labels)
			}
			if cost < least {
				least, l.box, l.way, l.away = cost, b, way, d
			}
		}
	}
}

// crossed is the cost of a line from a point for other points that it comes near
// and texts that it runs through.
func crossed(from, to spot, points []spot, labels []label) float64 {
	const pieces, each = 20, 6.0
	cost := 0.0
	for i := 1; i <= pieces; i++ {
		share := float64(i) / pieces
		x, y := from.x+float64(share*(to.x-from.x)), from.y+float64(share*(to.y-from.y))
		for _, p := range points {
			if p != from && distance(p, spot{x, y}) < marker+2 {
				cost += each
			}
		}
		for _, l := range labels {
			if l.at != from && x > l.box.x0 && x < l.box.x1 && y > l.box.y0 && y < l.box.y1 {
				cost += each
			}
		}
	}
	return cost
}

// inTheWay is the cost of a box at b for what lies under it.
func inTheWay(b box, points []spot, lines [][2]spot) float64 {
	cost := 0.0
	for _, p := range points {
		cost += float64(overPoint * b.overlap(box{p.x - marker - 1, p.y - marker - 1, p.x + marker + 1, p.y + marker + 1}))
	}
	const pieces = 40
	for _, l := range lines {
		for i := range pieces {
			share := (float64(i) + 0.5) / pieces
			x, y := l[0].x+float64(share*(l[1].x-l[0].x)), l[0].y+float64(share*(l[1].y-l[0].y))
			if x > b.x0 && x < b.x1 && y > b.y0 && y < b.y1 {
				cost += float64(overLine * distance(l[0], l[1]) / pieces * 4)
			}
		}
	}
	return cost
}

// boxAt is where text goes at a distance from a point.
func boxAt(text string, at, way spot, d float64) box {
	w, h := textWidth(text, labelSize), float64(labelSize)
	x, y := at.x+float64(way.x*d), at.y+float64(way.y*d)
	b := box{x - w/2, y - h/2, x + w/2, y + h/2}
	switch {
	case way.x > 0:
		b.x0, b.x1 = x, x+w
	case way.x < 0:
		b.x0, b.x1 = x-w, x
	case way.y < 0:
		b.y0, b.y1 = y-h, y
	case way.y > 0:
		b.y0, b.y1 = y, y+h
	}
	if way.x == 0 { // above or below, it need not be in the middle
		shift := max(0, plotBox.x0-b.x0) - max(0, b.x1-plotBox.x1)
		b.x0, b.x1 = b.x0+shift, b.x1+shift
	}
	return b
}

// textWidth is about how wide a sans-serif font sets text, rather more than less.
func textWidth(text string, size float64) float64 {
	ems := 0.0
	for _, r := range text {
		switch {
		case r == ' ' || r == '.' || r == ',' || r == 'i' || r == 'l' || r == 'I' || r == '\'' || r == '|' || r == ':':
			ems += 0.32
		case r >= 'A' && r <= 'Z' || r == 'm' || r == 'w' || r == '%' || r > 0x2000:
			ems += 0.74
		default:
			ems += 0.58
		}
	}
	return float64(ems * size)
}

// fitted is text cut to what fits a width.
func fitted(text string, size, width float64) string {
	if textWidth(text, size) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && textWidth(string(runes)+"…", size) > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}
