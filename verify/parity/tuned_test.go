package parity_test

import (
	"math"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/verify/parity"
)

// tuned returns m in a scheme, as tuning would leave it that moves every scale, minimum, gain
// and bias by a share of what it moves each relative to, up and down in turn.
func tuned(t *testing.T, m *model.Model, scheme string, ofScales, ofVectors float64) *model.Model {
	t.Helper()
	c := rounded(t, m, scheme)
	c.Provenance.Recipe = "scheme: " + scheme + "\ntune: 2048\n"
	turn := func(i int, share float64) float32 { return float32(share * float64(1-2*(i%2))) }
	for _, slot := range c.Spec.Slots() {
		w := c.Tensors[slot.Name]
		for r := range w.Rows {
			if slot.Role == model.Vector {
				x := rowsOf(w)[r]
				for i, unit := range c.Spec.TuningUnits(slot.Name, x) {
					x[i] += turn(i, ofVectors) * unit
				}
				if err := w.SetFloats(r, x); err != nil {
					t.Fatal(err)
				}
				continue
			}
			var read qtensor.Reader
			codes, scale, least := read.Codes(w, r)
			for i := range scale {
				step := qtensor.FromFloat16(scale[i])
				if least != nil {
					least[i], _ = qtensor.ToFloat16(qtensor.FromFloat16(least[i]) + turn(i, ofScales)*step*float32(w.Scheme.Zero()))
				}
				scale[i], _ = qtensor.ToFloat16(step * (1 + turn(i+r, ofScales)))
			}
			w.SetRow(r, codes, scale, least)
		}
	}
	return c
}

// What tuning moves is no fault, in asymmetric groups and in biases near 0 too; what it
// would not move is one.
func TestTuned(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	for _, dir := range []string{"llama-biases", "phi", "gemma3"} {
		m := openFixture(t, dir)
		nearZero := broken(t, m, func(c *model.Model) {
			for name, w := range c.Tensors {
				if strings.HasSuffix(name, model.BiasSuffix) {
					x := rowsOf(w)[0]
					x[1] = 0
					if err := w.SetFloats(0, x); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
		for _, scheme := range []string{"int8/g8/asym", "int4/g8"} {
			if d := locate(t, nearZero, tuned(t, nearZero, scheme, 0.02, 0.06)); d != nil {
				t.Errorf("%s in %s, tuned, is said to be wrong: %+v", dir, scheme, *d)
			}
		}
		if d := locate(t, m, tuned(t, m, "int8/g8/asym", 0, 0.2)); d == nil {
			t.Errorf("%s: gains and biases that are 20 %% off are not found", dir)
		}
		if d := locate(t, m, tuned(t, m, "int8/g8/asym", 0.1, 0)); d == nil {
			t.Errorf("%s: scales and minima that are 10 %% off are not found", dir)
		}
		for _, f := range faults {
			if !f.possible(&m.Spec) || f.name == "one weight" || f.name == "eps" {
				continue // a group's scale, and a gain, may hide them; settings_differ finds the epsilon
			}
			wrong := broken(t, m, func(c *model.Model) { f.inject(t, c, model.Name(m.Spec.Blocks-1, "")) })
			if d := locate(t, m, tuned(t, wrong, "int8/g8", 0.01, 0.03)); d == nil {
				t.Errorf("%s, tuned: %s is not found", dir, f.name)
			}
		}
	}
}

// A tuned model is compared with integers too, whose own rounding counts.
func TestTunedAgainstIntegers(t *testing.T) {
	m := openFixture(t, "llama-biases")
	p := profile(t, rounded(t, m, "int4/g8"), tuned(t, m, "int8/g8", 0.02, 0.06), parity.Arithmetic{})
	if p.Divergence != nil || !(math.Abs(p.Worst) > 0) {
		t.Errorf("%v, %+v", p.Worst, p.Divergence)
	}
}
