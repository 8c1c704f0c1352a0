package verify_test

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"thimble"
	"thimble/verify"
)

// quantized writes a fixture in a scheme and returns the path of the file.
func quantized(t *testing.T, name, scheme string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "q.thimble")
	_, err := thimble.Quantize(t.Context(), thimble.QuantizeOptions{
		Model: filepath.Join("../fixtures", name), Output: out, Recipe: thimble.Recipe{Scheme: scheme, Embedding: "int8/g32"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The divergence that is expected from the model alone is correct within a factor that
// the margins of the gates cover: sound files pass their default gates.
func TestExpectationHolds(t *testing.T) {
	if testing.Short() {
		t.Skip("measures many models")
	}
	for _, c := range []struct {
		name, scheme string
		least, most  float64 // measured over expected
	}{
		{"trained", "int8/g32", 0.8, 1.15}, {"trained", "int6/g64", 0.75, 1.15}, {"trained", "int4/g32", 0.8, 1.15}, {"trained", "int3/g32", 0.8, 1.5},
		{"qwen3", "int4/g32", 0.8, 1.15}, {"qwen3", "int8/g32", 0.8, 1.15}, {"llama-biases", "int4/g32", 0.7, 1.15}, {"mobilellm-ls", "int8/g32", 0.8, 1.2},
	} {
		r, err := thimble.Verify(t.Context(), thimble.VerifyOptions{
			Model: quantized(t, c.name, c.scheme), Reference: filepath.Join("../fixtures", c.name, "reference.safetensors"),
		})
		if err != nil {
			t.Fatal(err)
		}
		e := r.Expected
		ratio := float64(r.Metrics.KLMean / e.KLMean)
		if !r.Pass || e.Source != verify.FromNoise || !(ratio >= c.least && ratio <= c.most) || e.Wreckage {
			t.Errorf("%s %s: pass %v, %v times %+v, gates %+v", c.name, c.scheme, r.Pass, ratio, e, r.Gates)
		}
		for _, g := range r.Gates {
			if g.Source != verify.GateDefault || g.Undecided {
				t.Errorf("%s %s: %+v", c.name, c.scheme, g)
			}
		}
		if limit := r.Gates[0].Limit; math.Abs(limit/float64(e.KLMean)-1.5) > 0.35 || math.Abs(float64(e.Tells)-(limit-float64(e.KLMean))) > 1e-9 {
			t.Errorf("%s %s: the limit is %v, %+v", c.name, c.scheme, limit, e)
		}
	}
}

// The size of its own noise does not excuse a ruined model.
func TestWreckage(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a model at a full reference")
	}
	r, err := thimble.Verify(t.Context(), thimble.VerifyOptions{
		Model: quantized(t, "mobilellm-ls", "int2/g32/asym"), Reference: "../fixtures/mobilellm-ls/reference.safetensors",
	})
	if err != nil || r.Pass || !r.Expected.Wreckage || r.Gates[0].Limit != 1 {
		t.Errorf("pass %v, %+v, %v", r.Pass, r.Expected, err)
	}
}

// Neither a checkpoint nor a container that keeps its types rounds anything.
func TestExactExpectation(t *testing.T) {
	if testing.Short() {
		t.Skip("measures many models")
	}
	r, err := thimble.Verify(t.Context(), thimble.VerifyOptions{Model: "../fixtures/trained", Reference: "../fixtures/trained/reference.safetensors"})
	if err != nil || !r.Pass || r.Expected.Source != verify.FromExact || r.Gates[0].Limit != 1e-5 {
		t.Errorf("pass %v, %+v, %v", r.Pass, r.Expected, err)
	}
	out := filepath.Join(t.TempDir(), "half.thimble")
	if _, err := thimble.Convert(t.Context(), thimble.ConvertOptions{Model: "../fixtures/trained", Output: out, DType: "f16"}); err != nil {
		t.Fatal(err)
	}
	r, err = thimble.Verify(t.Context(), thimble.VerifyOptions{Model: out, Reference: "../fixtures/trained/reference.safetensors"})
	if err != nil || r.Expected.Source != verify.FromScheme || r.Gates[0].Limit != 1e-4 {
		t.Errorf("pass %v, %+v, %v", r.Pass, r.Expected, err)
	}
}

func TestSettings(t *testing.T) {
	here := verify.Settings{"norm_eps": 1e-6, "rope_theta": 1e4, "layers": 12}
	if got := here.Differ(verify.Settings{"norm_eps": 1e-5, "rope_theta": float64(float32(1e4)), "other": 1}); strings.Join(got, ";") != "norm_eps is 1e-06, the reference has 1e-05" {
		t.Error(got)
	}
	if got := here.Differ(verify.Settings{"norm_eps": float64(float32(1e-6))}); got != nil {
		t.Error(got)
	}
	if s, err := verify.ReadSettings(map[string]string{"settings": here.Text()}); err != nil || here.Differ(s) != nil || len(s) != 3 {
		t.Error(s, err)
	}
	if s, err := verify.ReadSettings(map[string]string{"framework": "x"}); s != nil || err != nil {
		t.Error(s, err)
	}
	for _, text := range []string{"", "null", "[1]", `{"norm_eps":"x"}`, "{\n"} {
		if _, err := verify.ReadSettings(map[string]string{"settings": text}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
