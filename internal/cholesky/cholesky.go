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
// cores.
const block = 64

// Factor sets l, (n, n), to the lower triangular matrix L with A + ridge*I = L L^T.
// at returns element (i, j) of A for j <= i. ok is false if A + ridge*I is not
// positive definite in float64.
func Factor(l []float64, n int, ridge float64, at func(i, j int) float64) (ok bool) {
	f := factor{n, l, ridge, at}
	clear(l)
	for i := range n {
		f.extend(i, 0, n)
		if !f.diagonal(i) {
			return false
		}
	}
	return true
}

// Parallel is Factor on all cores. at must be safe for concurrent use. err is
// ctx.Err() if ctx ends.
func Parallel(ctx context.Context, l []float64, n int, ridge float64, at func(i, j int) float64) (ok bool, err error) {
	f := factor{n, l, ridge, at}
	clear(l)
	for from := 0; from < n; from += block {
		to := min(n, from+block)
		for i := from; i < to; i++ {
			if f.extend(i, from, to); !f.diagonal(i) {
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

type factor struct {
	n     int
	l     []float64
	ridge float64
	at    func(i, j int) float64
}

func (f *factor) row(i int) []float64 { return f.l[i*f.n : (i+1)*f.n] }

// extend computes the part of columns [from, to) of row i that is left of the
// diagonal. Elements that are not computed yet are zero, so a product may include
// them to cover whole blocks of 16.
func (f *factor) extend(i, from, to int) {
	r := f.row(i)
	for j := from; j < min(to, i); j++ {
		k := min(kernel.Padded(j), f.n)
		r[j] = (f.at(i, j) - kernel.Dot64(r[:k], f.row(j)[:k])) / f.row(j)[j]
	}
}

// diagonal computes element (i, i).
func (f *factor) diagonal(i int) (ok bool) {
	r := f.row(i)
	square := f.at(i, i) + f.ridge - kernel.Dot64(r[:i], r[:i])
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
