package quantize

import (
	"testing"

	"thimble/internal/model"
	"thimble/quantize/quantizetest"
)

// massiveModel is livelyModel with a massive activation in its first block: the down projection's
// input is times as large as others where token 0 is the first of a text.
func massiveModel(t *testing.T, times float32) *model.Model {
	m := livelyModel(t, nil)
	trace, err := newTrace(m, [][]int{{0}}, (&Calibration{}).room(m, nil, 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	var x []float32 // the input of gate and up there
	for range 3 {
		g, err := trace.Next()
		if err == nil {
			err = g.Load(0, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		x = g.Row(0)
		if g.Kinds[0] == model.Gate {
			break
		}
		if err := trace.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	square := float32(0)
	for _, v := range x {
		square += v * v
	}
	for _, kind := range []string{model.Gate, model.Up} {
		w := m.Tensors[model.Name(0, kind)]
		row := quantizetest.Values(w)[7]
		for i := range row {
			row[i] = x[i] / square * times
		}
		if err := w.SetFloats(7, row); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// What a survey predicts for a layer with a massive activation is what rounding it with error
// feedback costs, although its weight among the positions is a thousandth of its power.
func TestSurveyOfMassiveActivations(t *testing.T) {
	m := massiveModel(t, 100)
	texts := randomTexts(4, 48, m.Spec.Vocab-1)
	for _, ids := range texts.Texts {
		for i := range ids {
			ids[i]++
		}
		ids[0] = 0
	}
	s, err := NewSurvey(t.Context(), m, texts, []Scheme{scheme(t, "int4/g32")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &heldOut{m: m, texts: texts.Texts}
	if d.kl, err = newKLEvaluator(t.Context(), hiddenStates(t, m, texts), m.Spec.Vocab); err != nil {
		t.Fatal(err)
	}
	name := model.Name(0, model.Down)
	kl, predicted := d.of(t, Recipe{Scheme: "f32", Rules: []Rule{{name, "int4/g32"}}}, texts), s.cost[name][0]
	t.Logf("KL %.3g predicted, %.3g measured", predicted, kl)
	if ratio := predicted / kl; !(ratio > 0.4 && ratio < 2.5) {
		t.Errorf("KL %.3g predicted, %.3g measured", predicted, kl)
	}
}
