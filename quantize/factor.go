package quantize

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// A factor is the second moment H of a linear layer's input, damped and taken
// apart as
//
//	H + lambda I = M D M^T
//
// with its columns in the order in which they will be rounded, M unit upper
// triangular and D diagonal. The error of rounding W to Q then costs
//
//	tr((W-Q) H (W-Q)^T) = sum over j of D_j |column j of (W-Q) M|^2
//
// so the column j that is rounded next best aims at w_j + sum over i < j of
// (w_i - q_i) M_ij: GPTQ (arXiv 2210.17323) in the form of LDLQ (QuIP, arXiv
// 2307.13304, section 4), which needs no inverse.
type factor struct {
	n     int
	order []int     // the column at each place: by falling H_ii
	l     []float64 // (n, n): H + lambda I, places backwards, is L L^T
	m     []float32 // (n, n): row j holds M_ij for i < j
	d     []float64 // (n): D_j
	share float64   // lambda over the mean of H_ii
}

const (
	factorBlock = 64
	damping     = 0.01 // of the mean of H_ii, at first

	dampings = 5 // tries, each ten times the last
)

var errIndefinite = errors.New("the second moments of its input are not positive definite, even damped")

// newFactor factors h, (n, n). damp is lambda over the mean of its diagonal.
func newFactor(ctx context.Context, h []float64, n int, damp float64) (*factor, error) {
	f := &factor{n: n, order: make([]int, n), l: make([]float64, n*n), d: make([]float64, n)}
	mean := 0.0
	for i := range n {
		f.order[i] = i
		mean += h[i*n+i] / float64(n)
	}
	if !(mean > 0) || math.IsInf(mean, 0) {
		return nil, errIndefinite
	}
	slices.SortStableFunc(f.order, func(a, b int) int { return cmp.Compare(h[b*n+b], h[a*n+a]) })
	for range dampings {
		ok, err := f.cholesky(ctx, h, damp*mean)
		if err != nil {
			return nil, err
		}
		if ok {
			f.share = damp
			f.feedback()
			return f, nil
		}
		damp *= 10
	}
	return nil, errIndefinite
}

// column is the column of h at place i of l, whose places run backwards.
func (f *factor) column(i int) int { return f.order[f.n-1-i] }

// cholesky computes l, a block of columns at a time, rows on all cores. ok is
// false if h + lambda I is not positive definite to float64.
func (f *factor) cholesky(ctx context.Context, h []float64, lambda float64) (ok bool, err error) {
	n := f.n
	clear(f.l)
	row := func(i int) []float64 { return f.l[i*n : (i+1)*n] }
	// extend computes columns [from, to) of row i, i >= to or the diagonal's.
	// What is not computed yet is zero, so products may run over whole stripes.
	extend := func(i, from, to int) {
		r, of := row(i), f.column(i)*n
		for j := from; j < min(to, i); j++ {
			k := min(kernel.Padded(j), n)
			r[j] = (h[of+f.column(j)] - kernel.Dot64(r[:k], row(j)[:k])) / row(j)[j]
		}
	}
	for from := 0; from < n; from += factorBlock {
		to := min(n, from+factorBlock)
		for i := from; i < to; i++ {
			extend(i, from, to)
			r := row(i)
			square := h[f.column(i)*n+f.column(i)] + lambda - kernel.Dot64(r[:i], r[:i])
			if !(square > 0) || math.IsInf(square, 0) {
				return false, nil
			}
			r[i] = math.Sqrt(square)
		}
		err := parallel.Do(ctx, (n-to+factorBlock-1)/factorBlock, func(_, b int) error {
			first := to + b*factorBlock
			for i := first; i < min(n, first+factorBlock); i++ {
				extend(i, from, to)
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// feedback computes m and d from l.
func (f *factor) feedback() {
	n := f.n
	f.m = make([]float32, n*n)
	for j := range n {
		back := n - 1 - j
		diagonal := f.l[back*n+back]
		f.d[j] = float64(diagonal * diagonal)
		for i := range j {
			f.m[j*n+i] = float32(f.l[(n-1-i)*n+back] / diagonal)
		}
	}
}
