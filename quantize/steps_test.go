package quantize

import (
	"slices"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/quantize/power"
	"thimble/quantize/rounding"
)

// A trainedLayer is a linear layer of the trained fixture, with its input on the
// text that it was trained on and on text that it has not seen.
type trainedLayer struct {
	name  string
	src   *Matrix
	in    *rounding.Input // of the calibration text
	held  *rounding.Input // of the held-out text
	guess *rounding.Input // from the weights alone
	power float64
}

// layersOf takes both texts through the float model m and returns the layers that
// want picks.
func layersOf(t *testing.T, m *Model, texts [2][][]int, want func(block int, kind string) bool) (layers []trainedLayer) {
	t.Helper()
	guesses, err := power.Inputs(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newTrace(m, texts[0], transformer.Room{Positions: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	b, err := newTrace(m, texts[1], transformer.Room{Positions: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	inputOf := func(x rounding.Positions, damp float64) *rounding.Input {
		moments, err := rounding.MomentsOf(t.Context(), x, x.Weights())
		if err != nil {
			t.Fatal(err)
		}
		in, err := rounding.NewInput(t.Context(), moments, damp)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	for {
		g, err := a.Next()
		if err != nil {
			t.Fatal(err)
		}
		if g == nil {
			return layers
		}
		h, err := b.Next()
		if err != nil {
			t.Fatal(err)
		}
		kinds := slices.DeleteFunc(slices.Clone(g.Kinds), func(kind string) bool { return !want(g.Block, kind) })
		if len(kinds) > 0 {
			in, held := inputOf(rounding.Positions{N: a.Len(), Row: g.Row}, rounding.Damping), inputOf(rounding.Positions{N: b.Len(), Row: h.Row}, 1e-9)
			for _, kind := range kinds {
				l := trainedLayer{model.Name(g.Block, kind), m.Tensors[model.Name(g.Block, kind)], in, held, nil, 0}
				l.guess = guesses[l.name]
				if l.power, err = held.OutputPower(t.Context(), l.src); err != nil {
					t.Fatal(err)
				}
				layers = append(layers, l)
			}
		}
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A roundFunc rounds a layer.
type roundFunc func(t *testing.T, dst *Matrix, l *trainedLayer) error

func byMethod(name string, in func(l *trainedLayer) *rounding.Input, without ...string) roundFunc {
	return func(t *testing.T, dst *Matrix, l *trainedLayer) error {
		return chosen(t, name, without...).Round(t.Context(), dst, l.src, in(l))
	}
}

// losses returns the loss of each layer on text that was not calibrated on, as a
// share of its output's power.
func losses(t *testing.T, layers []trainedLayer, s Scheme, round roundFunc) []float64 {
	t.Helper()
	all := make([]float64, len(layers))
	for i := range layers {
		l := &layers[i]
		dst, err := qtensor.New(s, l.src.Rows, l.src.Cols)
		if err == nil {
			err = round(t, dst, l)
		}
		if err != nil {
			t.Fatal(err)
		}
		lost, _, err := l.held.Loss(t.Context(), l.src, dst, nil)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = lost / l.power
	}
	return all
}

// Each step lowers the loss of the layers' outputs on text that was not calibrated
// on, in sum and in most layers. Unlike the divergence of the whole model, that loss
// does not depend on how other layers happen to be rounded, so a gain is no accident.
func TestTrainedSteps(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	m := openFixture(t, trained)
	texts := [2][][]int{trainedTexts(t, "calibration.txt", 4096).Texts, trainedTexts(t, "heldout.txt", 2048).Texts}
	layers := layersOf(t, m, texts, func(block int, _ string) bool { return block%5 == 0 })
	guessed := func(l *trainedLayer) *rounding.Input { return l.guess }
	known := func(l *trainedLayer) *rounding.Input { return l.in }
	for _, text := range []string{"int4/g32", "int3/g64/asym"} {
		var before []float64
		for _, step := range []struct {
			name  string
			round roundFunc
			most  float64 // of the loss before
		}{
			{"rtn", byMethod(rounding.MethodRTN, guessed, rounding.StepSearch), 1},
			{"searched", byMethod(rounding.MethodRTN, guessed), 0.93},
			{"weighted", byMethod(rounding.MethodRTN, known), 0.995},
			{"gptq", byMethod(rounding.MethodGPTQ, known, rounding.StepRefit, rounding.StepDescent), 0.75},
			{"refitted", byMethod(rounding.MethodGPTQ, known, rounding.StepDescent), 0.985},
			{"descended", byMethod(rounding.MethodGPTQ, known), 0.98},
		} {
			after := losses(t, layers, scheme(t, text), step.round)
			if before != nil {
				checkGain(t, text+", "+step.name, before, after, step.most)
			}
			before = after
		}
	}
}

// The rotation lowers that loss in the two layers that it changes, over several
// schemes together. It gains little on this model, whose heads have few channels
// that are louder than the others.
func TestTrainedRotation(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	m := openFixture(t, trained)
	texts := [2][][]int{trainedTexts(t, "calibration.txt", 4096).Texts, trainedTexts(t, "heldout.txt", 2048).Texts}
	p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32"})
	changed := func(_ int, kind string) bool { return kind == model.V || kind == model.O }
	plain, turned := layersOf(t, m, texts, changed), layersOf(t, rotated(m, p), texts, changed)
	round := byMethod(rounding.MethodGPTQ, func(l *trainedLayer) *rounding.Input { return l.in })
	var before, after []float64
	for _, text := range []string{"int4/g32", "int4/g32/asym", "int3/g32", "int3/g64/asym"} {
		was, is := losses(t, plain, scheme(t, text), round), losses(t, turned, scheme(t, text), round)
		sum := 0.0
		for _, v := range was {
			sum += v
		}
		for i := range was { // so that all schemes count alike
			before, after = append(before, was[i]/sum), append(after, is[i]/sum)
		}
	}
	checkGain(t, "rotated", before, after, 0.99)
}

// checkGain wants the sum of after to be at most a certain part of that of before,
// and most layers to gain.
func checkGain(t *testing.T, what string, before, after []float64, most float64) {
	t.Helper()
	var was, is float64
	lower := 0
	for i := range before {
		was, is = was+before[i], is+after[i]
		if after[i] < before[i] {
			lower++
		}
	}
	t.Logf("%-26s loss %.4f of that before, lower in %d of %d layers", what, is/was, lower, len(before))
	if !(is <= most*was) {
		t.Errorf("%s: the loss is %.4f of that before, want at most %g", what, is/was, most)
	}
	if 5*lower < 3*len(before) {
		t.Errorf("%s: the loss is lower in %d of %d layers, want three fifths", what, lower, len(before))
	}
}
