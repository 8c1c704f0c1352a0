package chart

import "math"

// A box is a rectangle.
type box struct{ x0, y0, x1, y1 float64 }

// overlap returns the area that two boxes share.
func (b box) overlap(c box) float64 {
	w, h := min(b.x1, c.x1)-max(b.x0, c.x0), min(b.y1, c.y1)-max(b.y0, c.y0)
	if w <= 0 || h <= 0 {
		return 0
	}
	return float64(w * h)
}

// outside returns the area of b that is not in c.
func (b box) outside(c box) float64 {
	return float64((b.x1-b.x0)*(b.y1-b.y0)) - b.overlap(c)
}

// nearest returns the point of b that is nearest to p.
func (b box) nearest(p spot) spot {
	return spot{min(max(p.x, b.x0), b.x1), min(max(p.y, b.y0), b.y1)}
}

// A spot is a position in the picture.
type spot struct{ x, y float64 }

// distance replaces math.Hypot, which does not have the same bits on every machine.
func distance(a, b spot) float64 {
	x, y := a.x-b.x, a.y-b.y
	return math.Sqrt(float64(x*x) + float64(y*y))
}

// A label is the text of a point and the place that placeLabels chose for it.
type label struct {
	text      string
	at        spot // the middle of its point
	box       box
	direction spot    // from the point to the label, one of directions
	offset    float64 // one of distances
	series    int
}

// Candidate places, in order of preference. A direction times a distance leads from
// the point to the middle of the label's nearest edge.
var (
	directions = []spot{{1, 0}, {1, -0.7}, {1, 0.7}, {-1, 0}, {-1, -0.7}, {-1, 0.7}, {0, -1}, {0, 1}}
	distances  = []float64{markerRadius + 3, markerRadius + 12, markerRadius + 22, markerRadius + 34, markerRadius + 48}
)

// Costs of a place, per unit of area or distance.
const (
	overText   = 20.0
	overPoint  = 8.0
	overLine   = 1.5
	outOfPlot  = 100.0
	perPixel   = 1.2
	leaderFrom = markerRadius + 8 // beyond this distance a line connects label and point
)

// plotBox is the area in which labels may lie.
var plotBox = box{left + 2, top - 8, plotRight + right - 4, plotBottom - 2}

// placeLabels finds places where labels hide neither points nor each other. It makes
// three rounds over the labels. In each it moves one label at a time to its best
// place while the others stay fixed.
func placeLabels(labels []label, points []spot, lines [][2]spot) {
	for round := range 3 {
		for i := range labels {
			placed := labels // those that already have a place
			if round == 0 {
				placed = labels[:i]
			}
			placeLabel(labels, i, placed, points, lines)
		}
	}
}

// placeLabel chooses the cheapest place for label i, given those in placed.
func placeLabel(labels []label, i int, placed []label, points []spot, lines [][2]spot) {
	l := &labels[i]
	least := math.Inf(1)
	for _, d := range distances {
		for order, dir := range directions {
			b := labelBox(l.text, l.at, dir, d)
			cost := float64(perPixel*(d-distances[0])) + float64(0.3*float64(order)) + float64(outOfPlot*b.outside(plotBox))
			cost += overlapCost(b, points, lines)
			for j := range placed {
				if j != i {
					cost += float64(overText * b.overlap(placed[j].box))
				}
			}
			if d > leaderFrom {
				cost += leaderCost(l.at, b.nearest(l.at), points, labels)
			}
			if cost < least {
				least, l.box, l.direction, l.offset = cost, b, dir, d
			}
		}
	}
}

// leaderCost returns the cost of a line between a label and its point: it counts
// other points near the line and labels that it crosses.
func leaderCost(from, to spot, points []spot, labels []label) float64 {
	const pieces, each = 20, 6.0
	cost := 0.0
	for i := 1; i <= pieces; i++ {
		share := float64(i) / pieces
		x, y := from.x+float64(share*(to.x-from.x)), from.y+float64(share*(to.y-from.y))
		for _, p := range points {
			if p != from && distance(p, spot{x, y}) < markerRadius+2 {
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

// overlapCost returns the cost of the points and lines that a label at b hides.
func overlapCost(b box, points []spot, lines [][2]spot) float64 {
	cost := 0.0
	for _, p := range points {
		cost += float64(overPoint * b.overlap(box{p.x - markerRadius - 1, p.y - markerRadius - 1, p.x + markerRadius + 1, p.y + markerRadius + 1}))
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

// labelBox returns the box of a label in direction dir and at distance d from the
// point at.
func labelBox(text string, at, dir spot, d float64) box {
	w, h := textWidth(text, labelSize), float64(labelSize)
	x, y := at.x+float64(dir.x*d), at.y+float64(dir.y*d)
	b := box{x - w/2, y - h/2, x + w/2, y + h/2}
	switch {
	case dir.x > 0:
		b.x0, b.x1 = x, x+w
	case dir.x < 0:
		b.x0, b.x1 = x-w, x
	case dir.y < 0:
		b.y0, b.y1 = y-h, y
	case dir.y > 0:
		b.y0, b.y1 = y, y+h
	}
	if dir.x == 0 { // above or below the point: may shift sideways to stay in the plot
		shift := max(0, plotBox.x0-b.x0) - max(0, b.x1-plotBox.x1)
		b.x0, b.x1 = b.x0+shift, b.x1+shift
	}
	return b
}

// textWidth estimates the width of text in a sans-serif font, and errs on the wide
// side.
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

// truncate shortens text to fit width and marks the cut with an ellipsis.
func truncate(text string, size, width float64) string {
	if textWidth(text, size) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && textWidth(string(runes)+"…", size) > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}
