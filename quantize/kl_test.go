package quantize

import (
	"math"
	"testing"

	"thimble/internal/model"
	"thimble/quantize/quantizetest"
)

// The evaluator returns the mean divergence over the positions.
func TestKLEvaluator(t *testing.T) {
	m, other := livelyModel(t, nil), livelyModel(t, nil)
	w := other.Tensors[model.Name(1, model.Down)]
	for r, x := range quantizetest.Values(w) {
		for c := range x {
			x[c] *= 1.2
		}
		if err := w.SetFloats(r, x); err != nil {
			t.Fatal(err)
		}
	}
	const vocab = 30
	texts := randomTexts(2, 25, vocab)
	h, coarse := hiddenStates(t, m, texts), hiddenStates(t, other, texts)
	e, err := newKLEvaluator(t.Context(), h, vocab)
	if err != nil {
		t.Fatal(err)
	}
	if kl, err := e.mean(t.Context(), h); err != nil || kl > 1e-12 {
		t.Errorf("a model is %v from itself, %v", kl, err)
	}
	got, err := e.mean(t.Context(), coarse)
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
