package rounding

import (
	"slices"

	"thimble/internal/cholesky"
	"thimble/internal/kernel"
)

// A leastSquares finds the scales and minima that have the smallest loss for fixed codes.
// Let z_i be the codes of group i with zeros in all other columns and, in asymmetric
// schemes, also a vector with ones in group i. A row's values are then the sum of s_i z_i,
// and the loss is smallest where
//
//	sum over j of (z_i^T H z_j) s_j = z_i^T H w
type leastSquares struct {
	p      *panel
	groups int
	n      int         // number of unknowns in a row
	z      []float32   // (rows, padded width of a group), z_i of every row
	ones   []float32   // (width of a group)
	all    [][]float64 // by row: (n, n) and (n), the equations
	normal []float64   // (n, n) of one row
	right  []float64   // (n) of one row
	old, s []float64   // (n)
	chol   []float64   // (n, n)
}

// ridge, times the trace, keeps the equations solvable if all codes of a group are zero.
const ridge = 1e-9

func newLeastSquares(p *panel) *leastSquares {
	f := &leastSquares{p: p, groups: p.dst.Scheme.Groups(p.dst.Cols)}
	f.n = f.groups
	if p.dst.Scheme.Asym {
		f.n *= 2
	}
	f.chol, f.old, f.s = make([]float64, f.n*f.n), make([]float64, f.n), make([]float64, f.n)
	width := p.dst.Scheme.Columns(p.dst.Cols)
	f.z, f.ones = make([]float32, PanelRows*kernel.Padded(width)), slices.Repeat([]float32{1}, width)
	for range PanelRows {
		f.all = append(f.all, make([]float64, f.n*(f.n+1)))
	}
	return f
}

// refit gives each row the scales with the smallest loss, if they still lower the loss
// after rounding to float16.
func (p *panel) refit() {
	f := p.fit
	f.products()
	for r := range p.rows {
		f.equations(r)
		if !f.solve() || !f.better(r) {
			continue
		}
		p.grids[r].set(p.scale[r], p.min[r])
	}
	p.revalue()
}

// revalue recomputes e from the codes.
func (p *panel) revalue() {
	for r := range p.rows {
		grid, want := p.grids[r], p.want(r)
		for i, c := range p.codes[r*p.stride:][:p.dst.Cols] {
			g := grid.group(i)
			p.e[r*p.stride+i] = want[i] - (float32(grid.scale[g]*c) + grid.min[g])
		}
	}
}

// products sets up the normal equations of all rows. It computes H z_j for all rows at
// once, and uses it at once, because all of them together would take (n, cols) for each row.
func (f *leastSquares) products() {
	p, cols := f.p, f.p.dst.Cols
	for j := range f.n {
		lo, hi := p.dst.Scheme.Span(j%f.groups, cols)
		k := kernel.Padded(hi - lo)
		for r := range p.rows {
			z := f.z[r*k:][:k]
			clear(z[copy(z, f.direction(r, j)):])
		}
		kernel.Gemm(p.product, p.stride, f.z, k, p.H[lo:], p.stride, p.rows, cols, k)
		for r := range p.rows {
			f.choose(r)
			hz := p.product[r*p.stride:][:cols]
			for i := j; i < f.n; i++ {
				lo, hi := p.dst.Scheme.Span(i%f.groups, cols)
				v := float64(kernel.Dot(f.direction(r, i), hz[lo:hi]))
				f.normal[i*f.n+j], f.normal[j*f.n+i] = v, v
			}
			f.right[j] = float64(kernel.Dot(p.want(r), hz))
		}
	}
}

// choose sets normal and right to those of row r.
func (f *leastSquares) choose(r int) {
	f.normal, f.right = f.all[r][:f.n*f.n], f.all[r][f.n*f.n:]
}

// direction returns z_i of row r in the columns of its group.
func (f *leastSquares) direction(r, i int) []float32 {
	lo, hi := f.p.dst.Scheme.Span(i%f.groups, f.p.dst.Cols)
	if i < f.groups {
		return f.p.codes[r*f.p.stride:][lo:hi]
	}
	return f.ones[:hi-lo]
}

// equations chooses the normal equations of row r, and its scales before the refit.
func (f *leastSquares) equations(r int) {
	f.choose(r)
	grid := f.p.grids[r]
	for i := range f.n {
		f.old[i] = float64(grid.scale[i%f.groups])
		if i >= f.groups {
			f.old[i] = float64(grid.min[i-f.groups])
		}
	}
}

// solve computes s by Cholesky's method. It returns false if the equations do not
// determine s.
func (f *leastSquares) solve() bool {
	trace := 0.0
	for i := range f.n {
		trace += f.normal[i*f.n+i]
	}
	copy(f.chol, f.normal)
	if !cholesky.Factor(f.chol, f.n, float64(ridge*trace)) {
		return false
	}
	copy(f.s, f.right)
	cholesky.Solve(f.chol, f.n, f.s)
	return true
}

// better rounds s to float16. If that lowers the loss of row r, better stores s as the
// row's scales and returns true.
func (f *leastSquares) better(r int) bool {
	p := f.p
	scale, low := make([]uint16, f.groups), make([]uint16, f.groups)
	for g := range f.groups {
		if f.normal[g*f.n+g] == 0 { // all codes are zero and the scale is free: keep it
			f.s[g] = f.old[g]
		}
	}
	if !toFloat16(scale, f.s[:f.groups]) || f.n > f.groups && !toFloat16(low, f.s[f.groups:]) {
		return false
	}
	before := f.loss(f.old)
	for g := range f.groups {
		f.s[g] = fromFloat16(scale[g])
		if f.s[g] == 0 && f.old[g] != 0 || p.dst.Scheme.Asym && f.s[g] < 0 {
			return false
		}
		if f.n > f.groups {
			f.s[f.groups+g] = fromFloat16(low[g])
		}
	}
	if !(f.loss(f.s) < before) {
		return false
	}
	copy(p.scale[r], scale)
	copy(p.min[r], low)
	return true
}

// loss returns the loss of scales s, up to a constant.
func (f *leastSquares) loss(s []float64) float64 {
	sum := 0.0
	for i, v := range s {
		sum += float64(v * (kernel.Dot64(f.normal[i*f.n:][:f.n], s) - float64(2*f.right[i])))
	}
	return sum
}
