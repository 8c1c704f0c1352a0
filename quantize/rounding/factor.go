package rounding

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"thimble/internal/cholesky"
)

// A Factor is the second moment H of a linear layer's input, damped and factored
// as
//
//	H + lambda I = M D M^T
//
// with M unit upper triangular and D diagonal, and with the columns in the order in which
// they are rounded. Rounding W to Q then costs
//
//	tr((W-Q) (H + lambda I) (W-Q)^T) = sum over j of D_j |column j of (W-Q) M|^2
//
// so the best target for the next column j is w_j + sum over i < j of (w_i - q_i) M_ij.
// This is GPTQ (arXiv 2210.17323) in the form of LDLQ (QuIP, arXiv 2307.13304,
// section 4), which needs no inverse.
type Factor struct {
	Order []int     // (n): the column at each place, in descending order of H_ii
	M     []float32 // (n, n): row j holds M_ij for i < j
	D     []float64 // (n): D_j

	n    int
	l    []float64 // (n, n): H + lambda I, in reverse order, is L L^T
	damp float64   // lambda divided by the mean of H_ii
}

// Damping is the first lambda to try, as a fraction of the mean of H_ii.
const Damping = 0.01

const dampings = 5 // number of tries, each with ten times the previous lambda

var errIndefinite = errors.New("the second moments of the layer's input are not positive definite, even with damping")

// newFactor factors h, (n, n). damp is the smallest lambda to try, as a fraction of the
// mean of the diagonal.
func newFactor(ctx context.Context, h []float64, n int, damp float64) (*Factor, error) {
	f := &Factor{n: n, Order: make([]int, n), l: make([]float64, n*n), D: make([]float64, n)}
	mean := 0.0
	for i := range n {
		f.Order[i] = i
		mean += h[i*n+i] / float64(n)
	}
	if !(mean > 0) || math.IsInf(mean, 0) {
		return nil, errIndefinite
	}
	slices.SortStableFunc(f.Order, func(a, b int) int { return cmp.Compare(h[b*n+b], h[a*n+a]) })
	for range dampings {
		f.arrange(h)
		ok, err := cholesky.Parallel(ctx, f.l, n, damp*mean)
		if err != nil {
			return nil, err
		}
		if ok {
			f.damp = damp
			f.feedback()
			return f, nil
		}
		damp *= 10
	}
	return nil, errIndefinite
}

// arrange sets the lower triangle of l to that of H, in reverse order.
func (f *Factor) arrange(h []float64) {
	for i := range f.n {
		from, to := h[f.column(i)*f.n:][:f.n], f.l[i*f.n:][:i+1]
		for j := range to {
			to[j] = from[f.column(j)]
		}
	}
}

// column returns the column of h at place i of l, which is in reverse order.
func (f *Factor) column(i int) int { return f.Order[f.n-1-i] }

// feedback computes m and d from l.
func (f *Factor) feedback() {
	n := f.n
	f.M = make([]float32, n*n)
	for j := range n {
		back := n - 1 - j
		diagonal := f.l[back*n+back]
		f.D[j] = float64(diagonal * diagonal)
		for i := range j {
			f.M[j*n+i] = float32(f.l[(n-1-i)*n+back] / diagonal)
		}
	}
}
