package rounding

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// A solver solves equations with H + lambda I = L L^T by matrix products, a block of
// columns at a time: products with L off the diagonal, and with the inverses of L's
// diagonal blocks.
type solver struct {
	n, stride    int
	lower, upper []float32 // (n, stride): L and its transpose
	inverse      []float32 // (n, solveBlock): row i of the inverse of its block of L
	transposed   []float32 // (n, solveBlock): row i of that inverse's transpose
}

const (
	solveBlock = 64
	solveRows  = PanelRows // right-hand sides that a core processes at a time
)

func newSolver(f *Factor) *solver {
	s := &solver{n: f.n, stride: kernel.Padded(f.n)}
	s.lower, s.upper = make([]float32, s.n*s.stride), make([]float32, s.n*s.stride)
	s.inverse, s.transposed = make([]float32, s.n*solveBlock), make([]float32, s.n*solveBlock)
	for i := range s.n {
		for j, v := range f.l[i*s.n : i*s.n+i+1] {
			s.lower[i*s.stride+j], s.upper[j*s.stride+i] = float32(v), float32(v)
		}
	}
	for from := 0; from < s.n; from += solveBlock {
		s.invert(f.l, from, min(s.n, from+solveBlock))
	}
	return s
}

// invert computes the inverse of one block of l, column by column.
func (s *solver) invert(l []float64, from, to int) {
	var x [solveBlock]float64
	for j := from; j < to; j++ {
		clear(x[:])
		for i := j; i < to; i++ {
			sum := 0.0
			if i == j {
				sum = 1
			}
			for k := j; k < i; k++ {
				sum -= float64(l[i*s.n+k] * x[k-from])
			}
			x[i-from] = sum / l[i*s.n+i]
			s.inverse[i*solveBlock+j-from] = float32(x[i-from])
			s.transposed[j*solveBlock+i-from] = float32(x[i-from])
		}
	}
}

// Solve replaces each row x of b, (rows, n), by the solution y of
// y (H + lambda I) = x.
func (f *Factor) Solve(ctx context.Context, b []float32, rows int) error {
	s := newSolver(f)
	scratch := make([][]float32, parallel.Workers())
	return parallel.Ranges(ctx, rows, solveRows, func(worker, from, to int) error {
		if scratch[worker] == nil {
			scratch[worker] = make([]float32, solveRows*(s.stride+solveBlock))
		}
		count := to - from
		y, product := scratch[worker][:count*s.stride], scratch[worker][solveRows*s.stride:]
		for r := range count {
			for i := range s.n {
				y[r*s.stride+i] = b[(from+r)*s.n+f.column(i)]
			}
		}
		s.forward(y, product, count)
		s.backward(y, product, count)
		for r := range count {
			for i := range s.n {
				b[(from+r)*s.n+f.column(i)] = y[r*s.stride+i]
			}
		}
		return nil
	})
}

// forward replaces each row x of y, (rows, stride), by the solution z of
// L z = x.
func (s *solver) forward(y, product []float32, rows int) {
	for from := 0; from < s.n; from += solveBlock {
		to := min(s.n, from+solveBlock)
		kernel.Gemm(product, solveBlock, y, s.stride, s.lower[from*s.stride:], s.stride, rows, to-from, from)
		s.finish(y, product, rows, from, to, s.inverse)
	}
}

// backward replaces each row z of y, (rows, stride), by the solution of
// L^T y = z.
func (s *solver) backward(y, product []float32, rows int) {
	for from := (s.n - 1) / solveBlock * solveBlock; from >= 0; from -= solveBlock {
		to := min(s.n, from+solveBlock)
		after := min(s.stride, from+solveBlock)
		kernel.Gemm(product, solveBlock, y[after:], s.stride, s.upper[from*s.stride+after:], s.stride, rows, to-from, s.stride-after)
		s.finish(y, product, rows, from, to, s.transposed)
	}
}

// finish subtracts product from columns [from, to) of y and multiplies by the
// inverse of their block.
func (s *solver) finish(y, product []float32, rows, from, to int, inverse []float32) {
	k := kernel.Padded(to - from)
	for r := range rows {
		rest := product[r*solveBlock:][:k]
		clear(rest[to-from:])
		for i, v := range y[r*s.stride+from:][:to-from] {
			rest[i] = v - rest[i]
		}
	}
	kernel.Gemm(y[from:], s.stride, product, solveBlock, inverse[from*solveBlock:], solveBlock, rows, to-from, k)
}
