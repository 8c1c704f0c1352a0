package quantize

import (
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
	"thimble/quantize/rounding"
)

// A layer whose input is always zero is rounded by its weights alone, no worse than
// without calibration, and costs nothing.
func TestSilentInput(t *testing.T) {
	for name, zero := range map[string][]string{
		"values":     {"blocks.0.v"},
		"gains":      {"blocks.1.attn_norm", "blocks.0.ffn_norm"},
		"everything": {"norm"},
	} {
		m := livelyModel(t, func(s *model.Spec) { s.Tied = false })
		silent := map[string][]string{
			"values": {"blocks.0.o"}, "gains": {"blocks.1.q", "blocks.1.o", "blocks.0.gate", "blocks.0.down"}, "everything": {"head"},
		}[name]
		for _, name := range zero {
			clear(m.Tensors[name].Codes)
		}
		texts := randomTexts(3, 40, m.Spec.Vocab)
		p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32"})
		var got collect
		if err := Run(t.Context(), m, p, texts, &got, nil); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s, err := NewSurvey(t.Context(), m, texts, []qtensor.Scheme{scheme(t, "int4/g32"), scheme(t, "int6/g32")}, nil)
		if err != nil {
			t.Errorf("%s: survey: %v", name, err)
			continue
		}
		for _, tensor := range silent {
			if cost := s.cost[tensor]; cost[0] != 0 || cost[1] != 0 {
				t.Errorf("%s: %s costs %v", name, tensor, cost)
			}
			for i, e := range p.Tensors {
				if e.Name == tensor {
					checkNoWorse(t, m.Tensors[tensor], got[i])
				}
			}
		}
		if cost := s.cost["blocks.1.up"]; name != "everything" && !(cost[0] > cost[1] && cost[1] > 0) {
			t.Errorf("%s: blocks.1.up costs %v", name, cost)
		}
	}
}

// checkNoWorse wants q to be as close to w as its nearest rounding.
func checkNoWorse(t *testing.T, w, q *qtensor.Matrix) {
	t.Helper()
	nearest, err := qtensor.New(q.Scheme, w.Rows, w.Cols)
	if err == nil {
		err = rounding.ToNearest(t.Context(), nearest, w, rounding.Even(w.Cols), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	sum := func(q *qtensor.Matrix) (sum float64) {
		got := quantizetest.Values(q)
		for r, x := range quantizetest.Values(w) {
			for c, v := range x {
				e := float64(v) - float64(got[r][c])
				sum += e * e
			}
		}
		return sum
	}
	if got, least := sum(q), sum(nearest); got > 1.0001*least {
		t.Errorf("squared error %g, that of the nearest is %g", got, least)
	}
}

// A survey disturbs weights that lie on the lattice of int4/g32 already by a coarser
// scheme, so that their costs are nats like those of weights off the lattice. Weights
// on all lattices cost nothing.
func TestSurveyOfALattice(t *testing.T) {
	pattern := func(codes int, off float32) func(w *qtensor.Matrix) {
		return func(w *qtensor.Matrix) {
			x := quantizetest.Values(w)
			for r := range x {
				for c := range x[r] {
					code := (5*r+3*c*c+c)%codes - codes/2
					if c%8 == 0 { // so that every group has the lattice's scale
						code = -codes / 2
					}
					x[r][c] = float32(code)/64 + off*float32((7*r+c)%5-2)/64
				}
			}
			setRows(t, w, x)
		}
	}
	on, off, everywhere := costsOf(t, pattern(16, 0)), costsOf(t, pattern(16, 0.2)), costsOf(t, pattern(4, 0))
	for _, name := range []string{"blocks.0.q", "blocks.1.down"} {
		if on[name][0] != 0 {
			t.Errorf("%s, int4 already, costs %g as int4", name, on[name][0])
		}
		if ratio := on[name][2] / off[name][2]; !(ratio > 1./3 && ratio < 3) {
			t.Errorf("%s costs %g as int2, off the lattice it would cost %g", name, on[name][2], off[name][2])
		}
		for _, cost := range everywhere[name] {
			if cost != 0 {
				t.Errorf("%s, int2 already, costs %v", name, everywhere[name])
			}
		}
	}
}

func setRows(t *testing.T, w *qtensor.Matrix, x [][]float32) {
	for r := range x {
		if err := w.SetFloats(r, x[r]); err != nil {
			t.Fatal(err)
		}
	}
}

// costsOf surveys a model after edit has changed two kinds of its layers.
func costsOf(t *testing.T, edit func(w *qtensor.Matrix)) map[string][]float64 {
	m := livelyModel(t, nil)
	for _, kind := range []string{model.Q, model.Down} {
		for b := range m.Spec.Blocks {
			edit(m.Tensors[model.Name(b, kind)])
		}
	}
	schemes := []qtensor.Scheme{scheme(t, "int4/g32"), scheme(t, "int3/g32"), scheme(t, "int2/g32")}
	s, err := NewSurvey(t.Context(), m, randomTexts(3, 40, m.Spec.Vocab), schemes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.cost
}
