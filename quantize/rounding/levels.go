package rounding

import "thimble/internal/qtensor"

// A levelChoice is the memory for choosing the level of one group of short scales.
type levelChoice struct {
	codes, best []float32 // (columns of the group), minus zero
	g           []float32 // e H in the columns of the group, while codes change
}

func newLevelChoice(columns int) *levelChoice {
	return &levelChoice{make([]float32, columns), make([]float32, columns), make([]float32, columns)}
}

// moveLevels chooses again the level of each group that lies in the columns [from, to), with its
// codes, while all other values are fixed: that with the least loss e H e^T. The first choice
// (scaleSearch) knew neither the feedback nor the products of different columns. It updates e,
// and g in these columns, and adds what it subtracts from e to delta.
func (p *panel) moveLevels(r, from, to int, delta []float32) {
	s, grid := p.dst.Scheme, p.grids[r]
	e, g := p.e[r*p.stride:], p.g[r*p.stride:]
	for group := from / s.Group; group*s.Group < to; group++ {
		lo, hi := s.Span(group, p.dst.Cols)
		if lo < from || hi > to {
			continue
		}
		scale, changed := p.level(r, group, lo, hi)
		if !changed {
			continue
		}
		p.scale[r][group], _ = qtensor.ToFloat16(scale)
		grid.setScale(group, scale)
		for i := lo; i < hi; i++ {
			c := p.choice.best[i-lo]
			step := float32(scale*c) - (p.want(r)[i] - e[i])
			p.codes[r*p.stride+i] = c
			if step == 0 {
				continue
			}
			e[i] -= step
			delta[i-from] += step
			for j, h := range p.H[i*p.stride+from : i*p.stride+to] {
				g[from+j] -= float32(step * h)
			}
		}
	}
}

// level returns the scale with the least loss for a group, the columns [lo, hi) of row r, and
// whether that lowers the loss. p.choice.best then has its codes.
func (p *panel) level(r, group, lo, hi int) (scale float32, changed bool) {
	c, n := p.choice, hi-lo
	least := float32(0)
	for _, l := range p.dst.Scheme.ShortLevels() {
		s := float32(p.factors[r] * l)
		if gain := p.tryLevel(r, s, lo, hi); gain < least {
			least, scale, changed = gain, s, true
			copy(c.best[:n], c.codes)
		}
	}
	return scale, changed
}

// tryLevel gives the columns [lo, hi) of row r the scale s, one column after another its nearest
// code, and returns what that adds to the loss.
func (p *panel) tryLevel(r int, s float32, lo, hi int) (change float32) {
	if s == 0 {
		return 0
	}
	c, grid, inverse := p.choice, p.grids[r], 1/s
	e, want := p.e[r*p.stride:], p.want(r)
	g := c.g[:hi-lo]
	copy(g, p.g[r*p.stride+lo:])
	for i := range g {
		h := p.H[(lo+i)*p.stride+lo:][:hi-lo]
		value := want[lo+i] - e[lo+i]
		c.codes[i] = code(value+g[i]/h[i], inverse, grid.bottom, grid.top)
		step := float32(s*c.codes[i]) - value
		change += float32(step * (float32(step*h[i]) - 2*g[i]))
		for j := i; j < len(g); j++ {
			g[j] -= float32(step * h[j])
		}
	}
	return change
}
