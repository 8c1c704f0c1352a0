package rounding

import "thimble/internal/kernel"

const (
	maxSweeps = 2     // over all columns
	minGain   = 0.002 // of the loss: a sweep that gains less is the last
)

// descend changes single codes, each to the one with the least loss e H e^T while all
// others are fixed. It goes block by block, and sweeps again while that reduces the loss
// (coordinate descent: QuantEase, arXiv 2309.01885).
func (p *panel) descend() {
	p.multiply()
	before := p.loss()
	for range maxSweeps {
		for from := 0; from < p.dst.Cols; from += sweepBlock {
			p.descendBlock(from, min(p.dst.Cols, from+sweepBlock))
		}
		after := p.loss()
		if !(after < before*(1-minGain)) {
			break
		}
		before = after
	}
}

// loss returns the sum over the rows of e g, which equals e H e^T.
func (p *panel) loss() float64 {
	sum := 0.0
	for r := range p.rows {
		sum += float64(kernel.Dot(p.e[r*p.stride:][:p.dst.Cols], p.g[r*p.stride:][:p.dst.Cols]))
	}
	return sum
}

// descendBlock changes codes of the columns [from, to), and updates e and g.
func (p *panel) descendBlock(from, to int) {
	n := to - from
	deltas := p.errs // (rows, stride): the changes subtracted from e, padded with zeros
	for r := range p.rows {
		e, g, codes := p.e[r*p.stride:], p.g[r*p.stride:], p.codes[r*p.stride:]
		grid, delta := p.grids[r], deltas[r*p.stride:][:kernel.Padded(n)]
		clear(delta)
		if p.choice != nil {
			p.moveLevels(r, from, to, delta)
		}
		for i := from; i < to; i++ {
			h := p.H[i*p.stride:]
			value := p.want(r)[i] - e[i]
			c, v := grid.nearest(grid.group(i), value+g[i]/h[i])
			if c == codes[i] {
				continue
			}
			step := v - value
			codes[i] = c
			e[i] -= step
			delta[i-from] += step
			for j := from; j < to; j++ {
				g[j] -= float32(step * h[j])
			}
		}
	}
	kernel.Gemm(p.product, p.stride, deltas, p.stride, p.H[from:], p.stride, p.rows, p.dst.Cols, kernel.Padded(n))
	for r := range p.rows {
		g, product := p.g[r*p.stride:], p.product[r*p.stride:]
		for j := range p.dst.Cols {
			if j < from || j >= to {
				g[j] -= product[j]
			}
		}
	}
}
