package quantize

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
	"thimble/quantize/rounding"
)

// calibratedPlan plans r by gptq.
func calibratedPlan(t testing.TB, m *model.Model, r Recipe) *Plan {
	t.Helper()
	r.Method, r.Texts = rounding.MethodGPTQ, &Texts{}
	p, err := NewPlan(m, &r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// collect is a Sink that keeps its tensors.
type collect []*qtensor.Matrix

func (c *collect) Write(m *qtensor.Matrix) error {
	*c = append(*c, m)
	return m.Check()
}

// A calibrated run writes the same bytes on any machine and number of cores, each
// time.
func TestCalibratedBytesAreTheSameEverywhere(t *testing.T) {
	for _, procs := range []int{1, 8, 8} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		m := livelyModel(t, func(s *model.Spec) { s.HeadDim = 16 })
		p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32/asym", Embedding: "int6/g32", Rules: []Rule{{"blocks.*.up", "int4/g32"}, {"blocks.0.k", "f16"}}})
		h := hashing{sha256.New()}
		if err := Run(t.Context(), m, p, randomTexts(5, 60, m.Spec.Vocab), h, nil); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", h.Sum(nil))[:16]; got != goldenRuns[Arithmetic] {
			t.Errorf("on %d cores: hash %s, want %s", procs, got, goldenRuns[Arithmetic])
		}
	}
}

// A survey has the same bits on any machine and number of cores.
func TestSurveyIsTheSameEverywhere(t *testing.T) {
	for _, procs := range []int{1, 8} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		m := livelyModel(t, nil)
		s, err := NewSurvey(t.Context(), m, randomTexts(3, 40, m.Spec.Vocab), []qtensor.Scheme{scheme(t, "int4/g32"), scheme(t, "int5/g32/asym")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for _, slot := range m.Spec.Slots() {
			fmt.Fprintf(h, "%s %x\n", slot.Name, s.cost[slot.Name])
		}
		if got := fmt.Sprintf("%x", h.Sum(nil))[:16]; got != goldenSurveys[surveyArithmetic] {
			t.Errorf("on %d cores: hash %s, want %s", procs, got, goldenSurveys[surveyArithmetic])
		}
	}
}

// A run writes tensors of the planned bytes and shapes in the plan's order, in
// whatever order blocks run. Calibration does not change what is not rounded.
func TestCalibratedRunKeepsThePlansOrder(t *testing.T) {
	for name, edit := range map[string]func(s *model.Spec){
		"tied":         nil,
		"untied":       func(s *model.Spec) { s.Tied = false },
		"shared":       func(s *model.Spec) { s.Schedule = model.InOrder(2, 2) },
		"again, apart": func(s *model.Spec) { s.Schedule = []int{0, 1, 0, 1} },
		"ungated":      func(s *model.Spec) { s.Ungated = true },
		"post norms":   func(s *model.Spec) { s.PostNorm = true },
	} {
		t.Run(name, func(t *testing.T) {
			m := livelyModel(t, edit)
			p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32", Embedding: "int8/g32", Vectors: "f16", Rules: []Rule{{"blocks.1.down", "f16"}}})
			var got collect
			done := int64(0)
			if err := Run(t.Context(), m, p, randomTexts(3, 40, m.Spec.Vocab), &got, func(n int64) { done = n }); err != nil {
				t.Fatal(err)
			}
			if len(got) != len(p.Tensors) || done != p.Weights {
				t.Fatalf("%d tensors of %d weights, planned are %d of %d", len(got), done, len(p.Tensors), p.Weights)
			}
			for i, e := range p.Tensors {
				if g := got[i]; g.Scheme != e.To || g.Rows != e.Rows || g.Cols != e.Cols || g.Bytes() != e.Bytes {
					t.Errorf("%s: %v (%d, %d) came, planned is %v (%d, %d)", e.Name, g.Scheme, g.Rows, g.Cols, e.To, e.Rows, e.Cols)
				}
				if e.rounds() {
					continue
				}
				want, err := p.store(t.Context(), m.Tensors[e.Name], e, nil)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got[i].Codes, want.Codes) {
					t.Errorf("%s is not what the source holds", e.Name)
				}
			}
		})
	}
}

