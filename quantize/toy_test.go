package quantize

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
)

// toy is all that a new method's file has: rounding to nearest, by a scale that the
// largest value of a group gives.
var toy = method{name: "toy", steps: []string{"nothing"}, quantize: func(ctx context.Context, dst, src *Matrix, _ *input, _ skips) error {
	rounders := make([]qtensor.Rounder, parallel.Workers())
	return eachRow(ctx, src, func(worker, r int, x []float32) error {
		if err := rounders[worker].Row(dst, r, x); err != nil {
			return fmt.Errorf("row %d, %w", r, err)
		}
		return nil
	})
}}

// withMethod registers m for one test.
func withMethod(t *testing.T, m method) {
	t.Helper()
	register(m)
	t.Cleanup(func() { methods = slices.DeleteFunc(methods, func(other *method) bool { return other.name == m.name }) })
}

// A method needs nothing but its own file: once registered, recipes name it, plans
// and runs use it, and the kit tests it.
func TestToyMethod(t *testing.T) {
	withMethod(t, toy)
	t.Run("Kit", func(t *testing.T) { quantizetest.Run(t, kitTarget(t, "toy")) })
	if got := Methods(); !slices.Equal(got, []string{"rtn", "toy", "gptq"}) || NeedsTexts("toy") {
		t.Errorf("methods are %v", got)
	}
	r, err := ParseRecipe([]byte("scheme: int4/g32\nmethod: toy\nwithout: [nothing]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := r.YAML(); err != nil || !strings.Contains(text, "method: toy\n") || !strings.Contains(text, "without:\n- nothing\n") {
		t.Errorf("YAML is %q, %v", text, err)
	}
	m := livelyModel(t, nil)
	p, err := NewPlan(m, r)
	if err != nil {
		t.Fatal(err)
	}
	want := p.Bytes
	for name, texts := range map[string]*Calibration{"plain": nil, "calibrated": randomTexts(3, 40, m.Spec.Vocab)} {
		var got discard
		if err := Run(t.Context(), m, p, texts, &got, nil); err != nil || got.bytes != want {
			t.Errorf("%s: %d bytes, want %d; %v", name, got.bytes, want, err)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a second method of the same name was registered")
			}
		}()
		register(toy)
	}()
}

// A method gets what its traits ask for, and no more.
func TestTraits(t *testing.T) {
	var seen []*input
	traits := toy
	traits.name, traits.steps = "traits", []string{StepRotation, "comparing"}
	traits.needsTexts, traits.rotates = true, true
	traits.comparesStreams = func(without skips) bool { return !without.has("comparing") }
	traits.quantize = func(ctx context.Context, dst, src *Matrix, in *input, without skips) error {
		seen = append(seen, in)
		return toy.quantize(ctx, dst, src, in, without)
	}
	withMethod(t, traits)
	if !NeedsTexts("traits") {
		t.Error("it needs no texts")
	}
	m := livelyModel(t, func(s *model.Spec) { s.HeadDim = 16 })
	if _, err := NewPlan(m, &Recipe{Scheme: "int4/g32", Method: "traits"}); err == nil || err.Error() != "method traits needs calibration texts" {
		t.Errorf("error is %v", err)
	}
	for _, c := range []struct {
		without         []string
		rotated, drifts bool
	}{{nil, true, true}, {[]string{StepRotation}, false, true}, {[]string{"comparing"}, true, false}} {
		seen = nil
		p, err := NewPlan(m, &Recipe{Scheme: "int4/g32", Method: "traits", Without: c.without, Texts: &Texts{}})
		if err != nil {
			t.Fatal(err)
		}
		if got := rotated(m, p) != m; got != c.rotated {
			t.Errorf("without %v: rotated is %t", c.without, got)
		}
		// 13 texts of 40: enough for the drift of 40 columns, too few for 64.
		if err := Run(t.Context(), m, p, randomTexts(13, 40, m.Spec.Vocab), new(discard), nil); err != nil {
			t.Fatal(err)
		}
		for _, in := range seen {
			if in.moments == nil || in.factor == nil {
				t.Fatalf("without %v: an input has no moments", c.without)
			}
		}
		drifts := slices.ContainsFunc(seen, func(in *input) bool { return in.moments.drift != nil })
		if drifts != c.drifts {
			t.Errorf("without %v: drift is there: %t", c.without, drifts)
		}
	}
}
