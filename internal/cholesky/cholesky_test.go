package cholesky

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// definite returns B B^T + I for a random B, (n, n).
func definite(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 0))
	b, a := make([]float64, n*n), make([]float64, n*n)
	for i := range b {
		b[i] = r.NormFloat64()
	}
	for i := range n {
		for j := range n {
			for k := range n {
				a[i*n+j] += b[i*n+k] * b[j*n+k]
			}
		}
		a[i*n+i]++
	}
	return a
}

func TestFactor(t *testing.T) {
	for _, n := range []int{1, 2, 15, 16, 17, 63, 64, 65, 129, 150} {
		const ridge = 0.5
		a := definite(n, uint64(n))
		at := func(i, j int) float64 {
			if j > i {
				t.Fatalf("element (%d, %d) is above the diagonal", i, j)
			}
			return a[i*n+j]
		}
		l, all := make([]float64, n*n), make([]float64, n*n)
		for i := range l {
			l[i], all[i] = math.NaN(), math.NaN()
		}
		if !Factor(l, n, ridge, at) {
			t.Fatalf("%d rows: not positive definite", n)
		}
		if ok, err := Parallel(t.Context(), all, n, ridge, at); !ok || err != nil {
			t.Fatalf("%d rows: %v, %v", n, ok, err)
		}
		if !slices.Equal(l, all) {
			t.Errorf("%d rows: Parallel gives other bits than Factor", n)
		}
		for i := range n {
			for j := range n {
				got, want := 0.0, a[i*n+j]
				for k := range n {
					got += l[i*n+k] * l[j*n+k]
				}
				if i == j {
					want += ridge
				}
				if math.Abs(got-want) > 1e-11*float64(n) {
					t.Fatalf("%d rows: L L^T (%d, %d) is %v, want %v", n, i, j, got, want)
				}
				if j > i && l[i*n+j] != 0 {
					t.Fatalf("%d rows: (%d, %d) is %v, want 0 above the diagonal", n, i, j, l[i*n+j])
				}
			}
		}
		b := make([]float64, n)
		for i := range b {
			b[i] = float64(i%7) - 3
		}
		x := slices.Clone(b)
		Solve(l, n, x)
		for i := range n {
			got := ridge * x[i]
			for j := range n {
				got += a[i*n+j] * x[j]
			}
			if math.Abs(got-b[i]) > 1e-9*float64(n) {
				t.Fatalf("%d rows: row %d of A x is %v, want %v", n, i, got, b[i])
			}
		}
	}
}

func TestIndefinite(t *testing.T) {
	for name, at := range map[string]func(i, j int) float64{
		"zero":         func(i, j int) float64 { return 0 },
		"rank 1":       func(i, j int) float64 { return 1 },
		"negative":     func(i, j int) float64 { return map[bool]float64{true: -1}[i == j] },
		"infinite":     func(i, j int) float64 { return math.Inf(1) },
		"not a number": func(i, j int) float64 { return math.NaN() },
	} {
		const n = 70
		if Factor(make([]float64, n*n), n, 0, at) {
			t.Errorf("%s: Factor calls it positive definite", name)
		}
		if ok, err := Parallel(t.Context(), make([]float64, n*n), n, 0, at); ok || err != nil {
			t.Errorf("%s: Parallel returns %v, %v", name, ok, err)
		}
	}
}