// A weight that is not finite gives the error that it gives without calibration.
func TestCalibratedRunNamesTheTensor(t *testing.T) {
	for _, name := range []string{"embed", "blocks.0.q", "blocks.1.up", "blocks.1.down", "head"} {
		for _, tied := range []bool{true, false} {
			if tied && name == model.Head {
				continue
			}
			m := livelyModel(t, func(s *model.Spec) { s.Tied = tied })
			w := m.Tensors[name]
			copy(w.Codes[4*(w.Cols+1):], []byte{0, 0, 0xc0, 0x7f}) // row 1, column 1
			want := "test: " + name + ": row 1, column 1 is NaN, but weights must be finite; download the file again, or take a checkpoint from before training diverged"
			texts := randomTexts(3, 40, m.Spec.Vocab)
			err := Run(t.Context(), m, calibratedPlan(t, m, Recipe{Scheme: "int4/g32"}), texts, new(discard), nil)
			if err == nil || err.Error() != want {
				t.Errorf("tied %t: error is %v, want %q", tied, err, want)
			}
			if _, err := NewSurvey(t.Context(), m, texts, []qtensor.Scheme{scheme(t, "int4/g32")}, nil); err == nil || err.Error() != want {
				t.Errorf("tied %t: error of a survey is %v, want %q", tied, err, want)
			}
		}
	}
}

