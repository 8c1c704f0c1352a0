package rounding

import (
	"fmt"
	"math"
	"testing"
)

// Refitting raises no row's loss, and its solution, before it is rounded, is that of
// least squares in float64.
func TestRefit(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	const rows = 8
	for _, c := range roundSchemes {
		if scheme(t, c.scheme).Short { // it has none
			continue
		}
		t.Run(fmt.Sprint(c.scheme, " ", c.cols), func(t *testing.T) {
			p := swept(t, rows, c.cols, c.scheme)
			before := p.losses()
			p.fit.products()
			for r := range rows {
				p.fit.equations(r)
				if !p.fit.solve() {
					t.Fatal("no solution")
				}
				fitted, least := fittedLoss(p, r, p.fit.s), fittedLoss(p, r, slowFit(p, r))
				if !(math.Abs(fitted/least-1) < 1e-4) || !(fitted <= before[r]*(1+1e-6)) {
					t.Errorf("row %d: solved for a loss of %v, the least is %v, before %v", r, fitted, least, before[r])
				}
			}
			p.refit()
			lower := 0
			for r, after := range p.losses() {
				if after > before[r]*(1+1e-5) {
					t.Errorf("row %d: loss %v, before %v", r, after, before[r])
				}
				if after < before[r] {
					lower++
				}
				for i, v := range p.errorOf(r) {
					if math.Abs(float64(p.e[r*p.stride+i])-v) > 1e-6 {
						t.Fatalf("row %d, column %d: e is %v, want %v", r, i, p.e[r*p.stride+i], v)
					}
				}
			}
			if lower == 0 {
				t.Error("no row was refitted")
			}
		})
	}
}

// direction64 returns z_i of row r over all columns: codes of a group, or ones.
func direction64(p *panel, r, i int) []float64 {
	z := make([]float64, p.dst.Cols)
	lo, hi := p.dst.Scheme.Span(i%p.fit.groups, p.dst.Cols)
	for c := lo; c < hi; c++ {
		z[c] = 1
		if i < p.fit.groups {
			z[c] = float64(p.codes[r*p.stride+c])
		}
	}
	return z
}

// slowFit solves the normal equations of row r by inversion.
func slowFit(p *panel, r int) []float64 {
	n, d := p.fit.n, p.dst.Cols
	normal, right, s := make([]float64, n*n), make([]float64, n), make([]float64, n)
	trace := 0.0
	for i := range n {
		hz := make([]float64, d)
		for a, v := range direction64(p, r, i) {
			for b := range hz {
				hz[b] += v * float64(p.H[a*p.Input.Stride+b])
			}
		}
		for b, w := range p.want(r) {
			right[i] += hz[b] * float64(w)
		}
		for j := range n {
			for b, v := range direction64(p, r, j) {
				normal[i*n+j] += hz[b] * v
			}
		}
		trace += normal[i*n+i]
	}
	for i := range n {
		normal[i*n+i] += ridge * trace
	}
	inv := invert(normal, n)
	for i := range n {
		for j := range n {
			s[i] += inv[i*n+j] * right[j]
		}
	}
	return s
}

// fittedLoss returns the loss of row r with scales and minima s.
func fittedLoss(p *panel, r int, s []float64) float64 {
	e := make([]float64, p.dst.Cols)
	for i, w := range p.want(r) {
		e[i] = float64(w)
	}
	for i, v := range s {
		for c, z := range direction64(p, r, i) {
			e[c] -= v * z
		}
	}
	return quadratic(e, p.Input)
}
