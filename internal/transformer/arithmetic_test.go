package transformer_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/quantize/quantizetest"
	"thimble/verify"
	"thimble/verify/reference"
)

const arithmeticPath = "testdata/arithmetic.sha256"

// arithmetics lists the runs of TestArithmetic: a fixture, the scheme to which its
// matrices are rounded, and what the run itself rounds.
var arithmetics = []struct{ dir, scheme, activations, kv string }{
	{"trained", "int8/g32", "int8", "int8"},
	{"trained", "int4/g32", "int8/row", "k8v4"},
	{"ragged", "int4/g32/asym", "int8", "k8v4"},
	{"mobilellm-ls", "int8/g32", "int8/g64", "int8/g8,int5/row/asym"},
	{"llama-tied", "int3/g32/asym", "int8", ""},
	{"llama-biases", "int6/g16", "int8/g32", "f16"},
	{"gemma3", "int5/g64/asym", "int8", "int8"},
	{"phi", "int8/row", "int8/row", "k8v4"},
	{"trained", "int5/g16/s4", "int8", ""},
	{"llama4", "int4/g32", "", "int8"},
}

// TestArithmetic checks that rounding activations, keys and values gives the same
// bits however a prompt is fed, on any number of cores and on every machine.
func TestArithmetic(t *testing.T) {
	golden := readGolden(t, arithmeticPath)
	got := map[string]string{}
	var names []string
	for _, c := range arithmetics {
		name := strings.TrimSpace(fmt.Sprintf("%s %s activations=%s kv=%s", c.dir, c.scheme, c.activations, c.kv))
		names = append(names, name)
		t.Run(name, func(t *testing.T) {
			m := integers(t, c.dir, c.scheme)
			a := arithmetic(t, c.activations, c.kv)
			h := sha256.New()
			for _, ids := range someTexts(&m.Spec) {
				logits := runEveryWay(t, m, a, ids)
				if !testing.Short() && differ(logits, run(t, m, transformer.Arithmetic{}, ids, len(ids), 1)) < 0 {
					t.Errorf("%d tokens: rounding did not change the logits", len(ids))
				}
				if err := binary.Write(h, binary.LittleEndian, logits); err != nil {
					t.Fatal(err)
				}
			}
			got[name] = fmt.Sprintf("%x", h.Sum(nil))
			if !*update && got[name] != golden[name] {
				t.Errorf("logits hash to %s, want %s: the arithmetic changed, or differs on this machine", got[name], golden[name])
			}
		})
	}
	if *update {
		writeGolden(t, arithmeticPath, names, got)
	}
}

