package rounding

import (
	"math"

	"thimble/internal/qtensor"
)

// A grid maps the codes of one row to values, and values to the nearest codes.
type grid struct {
	scheme      qtensor.Scheme
	zero        float32
	bottom, top float32     // smallest and largest code, minus zero
	scale, min  []float32   // (groups); min is zero for symmetric schemes
	inverse     []float32   // (groups) of scale, or 0
	book        *[256]uint8 // of codes; see qtensor.Scheme.Codebook
}

func newGrid(s qtensor.Scheme, cols int) *grid {
	first, last := s.Codes()
	g := &grid{scheme: s, bottom: float32(first), top: float32(last), book: s.Codebook()}
	if !s.Asym {
		g.zero = float32(s.Zero())
		g.bottom, g.top = g.bottom-g.zero, g.top-g.zero
	}
	n := s.Groups(cols)
	g.scale, g.min, g.inverse = make([]float32, n), make([]float32, n), make([]float32, n)
	return g
}

// set sets the scales and minima, given as float16 bits.
func (g *grid) set(scale, min []uint16) {
	for i, b := range scale {
		g.setScale(i, qtensor.FromFloat16(b))
		if g.scheme.Asym {
			g.min[i] = qtensor.FromFloat16(min[i])
		}
	}
}

// setScale sets the scale of a group.
func (g *grid) setScale(group int, scale float32) {
	g.scale[group], g.inverse[group] = scale, 0
	if scale != 0 {
		g.inverse[group] = 1 / scale
	}
}

// nearest returns the code, minus zero, whose value is nearest to v in a group, and that
// value.
func (g *grid) nearest(group int, v float32) (c, value float32) {
	c = code(v-g.min[group], g.inverse[group], g.bottom, g.top)
	if g.book != nil {
		c = nearestIn(g.book, c)
	}
	return c, float32(g.scale[group]*c) + g.min[group]
}

// group returns the group of a column.
func (g *grid) group(column int) int {
	if g.scheme.Group == 0 {
		return 0
	}
	return column / g.scheme.Group
}

// toFloat16 rounds x to float16. ok is false if an element does not fit.
func toFloat16(dst []uint16, x []float64) (ok bool) {
	for i, v := range x {
		if dst[i], ok = qtensor.ToFloat16(float32(v)); !ok || math.IsNaN(v) {
			return false
		}
	}
	return true
}

// fromFloat16 widens float16 bits exactly.
func fromFloat16(bits uint16) float64 { return float64(qtensor.FromFloat16(bits)) }
