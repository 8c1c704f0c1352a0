package cholesky

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
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
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			const ridge = 0.5
			a := definite(n, uint64(n))
			l := factored(t, a, n, ridge)
			checkFactor(t, a, l, n, ridge)
			checkSolve(t, a, l, n, ridge)
		})
	}
}

// factored returns the factor of a + ridge*I. It fails unless Factor and Parallel
// give the same bits and call at only for the lower triangle.
func factored(t *testing.T, a []float64, n int, ridge float64) []float64 {
	t.Helper()
	l, parallel := slices.Clone(a), slices.Clone(a)
	for i := range n { // above the diagonal, neither may read
		for j := i + 1; j < n; j++ {
			l[i*n+j], parallel[i*n+j] = math.NaN(), math.NaN()
		}
	}
	if !Factor(l, n, ridge) {
		t.Fatal("Factor: not positive definite")
	}
	if ok, err := Parallel(t.Context(), parallel, n, ridge); !ok || err != nil {
		t.Fatalf("Parallel: %v, %v", ok, err)
	}
	if !slices.Equal(l, parallel) {
		t.Error("Parallel and Factor give different bits")
	}
	return l
}

// checkFactor fails unless L L^T = a + ridge*I and L is lower triangular.
func checkFactor(t *testing.T, a, l []float64, n int, ridge float64) {
	t.Helper()
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
				t.Fatalf("element (%d, %d) of L L^T is %v, want %v", i, j, got, want)
			}
			if j > i && l[i*n+j] != 0 {
				t.Fatalf("element (%d, %d) of L is %v, want 0 above the diagonal", i, j, l[i*n+j])
			}
		}
	}
}

// checkSolve fails unless Solve solves (a + ridge*I) x = b.
func checkSolve(t *testing.T, a, l []float64, n int, ridge float64) {
	t.Helper()
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
			t.Fatalf("row %d of A x is %v, want %v", i, got, b[i])
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
		a := make([]float64, n*n)
		for i := range a {
			a[i] = at(i/n, i%n)
		}
		if Factor(slices.Clone(a), n, 0) {
			t.Errorf("%s: Factor reports that it is positive definite", name)
		}
		if ok, err := Parallel(t.Context(), a, n, 0); ok || err != nil {
			t.Errorf("%s: Parallel returns %v, %v", name, ok, err)
		}
	}
}
