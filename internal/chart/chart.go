// Package chart draws SVG pictures: a Chart, which is a scatter plot with a
// logarithmic y axis; a ColumnChart, a BarChart and a LineChart; and a Span, which
// shows a metric with its confidence interval and limit.
//
// A Chart is a self-contained file without scripts, fonts or external style sheets.
// The others belong in an HTML page that includes Style; Responsive draws one of
// them for a laptop and for a phone. All follow the reader's light or dark scheme.
// The same picture has the same bytes on every machine.
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
	left, right, top, bottom = 56, 16, 88, 48 // margins around the plot
	fontSize                 = 12
	plotRight, plotBottom    = width - right, height - bottom
	plotWidth, plotHeight    = plotRight - left, plotBottom - top
	markerRadius             = 4.0 // from the centre of a point to its edge
	maxXTicks, maxYTicks     = 6, 12
	tickRoom                 = 64         // width that a tick with its text needs
	xMargin, yMargin         = 0.07, 0.08 // empty share of the range at each end of an axis
	tickMargin               = 0.03       // the same beyond the outer ticks
)

// inRange reports whether v can be drawn on a logarithmic axis.
func inRange(v float64) bool { return v >= 1e-100 && v <= 1e100 }

// drawable reports whether the coordinates of p are in range.
func drawable(p Point) bool { return inRange(p.X) && inRange(p.Y) }

// An axis maps values, or their logarithms, to coordinates linearly.
type axis struct {
	lo, hi   float64 // range of the values, or of their logarithms
	from, to float64 // coordinates of lo and hi
	log      bool
}

func log10(v float64) float64 { return kernel.Log64(v) / math.Ln10 }

// newAxis returns an axis for values. margin is the share of the range that stays
// empty at each end. A logarithmic axis extends to a tick below the least value and
// to one above the largest, where ticks returns at most limit.
func newAxis(values []float64, log bool, from, to, margin float64, limit int) axis {
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
	padded := a
	padded.lo, padded.hi = a.lo-padding, a.hi+padding
	if !log {
		return padded
	}
	for _, s := range logSteps {
		wide := padded
		room := float64(tickMargin * (s.above(a.hi) - s.below(a.lo)))
		wide.lo, wide.hi = min(padded.lo, s.below(a.lo)-room), max(padded.hi, s.above(a.hi)+room)
		if len(wide.logTicks(s)) <= limit {
			return wide
		}
	}
	return padded
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
		for _, s := range logSteps {
			if found := a.logTicks(s); len(found) <= limit {
				return found
			}
		}
		return nil
	}
	for e := -12; e < 16; e++ {
		for _, m := range []float64{1, 2, 5} {
			step := m * pow10(e)
			if first, last := math.Ceil(a.lo/step), math.Floor(a.hi/step); last-first < float64(limit) {
				return linearTicks(first, last, step, e)
			}
		}
	}
	return nil
}

// linearTicks returns the multiples of step from first to last times it. Texts have digits down
// to the power e of ten.
func linearTicks(first, last, step float64, e int) (all []tick) {
	for i := first; i <= last; i++ {
		v := float64(i*step) + 0 // turns -0 into 0
		text := strconv.FormatFloat(v, 'f', max(0, -e), 64)
		if e < -5 {
			text = strconv.FormatFloat(v, 'g', 3, 64)
		}
		all = append(all, tick{v, text})
	}
	return all
}

// A logStep is a choice of ticks for a logarithmic axis: multiples of every so many
// powers of ten.
type logStep struct {
	multiples []float64 // ascending, from 1
	every     int
}

// logSteps are the choices, from dense to sparse.
var logSteps = []logStep{
	{[]float64{1, 2, 5}, 1}, {[]float64{1, 3}, 1}, {[]float64{1}, 1}, {[]float64{1}, 2}, {[]float64{1}, 3}, {[]float64{1}, 5},
	{[]float64{1}, 10}, {[]float64{1}, 20}, {[]float64{1}, 50}, {[]float64{1}, 100},
}

// slack absorbs the rounding of logarithms.
const slack = 1e-9

// below returns the logarithm of the largest tick that is at most v, itself a
// logarithm.
func (s logStep) below(v float64) float64 {
	found := math.Inf(-1)
	for _, m := range s.multiples {
		offset := log10(m)
		e := math.Floor((v-offset+slack)/float64(s.every)) * float64(s.every)
		found = max(found, e+offset)
	}
	return found
}

// above returns the logarithm of the least tick that is at least v, itself a
// logarithm.
func (s logStep) above(v float64) float64 {
	found := math.Inf(1)
	for _, m := range s.multiples {
		offset := log10(m)
		e := math.Ceil((v-offset-slack)/float64(s.every)) * float64(s.every)
		found = min(found, e+offset)
	}
	return found
}

// logTicks returns the ticks of s that lie on the axis.
func (a *axis) logTicks(s logStep) (found []tick) {
	for e := int(math.Floor(a.lo)); e <= int(math.Ceil(a.hi)); e++ {
		for _, m := range s.multiples {
			v := m * pow10(e)
			if at := log10(v); e%s.every != 0 || at < a.lo-slack || at > a.hi+slack {
				continue
			}
			text := strconv.FormatFloat(v, 'f', max(0, -e), 64)
			if e < -4 || e > 5 {
				text = strconv.FormatFloat(m, 'f', 0, 64) + "e" + strconv.Itoa(e)
			}
			found = append(found, tick{v, text})
		}
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
