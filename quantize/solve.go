package quantize

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// A solver holds L of H + lambda I = L L^T so that solutions are matrix products,
// a block of columns at a time: off the diagonal those of L, and on it those of
// the block's inverse.
type solver struct {
	n, stride    int
	lower, upper []float32 // (n, stride): L and its transpose
	inverse      []float32 // (n, solveBlock): row i is that of its block of L, inverted
	transposed   []float32 // (n, solveBlock): the same of the block's transpose
}

const (
	solveBlock = 64
	solveRows  = panelRows // right-hand sides that a core takes at a time
)

func newSolver(f *factor) *solver {
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

// solve replaces each row x of b, (rows, n), by the solution y of
// y (H + lambda I) = x.
func (f *factor) solve(ctx context.Context, b []float32, rows int) error {
	s := newSolver(f)
	scratch := make([][]float32, parallel.Workers())
	return parallel.Do(ctx, (rows+solveRows-1)/solveRows, func(worker, p int) error {
		if scratch[worker] == nil {
			scratch[worker] = make([]float32, solveRows*(s.stride+solveBlock))
		}
		first := p * solveRows
		count := min(solveRows, rows-first)
		y, part := scratch[worker][:count*s.stride], scratch[worker][solveRows*s.stride:]
		for r := range count {
			for i := range s.n {
				y[r*s.stride+i] = b[(first+r)*s.n+f.column(i)]
			}
		}
		s.forward(y, part, count)
		s.backward(y, part, count)
		for r := range count {
			for i := range s.n {
				b[(first+r)*s.n+f.column(i)] = y[r*s.stride+i]
			}
		}
		return nil
	})
}

// forward replaces each row x of y, (rows, stride), by the solution z of
// L z = x.
func (s *solver) forward(y, part []float32, rows int) {
	for from := 0; from < s.n; from += solveBlock {
		to := min(s.n, from+solveBlock)
		kernel.Gemm(part, solveBlock, y, s.stride, s.lower[from*s.stride:], s.stride, rows, to-from, from)
		s.finish(y, part, rows, from, to, s.inverse)
	}
}

// backward replaces each row z of y, (rows, stride), by the solution of
// L^T y = z.
func (s *solver) backward(y, part []float32, rows int) {
	for from := (s.n - 1) / solveBlock * solveBlock; from >= 0; from -= solveBlock {
		to := min(s.n, from+solveBlock)
		behind := min(s.stride, from+solveBlock)
		kernel.Gemm(part, solveBlock, y[behind:], s.stride, s.upper[from*s.stride+behind:], s.stride, rows, to-from, s.stride-behind)
		s.finish(y, part, rows, from, to, s.transposed)
	}
}

// finish takes part from columns [from, to) of y and multiplies by the inverse of
// their block.
func (s *solver) finish(y, part []float32, rows, from, to int, inverse []float32) {
	k := kernel.Padded(to - from)
	for r := range rows {
		rest := part[r*solveBlock:][:k]
		clear(rest[to-from:])
		for i, v := range y[r*s.stride+from:][:to-from] {
			rest[i] = v - rest[i]
		}
	}
	kernel.Gemm(y[from:], s.stride, part, solveBlock, inverse[from*solveBlock:], solveBlock, rows, to-from, k)
}
