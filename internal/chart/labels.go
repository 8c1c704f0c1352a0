package chart

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

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
	direction spot // from the point to the label, one of directions
	leader    bool // a line connects label and point
	series    int
}

// Candidate places, in order of preference. A direction times a distance leads from
// the point to the middle of the label's nearest edge.
var (
	directions = []spot{{1, 0}, {1, -0.7}, {1, 0.7}, {-1, 0}, {-1, -0.7}, {-1, 0.7}, {0, -1}, {0, 1}, {0.5, -1}, {-0.5, -1}, {0.5, 1}, {-0.5, 1}}
	distances  = []float64{markerRadius + 3, markerRadius + 12, markerRadius + 22, markerRadius + 34, markerRadius + 48, markerRadius + 64, markerRadius + 84}
)

// Costs of a place, per unit of area or distance, or for each.
const (
	overText    = 20.0
	overPoint   = 8.0
	overLine    = 1.5
	outOfPlot   = 100.0
	perPixel    = 1.2
	ambiguous   = 12.0             // another point is as near to the label as its own
	leaderCross = 60.0             // a leader crosses another or a label
	leaderPoint = 60.0             // a leader passes a point of another label
	leaderLine  = 6.0              // a leader crosses the line of a series
	leaderFrom  = markerRadius + 8 // beyond this distance a line connects label and point
)

// plotBox is the area in which labels may lie.
var plotBox = box{left + 2, top - 8, plotRight + right - 4, plotBottom - 2}

// placeLabels finds places where labels hide neither points nor each other. It makes
// rounds over the labels. In each it moves one label at a time to its best place while
// the others stay fixed. Then it moves those that are still in conflict together
// with one other label.
func placeLabels(labels []label, points []spot, lines [][2]spot) {
	own := make([][]place, len(labels))
	for i := range labels {
		own[i] = places(&labels[i], points, lines)
	}
	const rounds = 4
	for round := range rounds {
		for i := range labels {
			placed := len(labels) // those that already have a place
			if round == 0 {
				placed = i
			}
			labels[i], _ = cheapest(labels[:placed], i, own[i])
		}
	}
	pairs := 12 // at most, which bounds the time for a crowd
	for i := range labels {
		if pairs > 0 && conflict(labels, i, &labels[i]) > 0 {
			placePair(labels, i, own)
			pairs--
		}
	}
}

// placePair moves label i and that one of its nearest neighbours with which the two
// become cheapest.
func placePair(labels []label, i int, own [][]place) {
	const neighbours = 6
	order := make([]int, 0, len(labels))
	for j := range labels {
		if j != i {
			order = append(order, j)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(distance(labels[a].at, labels[i].at), distance(labels[b].at, labels[i].at))
	})
	_, before := cheapest(labels, i, own[i])
	least, partner := 0.0, -1
	var first, second label
	for _, j := range order[:min(len(order), neighbours)] {
		_, alone := cheapest(labels, j, own[j])
		keep := [2]label{labels[i], labels[j]}
		for k := range own[i] {
			labels[i] = own[i][k].label
			if own[i][k].cost+without(labels, i, j) >= before+alone-least {
				continue
			}
			moved, cost := cheapest(labels, j, own[j])
			labels[j] = moved
			cost += own[i][k].cost + conflict(labels, i, &labels[i])
			if gain := before + alone - cost; gain > least {
				least, partner, first, second = gain, j, labels[i], moved
			}
			labels[j] = keep[1]
		}
		labels[i] = keep[0]
	}
	if partner >= 0 {
		labels[i], labels[partner] = first, second
	}
}

// A place is a candidate for a label, with the cost that does not depend on the
// other labels.
type place struct {
	label
	cost float64
}

// places returns the candidates for l.
func places(l *label, points []spot, lines [][2]spot) (all []place) {
	for _, d := range distances {
		for order, dir := range directions {
			p := place{label: *l}
			p.direction, p.box = dir, labelBox(l.text, l.at, dir, d)
			p.cost = float64(perPixel*(d-distances[0])) + float64(0.3*float64(order)) + float64(outOfPlot*p.box.outside(plotBox))
			near := isAmbiguous(&p.label, points)
			if near {
				p.cost += ambiguous
			}
			p.leader = near || d > leaderFrom
			p.cost += overlapCost(p.box, points, lines)
			if p.leader {
				p.cost += leaderCost(&p.label, points, lines)
			}
			all = append(all, p)
		}
	}
	return all
}

// cheapest returns the best place for label i, given the places of the other labels
// in placed, and its cost.
func cheapest(placed []label, i int, all []place) (best label, least float64) {
	least = math.Inf(1)
	for k := range all {
		if all[k].cost >= least {
			continue
		}
		if cost := all[k].cost + conflict(placed, i, &all[k].label); cost < least {
			best, least = all[k].label, cost
		}
	}
	return best, least
}

