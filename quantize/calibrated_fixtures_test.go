package quantize

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
	"thimble/quantize/rounding"
)

const trained = "../fixtures/trained"

// trainedTexts returns pieces of a text in the folder of the trained fixture:
// calibration.txt, which the model was trained on, or heldout.txt.
func trainedTexts(t *testing.T, file string, tokens int) *Calibration {
	t.Helper()
	return textsOf(t, openFixture(t, trained), file, tokens, 128)
}

// textsOf is trainedTexts for another model.
func textsOf(t *testing.T, m *model.Model, file string, tokens, length int) *Calibration {
	t.Helper()
	data, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.New(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(trained, file))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Pieces(tok.Encode(string(text), true), tokens, length, -1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A heldOut measures the divergence of models quantized from one on text that was not calibrated
// on.
type heldOut struct {
	m     *Model
	texts [][]int
	kl    *klEvaluator
}

func newHeldOut(t *testing.T) *heldOut {
	t.Helper()
	d := &heldOut{m: openFixture(t, trained), texts: trainedTexts(t, "heldout.txt", 2048).Texts}
	var err error
	if d.kl, err = newKLEvaluator(t.Context(), hiddenStates(t, d.m, &Calibration{Texts: d.texts}), d.m.Spec.Vocab); err != nil {
		t.Fatal(err)
	}
	return d
}

// of returns the divergence of what r makes of the model, by gptq if c is not nil
// and r does not say otherwise.
func (d *heldOut) of(t *testing.T, r Recipe, c *Calibration) float64 {
	t.Helper()
	plan := planOf(t, d.m, r, c)
	q := &inMemory{Model{Path: d.m.Path, Spec: d.m.Spec, Tensors: map[string]*Matrix{}}, plan, 0}
	if err := Run(t.Context(), d.m, plan, c, q, nil); err != nil {
		t.Fatal(err)
	}
	kl, err := d.kl.mean(t.Context(), hiddenStates(t, &q.Model, &Calibration{Texts: d.texts}))
	if err != nil {
		t.Fatal(err)
	}
	return kl
}

// The search, the power that the text shows, gptq, its rotation, refit and descent
// together, and the correction each lower the divergence of the whole model. The
// divergence cannot show what rotation, refit or descent gain
// alone: any change of the rounding upstream moves it by a twentieth. TestTrainedSteps
// shows that layer by layer.
func TestTrainedDivergence(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	c, d := trainedTexts(t, "calibration.txt", 3072), newHeldOut(t)
	last := math.Inf(1)
	for _, step := range []struct {
		name   string
		texts  *Calibration
		recipe Recipe
		most   float64 // of the divergence before
	}{
		{"rtn", nil, Recipe{Without: []string{rounding.StepSearch}}, 1},
		{"searched", nil, Recipe{}, 0.95},
		{"weighted", c, Recipe{Method: rounding.MethodRTN}, 0.99},
		{"gptq", c, Recipe{Without: []string{rounding.StepRotation, rounding.StepCorrection, rounding.StepRefit, rounding.StepDescent}}, 0.85},
		{"all but the correction", c, Recipe{Without: []string{rounding.StepCorrection}}, 0.95},
		{"corrected", c, Recipe{}, 0.92},
	} {
		r := step.recipe
		r.Scheme, r.Embedding = "int4/g32", "int8/g32"
		kl := d.of(t, r, step.texts)
		t.Logf("%-22s KL %.5f", step.name, kl)
		if !(kl < step.most*last) {
			t.Errorf("%s: KL %.5f, before it %.5f", step.name, kl, last)
		}
		last = kl
	}
}

// A tied embedding gains from second moments of its own.
func TestTrainedEmbedding(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	c, d := trainedTexts(t, "calibration.txt", 2048), newHeldOut(t)
	r := Recipe{Scheme: "f32", Embedding: "int4/g32"}
	nearest := d.of(t, r, nil)
	fitted := d.of(t, r, c)
	t.Logf("KL %.5f to nearest, %.5f by gptq", nearest, fitted)
	if !(fitted < 0.96*nearest) {
		t.Errorf("KL %.5f to nearest, %.5f by gptq", nearest, fitted)
	}
}

// A budget for an entropy-coded file gains from what errors of outputs cost: rows have steps, and
// matrices rates, that follow from it.
func TestTrainedOutputs(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	c, d := trainedTexts(t, "calibration.txt", 2048), newHeldOut(t)
	var schemes []Scheme
	for _, name := range CodedSchemes() {
		schemes = append(schemes, scheme(t, name))
	}
	kl := func(known *outputs) float64 {
		c.fisher = known
		survey, err := NewSurvey(t.Context(), d.m, c, schemes, nil)
		if err != nil {
			t.Fatal(err)
		}
		b := &Budget{Bits: 4.4, Schemes: schemes}
		r, predicted, err := b.Choose(d.m, b.Complete(d.m, &Recipe{}), survey, File{})
		if err != nil {
			t.Fatal(err)
		}
		measured := d.of(t, *r, c)
		t.Logf("KL %.5f predicted, %.5f measured", predicted, measured)
		return measured
	}
	even, fitted := kl(&outputs{of: d.m}), kl(nil)
	if !(fitted < 0.95*even) {
		t.Errorf("KL %.5f with outputs that cost the same, %.5f with what they cost", even, fitted)
	}
}

// A survey predicts the divergence of plans with several schemes, within a factor
// of 1.5.
func TestTrainedSurvey(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	c, d := trainedTexts(t, "calibration.txt", 1024), newHeldOut(t)
	m := d.m
	var schemes []qtensor.Scheme
	for _, text := range []string{"int3/g32", "int4/g32", "int5/g32", "int6/g32"} {
		s, err := qtensor.ParseScheme(text)
		if err != nil {
			t.Fatal(err)
		}
		schemes = append(schemes, s)
	}
	survey, err := NewSurvey(t.Context(), m, c, schemes, nil)
	if err != nil {
		t.Fatal(err)
	}
	uniform, err := NewPlan(m, &Recipe{Scheme: "int4/g32"})
	if err != nil {
		t.Fatal(err)
	}
	mixed := 0.0
	for _, bits := range []float64{4, 5} {
		r, predicted, err := (&Budget{Bits: bits, Schemes: schemes}).Choose(m, &Recipe{Scheme: "int4/g32"}, survey, File{})
		if err != nil {
			t.Fatal(err)
		}
		measured := d.of(t, *r, c)
		t.Logf("%v bits: KL %.5f predicted, %.5f measured", bits, predicted, measured)
		if off := math.Log(predicted / measured); !(math.Abs(off) < math.Log(1.5)) {
			t.Errorf("%v bits: KL %.5f predicted, %.5f measured", bits, predicted, measured)
		}
		if bits == 4 {
			mixed = measured
		}
	}
	// More bits in one scheme for all matrices do worse than 4 bits in several.
	same := d.of(t, Recipe{Scheme: "int4/g32"}, c)
	t.Logf("%.3f bits: KL %.5f in one scheme", uniform.BitsPerWeight(), same)
	if !(mixed < 0.9*same) {
		t.Errorf("KL %.5f in several schemes, %.5f in one", mixed, same)
	}
}

// Every fixture can be calibrated, even on random tokens.
func TestFixturesCalibrated(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	refs, err := filepath.Glob("../fixtures/*/reference.safetensors")
	if err != nil || len(refs) < 10 {
		t.Fatalf("%d fixtures, %v", len(refs), err)
	}
	for _, ref := range refs {
		dir := filepath.Dir(ref)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			spec := openFixture(t, dir).Spec
			r := rand.New(rand.NewPCG(1, 1))
			c := &Calibration{}
			for range 6 {
				ids := make([]int, min(64, spec.Context))
				for i := range ids {
					ids[i] = r.IntN(spec.Vocab)
				}
				c.Texts = append(c.Texts, ids)
			}
			recipe := Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}
			nearest := float64(measure(t, dir, recipe, nil).Metrics.KLMean)
			calibrated := float64(measure(t, dir, recipe, c).Metrics.KLMean)
			t.Logf("KL %.3g to nearest, %.3g calibrated: %.2f of it", nearest, calibrated, calibrated/nearest)
			if !(calibrated <= 1.3*nearest) {
				t.Errorf("KL %.3g to nearest, %.3g calibrated", nearest, calibrated)
			}
		})
	}
}
