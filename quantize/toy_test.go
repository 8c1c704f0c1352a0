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
	"thimble/quantize/rounding"
)

// toy is all that a new method's file has: rounding to nearest, by a scale that the
// largest value of a group gives.
var toy = rounding.Method{Name: "toy", Steps: []string{"nothing"}, Round: func(ctx context.Context, dst, src *Matrix, _ *rounding.Input, _ rounding.Skips) error {
	rounders := make([]qtensor.Rounder, parallel.Workers())
	return rounding.EachRow(ctx, src, func(worker, r int, x []float32) error {
		if err := rounders[worker].Row(dst, r, x); err != nil {
			return fmt.Errorf("row %d, %w", r, err)
		}
		return nil
	})
}}

// withMethod registers m for one test.
func withMethod(t *testing.T, m rounding.Method) {
	t.Helper()
	t.Cleanup(rounding.Register(m))
}

// A method needs nothing but its own file: once registered, recipes name it, plans
// and runs use it, and the kit tests it.
func TestToyMethod(t *testing.T) {
	withMethod(t, toy)
	t.Run("Kit", func(t *testing.T) { quantizetest.Run(t, kitTarget(t, "toy")) })
	if got := rounding.Methods(); !slices.Equal(got, []string{"rtn", "toy", "gptq"}) || rounding.NeedsTexts("toy") {
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
		rounding.Register(toy)
	}()
}

// A method gets what its traits ask for, and no more.
func TestTraits(t *testing.T) {
	var seen []*rounding.Input
	traits := toy
	traits.Name, traits.Steps = "traits", []string{rounding.StepRotation, "comparing"}
	traits.NeedsTexts, traits.Rotates = true, true
	traits.ComparesStreams = func(without rounding.Skips) bool { return !without.Has("comparing") }
	traits.Round = func(ctx context.Context, dst, src *Matrix, in *rounding.Input, without rounding.Skips) error {
		seen = append(seen, in)
		return toy.Round(ctx, dst, src, in, without)
	}
	withMethod(t, traits)
	if !rounding.NeedsTexts("traits") {
		t.Error("it needs no texts")
	}
	m := livelyModel(t, func(s *model.Spec) { s.HeadDim = 16 })
	if _, err := NewPlan(m, &Recipe{Scheme: "int4/g32", Method: "traits"}); err == nil || err.Error() != "method traits needs calibration texts" {
		t.Errorf("error is %v", err)
	}
	for _, c := range []struct {
		without         []string
		rotated, drifts bool
	}{{nil, true, true}, {[]string{rounding.StepRotation}, false, true}, {[]string{"comparing"}, true, false}} {
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
			if in.Moments == nil || in.Factor == nil {
				t.Fatalf("without %v: an input has no moments", c.without)
			}
		}
		drifts := slices.ContainsFunc(seen, func(in *rounding.Input) bool { return in.Moments.Drift != nil })
		if drifts != c.drifts {
			t.Errorf("without %v: drift is there: %t", c.without, drifts)
		}
	}
}
