// Package chart draws SVG pictures: a Chart, which is a scatter plot with a
// logarithmic y axis; a ColumnChart, a BarChart and a LineChart; and a Span, which
// shows a metric with its confidence interval and limit.
//
// A Chart is a self-contained file without scripts, fonts or external style sheets.
// The others belong in an HTML page that includes Style. All follow the reader's
// light or dark scheme and are legible at the width of a phone. The same picture
// has the same bytes on every machine.
package chart

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"thimble/internal/kernel"
)

// A Chart is a scatter plot of points with positive coordinates.
type Chart struct {
	Title  string
	About  string // text alternative; SVG appends the points
	XAxis  string
	YAxis  string
	Series []Series
}

// A Series is a set of points that share a style.
type Series struct {
	Name   string
	Peer   bool // another program's points, for comparison: drawn hollow, never joined
	Joined bool // draw a line through the points, in ascending X
	Points []Point
}

// A Point is a point of a Series. SVG omits points unless X and Y are from 1e-100
// to 1e100.
type Point struct {
	Label string // written next to the point, if not empty
	About string // tooltip
	X, Y  float64
}

// Sizes in user units. A unit is a pixel if the picture is shown at its width of
// 400; at 360 pixels the text is 11 pixels high.
const (
	width, height            = 400, 400
	left, right, top, bottom = 50, 16, 88, 48 // margins around the plot
	fontSize                 = 12
	plotRight, plotBottom    = width - right, height - bottom
	plotWidth, plotHeight    = plotRight - left, plotBottom - top
	markerRadius             = 4.0 // from the centre of a point to its edge
	maxXTicks, maxYTicks     = 6, 9
	xMargin, yMargin         = 0.07, 0.08 // empty share of the range at each end of an axis
)

// drawable reports whether the coordinates of p are in range.
func drawable(p Point) bool {
	const lo, hi = 1e-100, 1e100
	return p.X >= lo && p.X <= hi && p.Y >= lo && p.Y <= hi
}

// An axis maps values, or their logarithms, to coordinates linearly.
type axis struct {
	lo, hi   float64 // range of the values, or of their logarithms
	from, to float64 // coordinates of lo and hi
	log      bool
}

func log10(v float64) float64 { return kernel.Log64(v) / math.Ln10 }

// newAxis returns an axis for values. margin is the share of the range that stays
// empty at each end.
func newAxis(values []float64, log bool, from, to, margin float64) axis {
	a := axis{log: log, from: from, to: to, lo: math.Inf(1), hi: math.Inf(-1)}
	for _, v := range values {
		a.lo, a.hi = min(a.lo, a.scaled(v)), max(a.hi, a.scaled(v))
	}
	span := a.hi - a.lo
	if least := cmp.Or(float64(0.02*math.Abs(a.hi)), 1); !log && span < least {
		span = least
	}
	if log && span < 0.5 { // wide enough to contain a tick
		span = 0.5
	}
	padding := (span - (a.hi - a.lo)) / 2
	padding += float64(margin * span)
	a.lo, a.hi = a.lo-padding, a.hi+padding
	return a
}

// scaled returns v, or its logarithm if the axis is logarithmic.
func (a *axis) scaled(v float64) float64 {
	if a.log {
		return log10(v)
	}
	return v
}

// at returns the coordinate of v.
func (a *axis) at(v float64) float64 {
	share := (a.scaled(v) - a.lo) / (a.hi - a.lo)
	return a.from + float64(share*(a.to-a.from))
}

// A tick is a labelled value on an axis.
type tick struct {
	value float64
	text  string
}

// ticks returns at most limit ticks at round values.
func (a *axis) ticks(limit int) []tick {
	if a.log {
		return a.logTicks(limit)
	}
	for e := -12; e < 16; e++ {
		for _, m := range []float64{1, 2, 5} {
			step := m * pow10(e)
			first, last := math.Ceil(a.lo/step), math.Floor(a.hi/step)
			if !(last-first < float64(limit)) {
				continue
			}
			var found []tick
			for i := first; i <= last; i++ {
				v := float64(i*step) + 0 // turns -0 into 0
				text := strconv.FormatFloat(v, 'f', max(0, -e), 64)
				if e < -5 {
					text = strconv.FormatFloat(v, 'g', 3, 64)
				}
				found = append(found, tick{v, text})
			}
			return found
		}
	}
	return nil
}

// logTicks returns ticks at 1, 2 and 5 times the powers of ten. If there are more
// than limit, it uses only powers of ten, or only every second, third or so on.
func (a *axis) logTicks(limit int) []tick {
	within := func(steps []float64, every int) (found []tick) {
		for e := int(math.Floor(a.lo)); e <= int(math.Ceil(a.hi)); e++ {
			for _, m := range steps {
				if v := m * pow10(e); e%every == 0 && log10(v) >= a.lo && log10(v) <= a.hi {
					text := strconv.FormatFloat(v, 'f', max(0, -e), 64)
					if e < -4 || e > 5 {
						text = strconv.FormatFloat(m, 'f', 0, 64) + "e" + strconv.Itoa(e)
					}
					found = append(found, tick{v, text})
				}
			}
		}
		return found
	}
	found := within([]float64{1, 2, 5}, 1)
	for every := 1; len(found) > limit; every++ {
		found = within([]float64{1}, every)
	}
	return found
}

// pow10 returns the float64 nearest to 10^e.
func pow10(e int) float64 {
	v, _ := strconv.ParseFloat("1e"+strconv.Itoa(e), 64)
	return v
}

// drawn returns c without the points that are out of range, with joined points
// sorted.
func (c *Chart) drawn() Chart {
	d := *c
	d.Series = slices.Clone(c.Series)
	for i := range d.Series {
		s := &d.Series[i]
		s.Points = slices.DeleteFunc(slices.Clone(s.Points), func(p Point) bool { return !drawable(p) })
		if s.Joined {
			slices.SortStableFunc(s.Points, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
		}
	}
	d.Series = slices.DeleteFunc(d.Series, func(s Series) bool { return len(s.Points) == 0 })
	return d
}
