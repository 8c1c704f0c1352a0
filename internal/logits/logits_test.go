package logits

import (
	"math"
	"math/rand/v2"
	"testing"

	"thimble/internal/kernel"
)

// slowKL computes KL(P || Q) by the textbook formula.
func slowKL(p, q []float32) float64 {
	softmax := func(x []float32) []float64 {
		out, sum, top := make([]float64, len(x)), 0.0, math.Inf(-1)
		for _, v := range x {
			top = max(top, float64(v))
		}
		for i, v := range x {
			out[i] = math.Exp(float64(v) - top)
			sum += out[i]
		}
		for i := range out {
			out[i] /= sum
		}
		return out
	}
	a, b, kl := softmax(p), softmax(q), 0.0
	for i := range a {
		if a[i] > 0 {
			kl += a[i] * (math.Log(a[i]) - math.Log(b[i]))
		}
	}
	return kl
}

func TestKL(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range []float64{0, 0.01, 1, 10} {
		for _, n := range []int{1, 2, 30, 1000} {
			p, q := make([]float32, n), make([]float32, n)
			for i := range p {
				p[i] = float32(3 * r.NormFloat64())
				q[i] = p[i] + 5 + float32(size*r.NormFloat64()) // adding a constant changes nothing
			}
			exp := make([]float64, n)
			lse := LogSumExp(p, exp)
			want := slowKL(p, q)
			c := kernel.Compare(p, q, exp)
			if got := KL(&c, lse, LogSumExp(q, nil)); !(math.Abs(got-want) <= 1e-9+1e-9*want) || got < 0 {
				t.Errorf("KL of %d logits with noise of %v is %v, want %v", n, size, got, want)
			}
			prob := append([]float32(nil), p...)
			kernel.Softmax(prob)
			if got := QuickKL(prob, p, q); !(math.Abs(got-want) <= 1e-9+1e-5*want) || got < 0 {
				t.Errorf("QuickKL of %d logits with noise of %v is %v, want %v", n, size, got, want)
			}
		}
	}
}

func TestRank(t *testing.T) {
	x := []float32{2, 5, 5, -1}
	for at, want := range []int{2, 0, 1, 3} {
		if got := Rank(x, at); got != want {
			t.Errorf("Rank(%v, %d) is %d, want %d", x, at, got, want)
		}
	}
	if got := Argmax(x); got != 1 {
		t.Errorf("Argmax(%v) is %d, want 1, the first of the ties", x, got)
	}
}

func TestCosine(t *testing.T) {
	for _, c := range []struct{ ab, aa, bb, want float64 }{{0, 0, 0, 1}, {0, 0, 2, 0}, {2, 1, 4, 1}, {-2.0000001, 1, 4, -1}} {
		if got := Cosine(c.ab, c.aa, c.bb); got != c.want {
			t.Errorf("Cosine(%v, %v, %v) is %v, want %v", c.ab, c.aa, c.bb, got, c.want)
		}
	}
}

func TestFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		err := Finite("model", []float32{0, bad, bad})
		if err == nil {
			t.Fatalf("Finite accepts %v", bad)
		}
		if want := "the model's logit of token 1 is "; err.Error()[:len(want)] != want {
			t.Errorf("error is %v, want prefix %q", err, want)
		}
	}
	if err := Finite("model", []float32{0, math.MaxFloat32}); err != nil {
		t.Error(err)
	}
}
