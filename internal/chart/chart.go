// Package chart draws pictures as SVG: a Chart of points of two positive numbers,
// the second on a logarithmic axis, Columns, Bars, and the Span of one figure. A
// Chart stands alone and needs nothing else: no script, no font, no style sheet.
// The others are parts of a page of HTML that has Style. All follow the reader's
// light or dark scheme, and are meant to be read at the width of a phone. The same
// picture gives the same bytes everywhere.
package chart

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"thimble/internal/kernel"
)

// A Chart is what is drawn.
type Chart struct {
	Title  string
	About  string // in words, for those who do not see it; the points follow by themselves
	XAxis  string
	YAxis  string
	Series []Series
}

// A Series is points of one kind.
type Series struct {
	Name   string
	Theirs bool // what one's own points are compared with: hollow, never joined
	Joined bool // by a line, in the order of X
	Points []Point
}

// A Point is at X and Y from 1e-100 to 1e100. Others are left out.
type Point struct {
	Label string // beside it; none where empty
	About string // shown when pointed at
	X, Y  float64
}

// Sizes are in units of the picture, which are pixels where it is shown as wide
// as it is. At 360 pixels its text is 11 high.
const (
	width, height             = 400, 400
	left, right, top, bottom  = 50, 16, 88, 48 // of the plot inside it
	fontSize                  = 12
	plotRight, plotBottom     = width - right, height - bottom
	plotWidth, plotHeight     = plotRight - left, plotBottom - top
	marker                    = 4.0 // from the middle of a point to its edge
	mostXTicks, mostYTicks    = 6, 9
	roomAtSides, roomAboveTop = 0.07, 0.08 // of the range
)

// drawable reports whether p has a place.
func drawable(p Point) bool {
	const least, most = 1e-100, 1e100
	return p.X >= least && p.X <= most && p.Y >= least && p.Y <= most
}

// An axis maps values to coordinates; a logarithmic one their logarithms.
type axis struct {
	lo, hi   float64 // of values, or logarithms
	from, to float64 // coordinates of lo and hi
	log      bool
}

func log10(v float64) float64 { return kernel.Log64(v) / math.Ln10 }

// axisOf makes an axis for values with some room at both ends.
func axisOf(values []float64, log bool, from, to, room float64) axis {
	a := axis{log: log, from: from, to: to, lo: math.Inf(1), hi: math.Inf(-1)}
	for _, v := range values {
		a.lo, a.hi = min(a.lo, a.scaled(v)), max(a.hi, a.scaled(v))
	}
	span := a.hi - a.lo
	if least := cmp.Or(float64(0.02*math.Abs(a.hi)), 1); !log && span < least {
		span = least
	}
	if log && span < 0.5 { // so that there is a tick
		span = 0.5
	}
	spare := (span - (a.hi - a.lo)) / 2
	spare += float64(room * span)
	a.lo, a.hi = a.lo-spare, a.hi+spare
	return a
}

func (a *axis) scaled(v float64) float64 {
	if a.log {
		return log10(v)
	}
	return v
}

// at is the coordinate of v.
func (a *axis) at(v float64) float64 {
	share := (a.scaled(v) - a.lo) / (a.hi - a.lo)
	return a.from + float64(share*(a.to-a.from))
}

// A tick is a value that is written beside an axis.
type tick struct {
	value float64
	text  string
}

// ticks are round values on a.
func (a *axis) ticks(most int) []tick {
	if a.log {
		return a.logTicks(most)
	}
	for e := -12; e < 16; e++ {
		for _, m := range []float64{1, 2, 5} {
			step := m * pow10(e)
			first, last := math.Ceil(a.lo/step), math.Floor(a.hi/step)
			if !(last-first < float64(most)) {
				continue
			}
			var found []tick
			for i := first; i <= last; i++ {
				v := float64(i*step) + 0 // not -0
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

// logTicks are 1, 2 and 5 times powers of ten, or powers of ten alone, or some of
// these.
func (a *axis) logTicks(most int) []tick {
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
	for every := 1; len(found) > most; every++ {
		found = within([]float64{1}, every)
	}
	return found
}

// pow10 is the float64 nearest to 10^e.
func pow10(e int) float64 {
	v, _ := strconv.ParseFloat("1e"+strconv.Itoa(e), 64)
	return v
}

// shown returns c with the points that have a place, joined ones in order.
func (c *Chart) shown() Chart {
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
