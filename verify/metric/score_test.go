package metric

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// near compares with a tolerance that is absolute up to 1 and relative above it.
func near(a, b, tolerance float64) bool {
	return math.Abs(a-b) <= tolerance*max(1, math.Abs(a), math.Abs(b)) || a != a && b != b
}

// slowKL computes the divergence and both -log p of token 0 directly from their
// definitions.
func slowKL(want, got []float32) (kl, nllWant, nllGot float64) {
	soft := func(x []float32) []float64 {
		p, sum := make([]float64, len(x)), 0.0
		top := float64(slices.Max(x))
		for i, v := range x {
			p[i] = math.Exp(float64(v) - top)
			sum += p[i]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	p, q := soft(want), soft(got)
	for i := range p {
		kl += p[i] * math.Log(p[i]/q[i])
	}
	return kl, -math.Log(p[0]), -math.Log(q[0])
}

func TestCompareMatchesSlowTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.IntRange(1, 40).Draw(t, "vocab")
		logit := rapid.Float32Range(-20, 20)
		want := rapid.SliceOfN(logit, v, v).Draw(t, "want")
		got := rapid.SliceOfN(logit, v, v).Draw(t, "got")
		s, err := Compare(want, got, 0, make([]float64, v))
		if err != nil {
			t.Fatal(err)
		}
		kl, nllWant, nllGot := slowKL(want, got)
		if !near(s.KL, kl, 1e-12) || !near(s.RefNLL, nllWant, 1e-12) || !near(s.NLL, nllGot, 1e-12) {
			t.Fatalf("got %v %v %v, want %v %v %v", s.KL, s.RefNLL, s.NLL, kl, nllWant, nllGot)
		}
		if s.KL < 0 || s.Cosine < -1 || s.Cosine > 1 || s.MaxAbs < 0 {
			t.Fatalf("out of range: %+v", s)
		}
		alone, err := Predict(got, 0)
		if err != nil || alone.NLL != s.NLL {
			t.Fatalf("alone %v, with a reference %v, %v", alone.NLL, s.NLL, err)
		}
	})
}

func TestCompareProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Multiples of 1/64 below 64, so that adding a shift is exact.
		logit := rapid.Custom(func(t *rapid.T) float32 { return float32(rapid.IntRange(-4095, 4095).Draw(t, "n")) / 64 })
		v := rapid.IntRange(1, 40).Draw(t, "vocab")
		want := rapid.SliceOfN(logit, v, v).Draw(t, "want")
		got := rapid.SliceOfN(logit, v, v).Draw(t, "got")
		exp := make([]float64, v)
		same, err := Compare(want, want, -1, exp)
		if err != nil || same.KL != 0 || !same.Top1 || same.MaxAbs != 0 || !near(same.Cosine, 1, 1e-15) {
			t.Fatalf("compared with itself: %+v, %v", same, err)
		}
		before, err := Compare(want, got, -1, exp)
		if err != nil {
			t.Fatal(err)
		}
		shift := float32(rapid.IntRange(-1000, 1000).Draw(t, "shift"))
		for i := range got {
			got[i] += shift
		}
		after, err := Compare(want, got, -1, exp)
		if err != nil || !near(before.KL, after.KL, 1e-12) || before.Top1 != after.Top1 {
			t.Fatalf("shifted by %v: %+v became %+v, %v", shift, before, after, err)
		}
	})
}
