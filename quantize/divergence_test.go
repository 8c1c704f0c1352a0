package quantize

import (
	"math"
	"math/rand/v2"
	"testing"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

func TestDivergence(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, size := range []float64{0, 0.01, 1, 10} {
		for _, n := range []int{1, 2, 30, 1000} {
			a, b := make([]float32, n), make([]float32, n)
			a64, b64 := make([]float64, n), make([]float64, n)
			for i := range a {
				a[i] = float32(3 * r.NormFloat64())
				b[i] = a[i] + 5 + float32(size*r.NormFloat64()) // a constant makes no difference
				a64[i], b64[i] = float64(a[i]), float64(b[i])
			}
			p := append([]float32(nil), a...)
			kernel.Softmax(p)
			want := slowDivergence(a64, b64)
			if got := divergence(p, a, b); !(math.Abs(got-want) <= 1e-9+1e-5*want) || got < 0 {
				t.Errorf("%d logits moved by %v: KL %v, want %v", n, size, got, want)
			}
		}
	}
}

// A judge's divergence is the mean over the positions.
func TestJudge(t *testing.T) {
	m, other := livelyModel(t, nil), livelyModel(t, nil)
	w := other.Tensors[model.Name(1, model.Down)]
	for r, x := range values(w) {
		for c := range x {
			x[c] *= 1.2
		}
		if err := w.SetFloats(r, x); err != nil {
			t.Fatal(err)
		}
	}
	const vocab = 30
	texts := randomTexts(2, 25, vocab)
	h, coarse := finalStates(t, m, texts), finalStates(t, other, texts)
	j, err := newJudge(t.Context(), h, vocab)
	if err != nil {
		t.Fatal(err)
	}
	if kl, err := j.kl(t.Context(), h); err != nil || kl > 1e-12 {
		t.Errorf("a model is %v from itself, %v", kl, err)
	}
	got, err := j.kl(t.Context(), coarse)
	if err != nil {
		t.Fatal(err)
	}
	a, b, want, n := scores(t, h, vocab), scores(t, coarse, vocab), 0.0, 0.0
	for at := range a {
		want += slowDivergence(a[at], b[at])
		n++
	}
	if want /= n; math.Abs(got-want) > 1e-5*want || !(want > 1e-4) {
		t.Errorf("KL %v, want %v", got, want)
	}
}