// without returns the cost that labels other than j cause for label i.
func without(labels []label, i, j int) (cost float64) {
	for k := range labels {
		if k != i && k != j {
			cost += float64(overText*labels[i].box.overlap(labels[k].box)) + crossingCost(&labels[i], &labels[k])
		}
	}
	return cost
}

// conflict returns the cost of label i, at the place of l, that the other labels in
// placed cause.
func conflict(placed []label, i int, l *label) (cost float64) {
	for j := range placed {
		if j != i {
			cost += float64(overText*l.box.overlap(placed[j].box)) + crossingCost(l, &placed[j])
		}
	}
	return cost
}

// isAmbiguous reports whether another point is about as near to l as its own.
func isAmbiguous(l *label, points []spot) bool {
	own := distance(l.at, l.box.nearest(l.at))
	for _, p := range points {
		if p != l.at && distance(p, l.box.nearest(p)) < own+2 {
			return true
		}
	}
	return false
}

// leaderEnds returns the ends of the line between a label and its point.
func (l *label) leaderEnds() (from, to spot) { return l.at, l.box.nearest(l.at) }

// crossingCost returns the cost of leaders that cross another label or its leader.
func crossingCost(a, b *label) (cost float64) {
	if !a.leader && !b.leader {
		return 0
	}
	from, to := a.leaderEnds()
	other, end := b.leaderEnds()
	if a.leader && b.leader && cross(from, to, other, end) {
		cost += leaderCross
	}
	if a.leader && b.box.touches(from, to) {
		cost += leaderCross
	}
	if b.leader && a.box.touches(other, end) {
		cost += leaderCross
	}
	return cost
}

// leaderCost returns the cost of a leader that passes other points or crosses lines.
func leaderCost(l *label, points []spot, lines [][2]spot) (cost float64) {
	from, to := l.leaderEnds()
	for _, p := range points {
		// A point beside the start is no nearer to the rest of the leader.
		if p != from && fromSegment(p, from, to) < min(markerRadius+2, distance(p, from)-0.7) {
			cost += leaderPoint
		}
	}
	for _, s := range lines {
		if s[0] != from && s[1] != from && cross(from, to, s[0], s[1]) {
			cost += leaderLine
		}
	}
	return cost
}

// side says on which side of the line from a to b the point p is.
func side(a, b, p spot) float64 {
	return float64((b.x-a.x)*(p.y-a.y)) - float64((b.y-a.y)*(p.x-a.x))
}

// cross reports whether the segments from a to b and from c to d cross.
func cross(a, b, c, d spot) bool {
	return float64(side(a, b, c)*side(a, b, d)) < 0 && float64(side(c, d, a)*side(c, d, b)) < 0
}

// touches reports whether the segment from p to q has a part in b.
func (b box) touches(p, q spot) bool {
	if max(p.x, q.x) <= b.x0 || min(p.x, q.x) >= b.x1 || max(p.y, q.y) <= b.y0 || min(p.y, q.y) >= b.y1 {
		return false
	}
	const pieces = 20
	for i := range pieces + 1 {
		share := float64(i) / pieces
		x, y := p.x+float64(share*(q.x-p.x)), p.y+float64(share*(q.y-p.y))
		if x > b.x0 && x < b.x1 && y > b.y0 && y < b.y1 {
			return true
		}
	}
	return false
}

// fromSegment returns the distance of p from the segment from a to b.
func fromSegment(p, a, b spot) float64 {
	x, y := b.x-a.x, b.y-a.y
	length := float64(x*x) + float64(y*y)
	if length == 0 {
		return distance(p, a)
	}
	share := (float64((p.x-a.x)*x) + float64((p.y-a.y)*y)) / length
	share = min(max(share, 0), 1)
	return distance(p, spot{a.x + float64(share*x), a.y + float64(share*y)})
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

// wrapped splits text into lines that are at most as wide as width, after spaces and
// punctuation if it can.
func wrapped(text string, size, width float64) (lines []string) {
	runes := []rune(text)
	for len(runes) > 0 {
		n := len(runes)
		for n > 1 && textWidth(string(runes[:n]), size) > width {
			n--
		}
		if n < len(runes) {
			for i := n; i > n/2; i-- {
				if strings.ContainsRune(" -_./", runes[i-1]) {
					n = i
					break
				}
			}
		}
		lines = append(lines, strings.TrimSpace(string(runes[:n])))
		runes = runes[n:]
	}
	if lines == nil {
		lines = []string{""}
	}
	return lines
}
