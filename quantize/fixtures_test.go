package quantize

import (
	"cmp"
	"path/filepath"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize/rounding"
	"thimble/verify"
	"thimble/verify/reference"
)

// inMemory is a Sink that is a model.
type inMemory struct {
	model.Model
	plan *Plan
	next int
}

func (s *inMemory) Write(m *qtensor.Matrix) error {
	s.Tensors[s.plan.Tensors[s.next].Name] = m
	s.next++
	return nil
}

// openFixture opens the checkpoint in dir.
func openFixture(t *testing.T, dir string) *model.Model {
	t.Helper()
	var o convert.Options
	if filepath.Base(dir) == "mobilellm-facebook" {
		o.Set = []string{"share_embedding=true", "layer_sharing=true"}
	}
	m, err := convert.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// planOf applies r to m, by gptq if there are texts.
func planOf(t *testing.T, m *model.Model, r Recipe, c *Calibration) *Plan {
	t.Helper()
	if c != nil {
		r.Method, r.Texts = cmp.Or(r.Method, rounding.MethodGPTQ), &Texts{}
	}
	plan, err := NewPlan(m, &r)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// measure quantizes the fixture in dir, calibrated on c unless that is nil, and
// compares it with PyTorch's logits.
func measure(t *testing.T, dir string, r Recipe, c *Calibration) *verify.Report {
	t.Helper()
	m := openFixture(t, dir)
	return measurePlan(t, m, planOf(t, m, r, c), c)
}

func measurePlan(t *testing.T, m *model.Model, plan *Plan, c *Calibration) *verify.Report {
	t.Helper()
	q := &inMemory{model.Model{Path: m.Path, Spec: m.Spec, Tensors: map[string]*qtensor.Matrix{}}, plan, 0}
	if err := Run(t.Context(), m, plan, c, q, nil); err != nil {
		t.Fatal(err)
	}
	ref, err := reference.Open(filepath.Join(m.Path, "reference.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()
	s, err := reference.NewScorer(&q.Model, verify.Arithmetic{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify.Run(t.Context(), ref, s, ref.Prompts(), verify.Options{Gates: verify.DefaultGates(&q.Model)})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// Every fixture in int8 passes the default gate; in int4 it is worse.
func TestFixtures(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	refs, err := filepath.Glob("../fixtures/*/reference.safetensors")
	if err != nil || len(refs) < 10 {
		t.Fatalf("%d fixtures, %v", len(refs), err)
	}
	for _, ref := range refs {
		dir := filepath.Dir(ref)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			int8 := measure(t, dir, Recipe{Scheme: "int8/g32"}, nil)
			if !int8.Pass {
				t.Errorf("int8/g32: %v", int8)
			}
			int4 := measure(t, dir, Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}, nil)
			t.Logf("KL %.2g in int8, %.2g in int4 with an int8 embedding", float64(int8.Metrics.KLMean), float64(int4.Metrics.KLMean))
			if !(int4.Metrics.KLMean > 4*int8.Metrics.KLMean) {
				t.Errorf("KL is %v in int8 and %v in int4", int8.Metrics.KLMean, int4.Metrics.KLMean)
			}
		})
	}
}

// On a model that was trained, int4 is usable, and a minimum for each group, of
// half a bit per weight, lowers the divergence by a fifth.
func TestTrained(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	sym := measure(t, "../fixtures/trained", Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}, nil)
	asym := measure(t, "../fixtures/trained", Recipe{Scheme: "int4/g32/asym", Embedding: "int8/g32"}, nil)
	int8 := measure(t, "../fixtures/trained", Recipe{Scheme: "int8/g32"}, nil)
	if k := sym.Metrics.KLMean; !(k < 0.02) {
		t.Errorf("symmetric int4: KL %v, want below 0.02", k)
	}
	if k := asym.Metrics.KLMean; !(k < 0.8*sym.Metrics.KLMean) {
		t.Errorf("asymmetric int4: KL %v, symmetric %v", k, sym.Metrics.KLMean)
	}
	if k := int8.Metrics.KLMean; !(k < 0.0002) {
		t.Errorf("int8: KL %v, want below 0.0002", k)
	}
}
