package reference_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"thimble/internal/qtensor"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/reference"
	"thimble/verify/reference/referencetest"
)

// golden holds the output of testdata/golden.py: the metrics as torch computes them.
var golden = []struct {
	fixture string
	tokens  int
	metrics [10]float64
}{
	{"mobilellm-ls", 141, [10]float64{0.12610201858560507, 0.002797721570372992, 0.1215259709053481, 0.20577751514761483, 0.9929078014184397, 3.3073787689208984, 3.0105143497960496, 0.9999982507371316, 27144.596069220785, 4826.886616137635}},
	{"llama3-rope", 269, [10]float64{0.12667745291980897, 0.0013165401423794825, 0.1225949646732162, 0.1998719233887434, 1.0, 3.397589683532715, 3.0676650699475814, 0.9999982187345366, 22742.195979476102, 4116.017257201232}},
}

func TestFixturesMatchTorch(t *testing.T) {
	for _, g := range golden {
		path := filepath.Join("..", "..", "fixtures", g.fixture, "reference.safetensors")
		ref := referencetest.Open(t, path)
		r, err := verify.Run(t.Context(), ref, referencetest.Perturbed(t, path), ref.Prompts(), verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := r.Metrics
		if m.Tokens != g.tokens {
			t.Errorf("%s: %d tokens, want %d", g.fixture, m.Tokens, g.tokens)
		}
		got := [...]metric.Value{m.KLMean, m.KLMeanSE, m.KLMedian, m.KLP99, m.Top1Agreement, m.MaxAbs, m.LogitStd, m.CosineMin, m.PPLReference, m.PPL}
		for i, want := range g.metrics {
			if math.Abs(float64(got[i])-want) > 1e-12*math.Abs(want) {
				t.Errorf("%s: metric %d is %v, torch has %v", g.fixture, i, got[i], want)
			}
		}
	}
}

func TestFixturesMatchThemselves(t *testing.T) {
	paths, err := filepath.Glob("../../fixtures/*/reference.safetensors")
	if err != nil || len(paths) < 9 {
		t.Fatalf("found %d references, %v", len(paths), err)
	}
	for _, path := range paths {
		ref := referencetest.Open(t, path)
		r, err := verify.Run(t.Context(), ref, referencetest.Stored(t, path), ref.Prompts(), verify.Options{Gates: verify.SchemeGates(qtensor.Scheme{})})
		if err != nil {
			t.Fatal(err)
		}
		if m := r.Metrics; !r.Pass || m.KLMean != 0 || m.Top1Agreement != 1 || m.MaxAbs != 0 || m.PPL != m.PPLReference || m.CosineMin < 1-1e-15 {
			t.Errorf("%s differs from itself: %+v", path, m)
		}
	}
}

// A compact reference from PyTorch bounds the divergence that torch computed
// from all logits.
func TestCompactFromPython(t *testing.T) {
	ref := referencetest.Open(t, "testdata/compact.safetensors")
	model := referencetest.Perturbed(t, filepath.Join("..", "..", "fixtures", golden[0].fixture, "reference.safetensors"))
	if form := ref.Form(); form.TopK != 16 || form.Vocab != 0 {
		t.Fatalf("top %d of %d", form.TopK, form.Vocab)
	}
	r, err := verify.Run(t.Context(), ref, model, ref.Prompts(), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, want := r.Metrics, golden[0].metrics
	if low, high := float64(m.KLMean)-1e-6, float64(m.KLMean+m.KLHidden)+1e-6; want[0] < low || want[0] > high {
		t.Errorf("kl_mean is %v, the bounds are %v and %v", want[0], low, high)
	}
	if float64(m.Top1Agreement) != want[4] || !reference.Near(float64(m.PPL), want[9], 1e-12) || m.PPLReference.Known() || m.CosineMin.Known() {
		t.Errorf("got %+v", m)
	}
	if _, err := ref.Scorer(); err == nil || err.Error() != "testdata/compact.safetensors: a compact reference keeps no more than the top 16 logits" {
		t.Errorf("all logits of a compact reference: %v", err)
	}
	if len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "the reference keeps the top 16 of ") {
		t.Errorf("notes are %q", r.Notes)
	}
}
