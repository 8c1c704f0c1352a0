package quantize

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize/rounding"
)

// A rotated model computes the same logits, whatever its heads look like.
func TestRotatedComputesTheSame(t *testing.T) {
	for name, change := range map[string]func(*model.Spec){
		"as it is":        nil,
		"grouped queries": func(s *model.Spec) { s.KVHeads = 1 },
		"biases":          func(s *model.Spec) { s.Bias.QKV = true },
		"five times 8":    func(s *model.Spec) { s.HeadDim = 40 },
	} {
		m := livelyModel(t, change)
		p, err := NewPlan(m, &Recipe{Scheme: "int4/g32", Method: rounding.MethodGPTQ, Texts: &Texts{}})
		if err != nil {
			t.Fatal(err)
		}
		turned := rotated(m, p)
		if m.Spec.HeadDim%8 == 0 == (turned == m) {
			t.Errorf("%s: rotated: %v", name, turned != m)
		}
		texts := randomTexts(2, 20, m.Spec.Vocab)
		want, got := scores(t, hiddenStates(t, m, texts), m.Spec.Vocab), scores(t, hiddenStates(t, turned, texts), m.Spec.Vocab)
		for at := range want {
			for v, x := range want[at] {
				if math.Abs(got[at][v]-x) > 1e-4*(1+math.Abs(x)) {
					t.Fatalf("%s: logit %d at %d is %v, was %v", name, v, at, got[at][v], x)
				}
			}
		}
	}
}

// The recorded recipes tell which tensors a run rotated, and how.
func TestRecordedRotation(t *testing.T) {
	m := livelyModel(t, func(s *model.Spec) { s.HeadDim, s.Bias.QKV = 16, true })
	record := func(r *Recipe) string {
		t.Helper()
		r.Texts = &Texts{}
		if r.Method == "" {
			r.Texts = nil
		}
		text, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(text)
	}
	gptq := rounding.MethodGPTQ
	whole := record(&Recipe{Scheme: "int4/g32", Method: gptq})
	keep, plain := record(&Recipe{Scheme: Keep}), record(&Recipe{Scheme: "int4/g32"})
	first := record(&Recipe{Scheme: Keep, Method: gptq, Rules: []Rule{{"blocks.0.v", "int4/g32"}, {"blocks.0.o", "int8/g32"}}})
	all := 3 * m.Spec.Blocks // v, its bias and o
	for _, c := range []struct {
		recipes string
		want    int
	}{
		{"", 0}, {plain, 0}, {keep, 0}, {whole, all}, {first, 3}, {"scheme: [", 0}, {"scheme: int4/g32\nmethod: of the future", 0},
		{keep + "\n---\n" + whole, all}, {whole + "\n---\n" + keep, all}, {plain + "\n---\n" + whole, 0}, {first + "\n---\n" + whole, all},
		{record(&Recipe{Scheme: "int4/g32", Method: gptq, Without: []string{rounding.StepRotation}}), 0},
		{record(&Recipe{Scheme: "int4/g32", Method: gptq, Rules: []Rule{{"blocks.1.o", "f16"}}}), all - 3},
		{strings.Repeat(keep+"\n---\n", 1000) + whole, 0},
	} {
		got := Rotated(m, c.recipes)
		if len(got) != c.want {
			t.Errorf("%.80q: %d tensors, want %d", c.recipes, len(got), c.want)
		}
	}
	p, err := NewPlan(m, &Recipe{Scheme: "int4/g32", Method: gptq, Texts: &Texts{}})
	if err != nil {
		t.Fatal(err)
	}
	want := rotated(m, p)
	var a, b qtensor.Reader
	for name, x := range Rotated(m, first+"\n---\n"+whole) {
		for r := range x.Rows {
			if !bytes.Equal(a.Stored(x, r), b.Stored(want.Tensors[name], r)) {
				t.Fatalf("%s: row %d differs from that of the run", name, r)
			}
		}
	}
}

// Only what is rounded on both sides is rotated.
func TestRotatedIsLeftOut(t *testing.T) {
	m := livelyModel(t, func(s *model.Spec) { s.HeadDim = 16 })
	for _, r := range []Recipe{
		{Scheme: "int4/g32", Without: []string{rounding.StepRotation}},
		{Scheme: "int4/g32", Rules: []Rule{{"blocks.*.o", "f32"}}},
		{Scheme: "int4/g32", Rules: []Rule{{"blocks.*.v", "bf16"}}},
	} {
		r.Method, r.Texts = rounding.MethodGPTQ, &Texts{}
		p, err := NewPlan(m, &r)
		if err != nil {
			t.Fatal(err)
		}
		turned := rotated(m, p)
		for name, w := range m.Tensors {
			if turned.Tensors[name] != w {
				t.Errorf("%+v: %s is rotated", r, name)
			}
		}
	}
}

// Gates between values and outputs allow no rotation.
func TestGatedHeadsAreNotRotated(t *testing.T) {
	m := livelyModel(t, func(s *model.Spec) { s.HeadDim, s.AttnGate = 16, true })
	p, err := NewPlan(m, &Recipe{Scheme: "int4/g32", Method: rounding.MethodGPTQ, Texts: &Texts{}})
	if err != nil {
		t.Fatal(err)
	}
	if rotated(m, p) != m {
		t.Error("rotated")
	}
}
