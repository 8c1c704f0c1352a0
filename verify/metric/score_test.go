package metric

import (
	"math"
	"math/rand/v2"
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
		s, err := Compare(want, got, 0, make([]float64, v), Storage{})
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
		same, err := Compare(want, want, -1, exp, Storage{})
		if err != nil || same.KL != 0 || !same.Top1 || same.MaxAbs != 0 || !near(same.Cosine, 1, 1e-15) {
			t.Fatalf("compared with itself: %+v, %v", same, err)
		}
		before, err := Compare(want, got, -1, exp, Storage{})
		if err != nil {
			t.Fatal(err)
		}
		shift := float32(rapid.IntRange(-1000, 1000).Draw(t, "shift"))
		for i := range got {
			got[i] += shift
		}
		after, err := Compare(want, got, -1, exp, Storage{})
		if err != nil || !near(before.KL, after.KL, 1e-12) || before.Top1 != after.Top1 {
			t.Fatalf("shifted by %v: %+v became %+v, %v", shift, before, after, err)
		}
	})
}

// Rounding of a reference's logits causes the divergence that is expected of it, and no
// difference beyond half a step.
func TestRoundingOfReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, stored := range []Storage{{"bf16", 8, 0x1p-133}, {"f16", 11, 0x1p-24}} {
		var scores []Score
		for range 200 {
			const v = 500
			want, got := make([]float32, v), make([]float32, v)
			for i := range want {
				x := float32(3 * rng.NormFloat64())
				unit := float32(stored.step(float64(x)))
				got[i], want[i] = x, float32(math.RoundToEven(float64(x/unit)))*unit
			}
			s, err := Compare(want, got, -1, make([]float64, v), stored)
			if err != nil {
				t.Fatal(err)
			}
			if s.MaxAbs > s.Rounding.MaxAbs {
				t.Errorf("%s: a difference of %g, rounding explains %g", stored.Name, s.MaxAbs, s.Rounding.MaxAbs)
			}
			scores = append(scores, s)
		}
		if got, want := float64(Summarize(scores).KLMean), RoundingOf(scores).KL; !(got > 0.9*want && got < 1.1*want) {
			t.Errorf("%s: the mean divergence is %g, expected %g", stored.Name, got, want)
		}
	}
	if (Storage{}).step(0) != 0 || (Storage{"bf16", 8, 0x1p-133}).step(0) != 0x1p-133 || (Storage{"bf16", 8, 0}).step(-9) != 1./16 {
		t.Error("steps")
	}
}
