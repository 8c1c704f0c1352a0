package quantize_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
	"thimble/quantize"
)

const trained = "../fixtures/trained"

// trainedTexts are pieces of the text that the trained fixture has learned from.
func trainedTexts(t *testing.T, tokens int) *quantize.Calibration {
	t.Helper()
	data, err := openFixture(t, trained).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(trained, "calibration.txt"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := quantize.Pieces(tok.Encode(string(text), true), tokens, 128, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Calibrated rounding must pay on a model that was trained, and so must the
// correction for what was quantized upstream.
func TestTrainedCalibrated(t *testing.T) {
	c := trainedTexts(t, 4096)
	r := quantize.Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}
	nearest := float64(measure(t, trained, r, nil).Metrics.KLMean)
	r.Without = []string{quantize.StepCorrection}
	plain := float64(measure(t, trained, r, c).Metrics.KLMean)
	r.Without = nil
	corrected := float64(measure(t, trained, r, c).Metrics.KLMean)
	t.Logf("KL %.5f to nearest, %.5f by gptq, %.5f corrected", nearest, plain, corrected)
	if !(plain < 0.8*nearest) || !(corrected < 0.97*plain) {
		t.Errorf("KL %.5f to nearest, %.5f by gptq, %.5f corrected", nearest, plain, corrected)
	}
	// The tied embedding by its own second moments.
	r = quantize.Recipe{Scheme: "f32", Embedding: "int4/g32"}
	nearest = float64(measure(t, trained, r, nil).Metrics.KLMean)
	fitted := float64(measure(t, trained, r, c).Metrics.KLMean)
	t.Logf("embedding: KL %.5f to nearest, %.5f by gptq", nearest, fitted)
	if !(fitted < 0.99*nearest) {
		t.Errorf("embedding: KL %.5f to nearest, %.5f by gptq", nearest, fitted)
	}
}

// Each step that a recipe may leave out earns its place, in two plans together: the
// divergence of one alone is a tenth larger or smaller with any other rounding. The
// rotation does what is seen on SmolLM2 only.
func TestTrainedSteps(t *testing.T) {
	c := trainedTexts(t, 4096)
	last := math.Inf(1)
	for _, step := range []struct {
		name   string
		texts  *quantize.Calibration
		recipe quantize.Recipe
		margin float64 // of the divergence before
	}{
		{"rtn", nil, quantize.Recipe{Without: []string{"search"}}, 1},
		{"searched", nil, quantize.Recipe{}, 0.95},
		{"weighted", c, quantize.Recipe{Method: quantize.MethodRTN}, 0.99},
		{"gptq", c, quantize.Recipe{Without: []string{"rotation", "correction", "refit", "descent"}}, 0.85},
		{"rotated", c, quantize.Recipe{Without: []string{"correction", "refit", "descent"}}, 1.03},
		{"corrected", c, quantize.Recipe{Without: []string{"refit", "descent"}}, 0.95},
		{"refitted", c, quantize.Recipe{Without: []string{"descent"}}, 1},
		{"descended", c, quantize.Recipe{}, 1.05},
	} {
		r := step.recipe
		kl := 0.0
		for _, plan := range [][2]string{{"int4/g32", "int8/g32"}, {"int4/g16", "int6/g32"}} {
			r.Scheme, r.Embedding = plan[0], plan[1]
			kl += float64(measure(t, trained, r, step.texts).Metrics.KLMean) / 2
		}
		t.Logf("%-10s KL %.5f", step.name, kl)
		if !(kl < step.margin*last) {
			t.Errorf("%s: KL %.5f, before it %.5f", step.name, kl, last)
		}
		last = kl
	}
}

// What a survey predicts for a plan of several schemes is what comes of it.
func TestTrainedSurvey(t *testing.T) {
	c := trainedTexts(t, 4096)
	m := openFixture(t, trained)
	var schemes []qtensor.Scheme
	for _, text := range []string{"int3/g32", "int4/g32", "int4/g32/asym", "int5/g32", "int6/g32", "int8/g32"} {
		s, err := qtensor.ParseScheme(text)
		if err != nil {
			t.Fatal(err)
		}
		schemes = append(schemes, s)
	}
	survey, err := quantize.NewSurvey(t.Context(), m, c, schemes, nil)
	if err != nil {
		t.Fatal(err)
	}
	uniform, err := quantize.NewPlan(m, &quantize.Recipe{Scheme: "int4/g32"})
	if err != nil {
		t.Fatal(err)
	}
	mixed := 0.0
	for _, bits := range []float64{4, 4.5, 5} {
		r, predicted, err := (&quantize.Budget{Bits: bits, Schemes: schemes}).Choose(m, &quantize.Recipe{Scheme: "int4/g32"}, survey, nil)
		if err != nil {
			t.Fatal(err)
		}
		measured := float64(measure(t, trained, *r, c).Metrics.KLMean)
		t.Logf("%v bits: KL %.5f predicted, %.5f measured", bits, predicted, measured)
		if off := math.Log(predicted / measured); !(math.Abs(off) < math.Log(1.5)) {
			t.Errorf("%v bits: KL %.5f predicted, %.5f measured", bits, predicted, measured)
		}
		if bits == 4.5 {
			mixed = measured
		}
	}
	// As many bits in one scheme for all do worse.
	same := float64(measure(t, trained, quantize.Recipe{Scheme: "int4/g32"}, c).Metrics.KLMean)
	t.Logf("%.3f bits: KL %.5f in one scheme", uniform.BitsPerWeight(), same)
	if !(mixed < 0.9*same) {
		t.Errorf("KL %.5f in several schemes, %.5f in one", mixed, same)
	}
}

// Every fixture can be calibrated, on tokens at random as on anything.
func TestFixturesCalibrated(t *testing.T) {
	refs, err := filepath.Glob("../fixtures/*/reference.safetensors")
	if err != nil || len(refs) < 10 {
		t.Fatalf("%d fixtures, %v", len(refs), err)
	}
	for _, ref := range refs {
		dir := filepath.Dir(ref)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			spec := openFixture(t, dir).Spec
			r := rand.New(rand.NewPCG(1, 1))
			c := &quantize.Calibration{}
			for range 12 {
				ids := make([]int, min(64, spec.Context))
				for i := range ids {
					ids[i] = r.IntN(spec.Vocab)
				}
				c.Texts = append(c.Texts, ids)
			}
			recipe := quantize.Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}
			nearest := float64(measure(t, dir, recipe, nil).Metrics.KLMean)
			calibrated := float64(measure(t, dir, recipe, c).Metrics.KLMean)
			t.Logf("KL %.3g to nearest, %.3g calibrated: %.2f of it", nearest, calibrated, calibrated/nearest)
			if !(calibrated <= 1.3*nearest) {
				t.Errorf("KL %.3g to nearest, %.3g calibrated", nearest, calibrated)
			}
		})
	}
}
