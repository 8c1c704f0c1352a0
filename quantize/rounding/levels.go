package rounding

import (
	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// A levelChoice is the memory for choosing the level of one group of short scales. Each has its
// values for one level after another.
type levelChoice struct {
	scale, inverse, change [kernel.Descents]float32
	codes, memory          [][kernel.Descents]float32 // (columns of the group): see kernel.GridDescents
	value                  []float32                  // (columns of the group): what they have now
}

func newLevelChoice(columns int) *levelChoice {
	return &levelChoice{
		codes: make([][kernel.Descents]float32, columns), memory: make([][kernel.Descents]float32, columns),
		value: make([]float32, columns),
	}
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
		l, changed := p.level(r, lo, hi)
		if !changed {
			continue
		}
		scale := p.choice.scale[l]
		p.scale[r][group], _ = qtensor.ToFloat16(scale)
		grid.setScale(group, scale)
		for i := lo; i < hi; i++ {
			c := p.choice.codes[i-lo][l]
			step := float32(scale*c) - p.choice.value[i-lo]
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

// level returns the level with the least loss for the group of the columns [lo, hi) of row r, and
// whether that lowers the loss. p.choice then has its scale and codes.
func (p *panel) level(r, lo, hi int) (best int, changed bool) {
	if p.factors[r] == 0 { // all weights are
		return 0, false
	}
	c, grid := p.choice, p.grids[r]
	levelScales(p.dst.Scheme, p.factors[r], c.scale[:], c.inverse[:])
	e, want, n := p.e[r*p.stride:], p.want(r), hi-lo
	for i := range n {
		c.value[i] = want[lo+i] - e[lo+i]
	}
	kernel.GridDescents(&c.change, c.codes[:n], c.memory[:n], c.value[:n], p.g[r*p.stride:][lo:hi], p.H[lo*p.stride+lo:], p.stride, &c.scale, &c.inverse, grid.bottom, grid.top)
	least := float32(0)
	for l, change := range c.change {
		if change < least {
			least, best, changed = change, l, true
		}
	}
	return best, changed
}
