package rounding

import (
	"fmt"
	"math"
	"testing"
)

// Descent raises no row's loss and keeps e and g up to date. After it has run long
// enough, no move of a single code gains anything.
func TestDescend(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	const rows = 5
	for _, c := range roundSchemes {
		t.Run(fmt.Sprint(c.scheme, " ", c.cols), func(t *testing.T) {
			p := swept(t, rows, c.cols, c.scheme)
			before := p.losses()
			p.descend()
			for r, after := range p.losses() {
				if after > before[r]*(1+1e-5) {
					t.Errorf("row %d: loss %v, before %v", r, after, before[r])
				}
				checkResidual(t, p, r) // codes have moved since e H was last computed afresh
			}
			for range 50 {
				p.descend()
			}
			for r := range rows {
				checkSettled(t, p, r)
			}
		})
	}
}

// slope returns g_i = (e H)_i, and the sum of the magnitudes of its terms.
func slope(e []float64, in *Input, i int) (g, size float64) {
	for j, v := range e {
		term := v * float64(in.H[j*in.Stride+i])
		g, size = g+term, size+math.Abs(term)
	}
	return g, size
}

func checkResidual(t *testing.T, p *panel, r int) {
	t.Helper()
	e := p.errorOf(r)
	for i, v := range e {
		g, size := slope(e, p.Input, i)
		if d := math.Abs(float64(p.e[r*p.stride+i]) - v); d > 1e-6 {
			t.Fatalf("row %d, column %d: e is off by %v", r, i, d)
		}
		if d := math.Abs(float64(p.g[r*p.stride+i]) - g); d > 1e-4*size {
			t.Fatalf("row %d, column %d: g is off by %v of %v", r, i, d, size)
		}
	}
}

// checkSettled wants no gain from moving a code of a row up or down by one.
func checkSettled(t *testing.T, p *panel, r int) {
	t.Helper()
	g := p.grids[r]
	e := p.errorOf(r)
	loss := quadratic(e, p.Input)
	for i := range e {
		slope, _ := slope(e, p.Input, i)
		for _, by := range []float64{-1, 1} {
			c := float64(p.codes[r*p.stride+i]) + by
			if c < float64(g.bottom) || c > float64(g.top) {
				continue
			}
			step := by * float64(g.scale[g.group(i)])
			h := float64(p.H[i*p.Input.Stride+i])
			if gain := 2*step*slope - step*step*h; gain > 1e-4*loss {
				t.Errorf("row %d, column %d: a move by %v would still gain %v of %v", r, i, by, gain, loss)
			}
		}
	}
}