// A matrix of zeros is stored as zeros and costs nothing.
func TestCalibratedZeros(t *testing.T) {
	m := livelyModel(t, nil)
	for _, name := range []string{"blocks.0.down", "blocks.1.k"} {
		clear(m.Tensors[name].Codes)
	}
	s, err := NewSurvey(t.Context(), m, randomTexts(3, 40, m.Spec.Vocab), []qtensor.Scheme{scheme(t, "int4/g32")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range m.Spec.Slots() {
		for _, v := range s.cost[slot.Name] {
			if !(v >= 0) || v > 1e3 {
				t.Errorf("%s costs %v", slot.Name, v)
			}
		}
	}
	p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32"})
	var got collect
	if err := Run(t.Context(), m, p, randomTexts(3, 40, m.Spec.Vocab), &got, nil); err != nil {
		t.Fatal(err)
	}
	for i, e := range p.Tensors {
		if e.Name == "blocks.0.down" {
			for _, row := range quantizetest.Values(got[i]) {
				for _, v := range row {
					if v != 0 {
						t.Fatalf("%s has a %v", e.Name, v)
					}
				}
			}
		}
	}
}

func TestCalibratedRunStops(t *testing.T) {
	m := livelyModel(t, nil)
	p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32"})
	texts := randomTexts(8, 60, m.Spec.Vocab)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, m, p, texts, new(discard), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
	if _, err := NewSurvey(ctx, m, texts, noises[:1], nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error of a survey is %v, want %v", err, context.Canceled)
	}
	ctx, cancel = context.WithCancel(t.Context())
	var at time.Time
	err := Run(ctx, m, p, texts, new(discard), func(int64) { at = time.Now(); cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
	if took := time.Since(at); took > 2*time.Second {
		t.Errorf("it went on for %v", took)
	}
	if err := Run(t.Context(), m, p, &Calibration{}, new(discard), nil); err == nil || err.Error() != "there are no calibration texts" {
		t.Errorf("error is %v", err)
	}
	full := errors.New("disk is full")
	if err := Run(t.Context(), m, p, texts, failing{full}, nil); !errors.Is(err, full) {
		t.Errorf("error is %v, want %v", err, full)
	}
}

// failing is a Sink that fails.
type failing struct{ err error }

func (f failing) Write(*qtensor.Matrix) error { return f.err }

// A run quantizes any small model, scheme and text, or refuses it in a sentence.
func TestCalibratedRunOfAnyModel(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kv := rapid.IntRange(1, 2).Draw(t, "kv heads")
		spec := model.Spec{
			Hidden: rapid.IntRange(1, 40).Draw(t, "hidden"), KVHeads: kv, Heads: kv * rapid.IntRange(1, 2).Draw(t, "queries per key"),
			HeadDim: 2 * rapid.IntRange(1, 5).Draw(t, "head"), FFN: rapid.IntRange(1, 50).Draw(t, "ffn"), Vocab: rapid.IntRange(1, 200).Draw(t, "vocab"),
			Context: 64, Blocks: rapid.IntRange(1, 3).Draw(t, "blocks"), NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1,
			Tied: rapid.Bool().Draw(t, "tied"), Ungated: rapid.Bool().Draw(t, "ungated"), PostNorm: rapid.Bool().Draw(t, "post norms"),
		}
		spec.Schedule = model.InOrder(spec.Blocks, rapid.IntRange(1, 2).Draw(t, "runs"))
		if rapid.Bool().Draw(t, "streams") && !spec.Shared() && !spec.Ungated {
			spec.Layer.Width, spec.AltUp, spec.Laurel = 3, model.AltUp{Streams: 3, Scaled: true}, 2
			spec.Sparsity = slices.Repeat([]float64{0.5}, spec.Blocks)
		}
		m := &model.Model{Path: "test", Spec: spec, Tensors: map[string]*qtensor.Matrix{}}
		size := rapid.SampledFrom([]float32{0, 1e-30, 1e-3, 1, 100, 1e6, 1e18}).Draw(t, "size")
		for i, s := range spec.Slots() {
			w := quantizetest.Weights(s.Rows, s.Cols, uint64(i))
			for r, x := range quantizetest.Values(w) {
				for c := range x {
					x[c] *= size
				}
				if err := w.SetFloats(r, x); err != nil {
					t.Fatal(err)
				}
			}
			m.Tensors[s.Name] = w
		}
		if err := m.Check(); err != nil {
			return // a Spec that no model has
		}
		schemes := rapid.SampledFrom([]string{"int2/g8", "int3/g32", "int4/g32", "int4/row/asym", "int8/g64", "int8/row"})
		text := schemes.Draw(t, "scheme")
		p, err := NewPlan(m, &Recipe{Scheme: text, Embedding: schemes.Draw(t, "embedding"), Method: rounding.MethodGPTQ, Texts: &Texts{}})
		if err != nil {
			t.Fatal(err)
		}
		texts := randomTexts(rapid.IntRange(1, 3).Draw(t, "texts"), rapid.IntRange(1, 20).Draw(t, "length"), spec.Vocab)
		sentence := func(err error) {
			if err != nil && (strings.Contains(err.Error(), "panic") || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "runtime error")) {
				t.Errorf("not a sentence: %v", err)
			}
		}
		sentence(Run(context.Background(), m, p, texts, new(discard), nil))
		s, err := NewSurvey(context.Background(), m, texts, []qtensor.Scheme{noises[0], {Kind: qtensor.Int, Bits: 6, Group: 32}}, nil)
		if sentence(err); err != nil {
			return
		}
		_, err = allocate(s, m, &Recipe{Scheme: text}, p.Bytes, 0)
		sentence(err)
	})
}

// What each version of the arithmetic computes. Whoever changes bits raises the
// version and adds a hash: a program must not continue what another version left.
var (
	goldenRuns    = map[int]string{1: "91bdc0cba0fd118a", 2: "c051b71beaea296f", 3: "4f6033a7173a3417", 4: "4f6033a7173a3417", 5: "4f6033a7173a3417", 6: "4f6033a7173a3417"} // 4 changed 8-bit heads only, 5 schemes with a rate, 6 positions that are loud in one model, which this run lacks
	goldenSurveys = map[int]string{1: "3f5497881be5ea14", 2: "fd1cdc0920fc2a40", 3: "30b31fb2fa98e5d4", 4: "30b31fb2fa98e5d4", 5: "30b31fb2fa98e5d4", 6: "f0427dd5c5311b3a"} // 4 changed schemes with a rate only, 5 inputs with a loud position only
)

// Calibration, here on random texts, lowers the error of a model with several streams, learned
// residuals, inputs of each layer and keys of earlier blocks.
func TestCalibratedStreams(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	dir := filepath.Join("..", "fixtures", "families", "gemma3n")
	texts := randomTexts(24, 60, 260)
	plain, calibrated := measure(t, dir, Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}, nil), measure(t, dir, Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}, texts)
	if a, b := float64(plain.Metrics.KLMean), float64(calibrated.Metrics.KLMean); !(b < 0.8*a) {
		t.Errorf("KL is %.3g calibrated, and %.3g by plain rounding", b, a)
	}
}

// Calibration lowers the error of models with state spaces, in place of attention or beside it.
func TestCalibratedStateSpaces(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	for _, name := range []string{"granitemoehybrid", "granitemoehybrid-moe", "falcon_h1", "falcon_h1-normed", "nemotron_h"} {
		dir := filepath.Join("..", "fixtures", "families", name)
		recipe, texts := Recipe{Scheme: "int4/g32", Embedding: "int8/g32"}, textsOf(t, openFixture(t, dir), "calibration.txt", 8192, 60)
		plain, calibrated := float64(measure(t, dir, recipe, nil).Metrics.KLMean), float64(measure(t, dir, recipe, texts).Metrics.KLMean)
		t.Logf("%s: KL %.3g calibrated, %.3g by plain rounding", name, calibrated, plain)
		if !(calibrated < 0.9*plain) {
			t.Errorf("%s: KL is %.3g calibrated, and %.3g by plain rounding", name, calibrated, plain)
		}
	}
}
