package rounding

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// secondMoments returns the closed moments of n correlated positions.
func secondMoments(t testing.TB, n, width int, seed uint64) *Moments {
	t.Helper()
	m, err := MomentsOf(t.Context(), rowsAt(correlated(n, width, seed)), ones(n))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// M D M^T is H + lambda I, with the columns in descending order.
func TestFactor(t *testing.T) {
	for _, n := range []int{1, 5, 16, 63, 72, 150} {
		h := secondMoments(t, 400, n, uint64(n)).H
		f, err := newFactor(t.Context(), h, n, Damping)
		if err != nil {
			t.Fatal(err)
		}
		f.feedback(true)
		if f.damp != Damping {
			t.Errorf("%d columns: damped by %v, want %v", n, f.damp, Damping)
		}
		if !slices.IsSortedFunc(f.Order, func(a, b int) int {
			if h[a*n+a] < h[b*n+b] {
				return 1
			}
			return -1
		}) {
			t.Errorf("%d columns: the order %v does not fall", n, f.Order)
		}
		if sorted := slices.Sorted(slices.Values(f.Order)); sorted[0] != 0 || sorted[n-1] != n-1 || len(slices.Compact(sorted)) != n {
			t.Fatalf("%d columns: %v is not a permutation", n, f.Order)
		}
		lambda := f.damp * mean(diagonal(h, n))
		m := func(i, j int) float64 { // row j holds M_ij
			if i == j {
				return 1
			}
			return float64(f.M[j*n+i])
		}
		for a, i := range f.Order {
			for b, j := range f.Order {
				want, got := h[i*n+j], 0.0
				if a == b {
					want += lambda
				}
				for k := max(a, b); k < n; k++ {
					got += m(a, k) * f.D[k] * m(b, k)
				}
				if scale := math.Sqrt((h[i*n+i] + lambda) * (h[j*n+j] + lambda)); math.Abs(got-want) > 1e-6*scale {
					t.Fatalf("%d columns: M D M^T at (%d, %d) is %v, want %v", n, i, j, got, want)
				}
			}
		}
	}
}

func TestFactorSolve(t *testing.T) {
	for _, n := range []int{1, 17, 72, 130} {
		h := secondMoments(t, 400, n, uint64(n)).H
		f, err := newFactor(t.Context(), h, n, Damping)
		if err != nil {
			t.Fatal(err)
		}
		f.feedback(true)
		lambda := f.damp * mean(diagonal(h, n))
		for _, rows := range []int{1, solveRows, solveRows + 3} {
			r := rand.New(rand.NewPCG(uint64(n), uint64(rows)))
			b := make([]float32, rows*n)
			for i := range b {
				b[i] = float32(r.NormFloat64())
			}
			y := slices.Clone(b)
			if err := f.Solve(t.Context(), y, rows); err != nil {
				t.Fatal(err)
			}
			for row := range rows {
				var off, size float64
				for i := range n {
					sum, all := float64(y[row*n+i])*lambda, 0.0
					for j := range n {
						v := float64(y[row*n+j]) * h[j*n+i]
						sum, all = sum+v, all+math.Abs(v)
					}
					off, size = max(off, math.Abs(sum-float64(b[row*n+i]))), max(size, all)
				}
				if !(off <= 1e-6*size) { // y is stored in float32
					t.Errorf("%d columns, row %d of %d: residual %v where terms add up to %v", n, row, rows, off, size)
				}
			}
		}
	}
}

func TestFactorDampsUntilItHolds(t *testing.T) {
	const n = 20
	// -0.05 on the diagonal of one column: a hundredth of the mean is too little
	// to make that positive, a tenth is enough.
	h := make([]float64, n*n)
	for i := range n {
		h[i*n+i] = 1
	}
	h[0] = -0.05
	f, err := newFactor(t.Context(), h, n, Damping)
	if err != nil {
		t.Fatal(err)
	}
	if f.damp != 10*Damping {
		t.Errorf("damped by %v, want %v", f.damp, 10*Damping)
	}
	// Fewer positions than columns: the first damping is enough.
	few := secondMoments(t, 3, n, 1)
	if f, err = newFactor(t.Context(), few.H, n, Damping); err != nil || f.damp != Damping {
		t.Errorf("rank 3 of %d: %v", n, err)
	}
	// The Input damps h as much as its factor.
	h = slices.Clone(few.H)
	in, err := NewInput(t.Context(), few, Damping)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		want := h[i*n+i] + Damping*mean(diagonal(h, n))
		if got := float64(in.H[i*in.Stride+i]); math.Abs(got-want) > 1e-6*want {
			t.Errorf("column %d of the input is damped to %v, want %v", i, got, want)
		}
	}
}

func TestFactorRefuses(t *testing.T) {
	for name, h := range map[string][]float64{
		"zero":       {0, 0, 0, 0},
		"indefinite": {1, 1e6, 1e6, 1},
		"negative":   {-1, 0, 0, -1},
		"NaN":        {math.NaN(), 0, 0, 1},
		"NaN off it": {1, math.NaN(), math.NaN(), 1},
		"infinite":   {math.Inf(1), 0, 0, 1},
	} {
		if _, err := newFactor(t.Context(), h, 2, Damping); !errors.Is(err, errIndefinite) {
			t.Errorf("%s: error is %v, want %v", name, err, errIndefinite)
		}
	}
}