func arithmetic(t *testing.T, activations, kv string) transformer.Arithmetic {
	t.Helper()
	a, err := transformer.ParseArithmetic(activations, kv)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// integers returns a fixture with its matrices rounded to nearest in a scheme.
func integers(t *testing.T, dir, scheme string) *model.Model {
	t.Helper()
	m, err := convert.Open(filepath.Join(fixtures, dir), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return quantizetest.Rounded(t, m, scheme, "")
}

// On the trained fixture, 8 bits cost almost nothing for activations, keys and
// values. 4-bit values cost more than 8-bit ones, and one scale per row costs more
// than one per group.
func TestTrainedArithmetic(t *testing.T) {
	m := integers(t, "trained", "int8/g32")
	float := verified(t, m, "", "")
	kl := func(activations, kv string, extra float64) float64 {
		r := verified(t, m, activations, kv)
		k, ppl := float64(r.KLMean), float64(r.PPL/float.PPL)
		t.Logf("activations %q, kv %q: KL %.2g, perplexity times %.5f", activations, kv, k, ppl)
		if k > float64(float.KLMean)+extra {
			t.Errorf("activations %q, kv %q: KL is %.2g, but %.2g in float32", activations, kv, k, float64(float.KLMean))
		}
		if ppl < 0.995 || ppl > 1.005 {
			t.Errorf("activations %q, kv %q: perplexity is %v, but %v in float32", activations, kv, r.PPL, float.PPL)
		}
		return k
	}
	group, row := kl("int8", "", 0.0005), kl("int8/row", "", 0.002)
	if row < 1.5*group {
		t.Errorf("KL is %.2g with a scale per group and %.2g with one per row", group, row)
	}
	k8v8, k8v4 := kl("", "int8", 0.0002), kl("", "k8v4", 0.005)
	if k8v4 < 4*k8v8 {
		t.Errorf("KL is %.2g with 8-bit values and %.2g with 4-bit values", k8v8, k8v4)
	}
	if half := kl("", "f16", 0.00001); half > k8v8 {
		t.Errorf("KL is %.2g with an f16 cache and %.2g with an int8 cache", half, k8v8)
	}
	kl("int8", "int8", 0.0007)
}

// verified returns the metrics of m against PyTorch's logits.
func verified(t *testing.T, m *model.Model, activations, kv string) verify.Metrics {
	t.Helper()
	ref, err := reference.Open(filepath.Join(fixtures, "trained/reference.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()
	s, err := reference.NewScorer(m, arithmetic(t, activations, kv), 0)
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify.Run(t.Context(), ref, s, ref.Prompts(), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report.Metrics
}

func TestParseArithmetic(t *testing.T) {
	for _, c := range []struct{ activations, kv, want string }{
		{"", "", "f32 f32 f32"},
		{"f32", "f32", "f32 f32 f32"},
		{"int8", "int8", "int8 int8/row/sym int8/row/sym"},
		{"int8/row", "k8v4", "int8/row int8/row/sym int4/g32/sym"},
		{"int8/g32", "int8/g32", "int8/g32 int8/g32/sym int8/g32/sym"},
		{"int8/g65536", "f16,int2/g8/asym", "int8/g65536 f16 int2/g8/asym"},
	} {
		a := arithmetic(t, c.activations, c.kv)
		if got := fmt.Sprint(a.Activations, " ", a.Keys, " ", a.Values); got != c.want {
			t.Errorf("%q, %q: %s, want %s", c.activations, c.kv, got, c.want)
		}
	}
	for _, text := range []string{"8", "int4", "int7/g32", "int8/g0", "int8/g33", "int8/g32/asym", "int8/g32/sym", "int8/", "INT8", "f16", " int8", "int8/g-8", "int8/g032"} {
		if a, err := transformer.ParseArithmetic(text, ""); err == nil {
			t.Errorf("activations %q parse as %v, want an error", text, a.Activations)
		}
	}
	for _, text := range []string{"8", "k8v8", "int4", ",", "int8/row,", "int8/row,int8/row,int8/row", "int9/row", "Q4_0", "k8v4,k8v4"} {
		if a, err := transformer.ParseArithmetic("", text); err == nil {
			t.Errorf("kv %q parses as %v and %v, want an error", text, a.Keys, a.Values)
		}
	}
}

// NewWith refuses to round the activations of a model without integers.
func TestArithmeticOfFloats(t *testing.T) {
	m, err := convert.Open(filepath.Join(fixtures, "llama-tied"), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := transformer.NewWith(m, arithmetic(t, "int8", "")); err == nil || !strings.Contains(err.Error(), "quantize the model first") {
		t.Errorf("error is %v, want one that says to quantize the model first", err)
	}
	for _, a := range []transformer.Arithmetic{
		{Activations: transformer.Activations{Group: 32}},
		{Activations: transformer.Activations{Int8: true, Group: -1}},
		{Keys: qtensor.Q4_0.Foreign()},
		{Values: qtensor.Scheme{Kind: qtensor.Int, Bits: 9}},
	} {
		if _, err := transformer.NewWith(m, a); err == nil {
			t.Errorf("NewWith accepts %+v", a)
		}
	}
}

// A Trace computes the same as Forward in any arithmetic.
func TestTraceArithmetic(t *testing.T) {
	m, a := integers(t, "mobilellm-ls", "int4/g32/asym"), arithmetic(t, "int8", "k8v4")
	d, err := transformer.NewWith(m, a)
	if err != nil {
		t.Fatal(err)
	}
	texts := someTexts(&m.Spec)
	trace, err := d.NewTrace(texts)
	if err != nil {
		t.Fatal(err)
	}
	rows := finish(t, trace)
	for i, want := range forwardBy(t, d, texts) {
		if at := differ(want, rows[i]); at >= 0 {
			t.Fatalf("position %d: element %d is %v, want %v", i, at, rows[i][at], want[at])
		}
	}
}

// An 8-bit cache takes about a quarter of the memory.
func TestCacheBytes(t *testing.T) {
	m := integers(t, "llama-tied", "int8/g32")
	bytes := func(kv string) float64 {
		d, err := transformer.NewWith(m, arithmetic(t, "", kv))
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.NewCache(64)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Forward(t.Context(), c, make([]int, 64)); err != nil {
			t.Fatal(err)
		}
		return float64(c.Bytes())
	}
	dim := float64(m.Spec.HeadDim)
	want := float64(len(m.Spec.Schedule) * m.Spec.KVHeads * 64)
	for kv, perVector := range map[string]float64{
		"": 8 * dim, "f16": 4 * dim, "int8": 2 * (dim + 2), "k8v4": dim + 2 + dim/2 + 2*float64((m.Spec.HeadDim+31)/32),
	} {
		if got := bytes(kv); got != want*perVector {
			t.Errorf("%q: %v bytes, want %v", kv, got, want*perVector)
		}
	}
}
