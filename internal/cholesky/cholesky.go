// Package cholesky factors symmetric positive definite matrices in float64 and
// solves linear equations with the factors.
//
// It computes every product with kernel.Dot64, so a factor has the same bits on
// every machine, on any number of cores, and for any block size.
package cholesky

import (
	"context"
	"math"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// block is the number of columns that Parallel computes before it waits for all
// cores. It is a multiple of what kernel.Dot64 pads to.
const block = 64

// Factor replaces the lower triangle of a symmetric matrix A, (n, n), in l by that of the
// matrix L with A + ridge*I = L L^T, and the rest of l by zeros. ok is false if
// A + ridge*I is not positive definite in float64; l is then unspecified.
func Factor(l []float64, n int, ridge float64) (ok bool) {
	f := factor{n, l, ridge}
	f.clearUpper()
	for i := range n {
		for from := 0; from < i; from += block {
			f.extend(i, from, min(i, from+block))
		}
		if !f.diagonal(i) {
			return false
		}
	}
	return true
}

// Parallel is Factor on all cores. err is ctx.Err() if ctx ends.
func Parallel(ctx context.Context, l []float64, n int, ridge float64) (ok bool, err error) {
	f := factor{n, l, ridge}
	f.clearUpper()
	for from := 0; from < n; from += block {
		to := min(n, from+block)
		for i := from; i < to; i++ {
			if f.extend(i, from, i); !f.diagonal(i) {
				return false, nil
			}
		}
		err := parallel.Do(ctx, (n-to+block-1)/block, func(_, b int) error {
			first := to + b*block
			for i := first; i < min(n, first+block); i++ {
				f.extend(i, from, to)
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// A factor is a factorization in progress: the rows of l hold elements of L up to some
// column, and of A after it.
type factor struct {
	n     int
	l     []float64
	ridge float64
}

func (f *factor) row(i int) []float64 { return f.l[i*f.n : (i+1)*f.n] }

func (f *factor) clearUpper() {
	for i := range f.n {
		clear(f.row(i)[i+1:])
	}
}

// extend computes the elements [from, to) of row i, at most a block, which are left of the
// diagonal. All rows above it are known in these columns. Elements of the block that are
// not yet known are zero, so that a product may run past the last one that is.
func (f *factor) extend(i, from, to int) {
	var a [block]float64
	r := f.row(i)
	n := copy(a[:], r[from:to])
	clear(r[from:to])
	for j := from; j < from+n; j++ {
		k := min(kernel.Padded(j), f.n)
		r[j] = (a[j-from] - kernel.Dot64(r[:k], f.row(j)[:k])) / f.row(j)[j]
	}
}

// diagonal computes the diagonal element of row i, whose other elements are known.
func (f *factor) diagonal(i int) (ok bool) {
	r := f.row(i)
	square := r[i] + f.ridge - kernel.Dot64(r[:i], r[:i])
	if !(square > 0) || math.IsInf(square, 0) {
		return false
	}
	r[i] = math.Sqrt(square)
	return true
}

// Solve replaces b, (n), by the solution x of L L^T x = b, where l holds L.
func Solve(l []float64, n int, b []float64) {
	for i := range n {
		b[i] = (b[i] - kernel.Dot64(l[i*n:][:i], b[:i])) / l[i*n+i]
	}
	for i := n - 1; i >= 0; i-- {
		b[i] /= l[i*n+i]
		for j := range i {
			b[j] -= float64(l[i*n+j] * b[i])
		}
	}
}
