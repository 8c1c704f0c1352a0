package transformer_test

import (
	"path/filepath"
	"testing"

	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/transformer"
)

// Eight-bit weights fail the gates of some random mixtures because errors of the router's input
// choose other experts where two are about as good, not because of the router's own arithmetic: it
// has float32 weights and a float32 input. With the experts that the float model chooses, the
// divergence is that of any other model.
func TestOtherExperts(t *testing.T) {
	for _, c := range []struct {
		dir         string
		other       int     // choices of the integer model that differ
		least, most float64 // its divergence, with its own experts at least and with the float model's at most
	}{
		{"families/qwen3_next", 1, 0.03, 0.01},
		{"families/qwen3_next-even", 12, 0.08, 0.035},
	} {
		m := integers(t, c.dir, "int8/g32")
		float := integers(t, c.dir, "f32")
		_, prompts := referenceLogits(t, filepath.Join(fixtures, c.dir, "reference.safetensors"), m.Spec.Vocab)
		want, chosen := routed(t, float, prompts[0], nil)
		got, others := routed(t, m, prompts[0], nil)
		if n := differing(chosen, others); n != c.other {
			t.Errorf("%s: %d choices of experts differ, want %d", c.dir, n, c.other)
		}
		led, _ := routed(t, m, prompts[0], chosen)
		free, kept := divergence(want, got, m.Spec.Vocab), divergence(want, led, m.Spec.Vocab)
		t.Logf("%s: KL %.4f, with the float model's experts %.4f", c.dir, free, kept)
		if free < c.least || kept > c.most {
			t.Errorf("%s: KL %.4f and %.4f, want at least %g and at most %g", c.dir, free, kept, c.least, c.most)
		}
	}
}

// routed returns the logits of a text and the weights of the experts at each position. Unless
// weights is nil, these replace the model's own.
func routed(t *testing.T, m *model.Model, ids []int, weights [][]float32) (out []float32, chosen [][]float32) {
	t.Helper()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := d.NewTrace([][]int{ids})
	if err != nil {
		t.Fatal(err)
	}
	for o := trace.Operation(); o != nil; o = trace.Operation() {
		if err := trace.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range ids {
			if o.Name != model.Routing {
				break
			}
			w := trace.Activations(model.Routing, i)
			if weights != nil {
				copy(w, weights[len(chosen)])
			}
			chosen = append(chosen, append([]float32{}, w...))
		}
	}
	h, err := trace.Hidden()
	if err != nil {
		t.Fatal(err)
	}
	out = make([]float32, len(ids)*m.Spec.Vocab)
	if err := h.Logits(t.Context(), out, 0, len(ids)); err != nil {
		t.Fatal(err)
	}
	return out, chosen
}

// differing returns in how many rows of weights other experts compute.
func differing(a, b [][]float32) (n int) {
	for i := range a {
		for e := range a[i] {
			if (a[i][e] != 0) != (b[i][e] != 0) {
				n++
				break
			}
		}
	}
	return n
}

// divergence returns the mean KL of two tables of logits of vocab columns.
func divergence(p, q []float32, vocab int) float64 {
	sum, exp := 0.0, make([]float64, vocab)
	for at := 0; at < len(p); at += vocab {
		a, b := p[at:][:vocab], q[at:][:vocab]
		lse := logits.LogSumExp(a, exp)
		c := kernel.Compare(a, b, exp)
		sum += logits.KL(&c, lse, logits.LogSumExp(b, nil))
	}
	return sum / float64(len(p)/vocab)
}
