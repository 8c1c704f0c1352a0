package kernel

import (
	"math"
	"testing"
)

// The activations equal their formulas in float64, which package math evaluates.
func TestMoreActivations(t *testing.T) {
	xielu := NewXIELU(0.3, -0.7, 0.5, -1e-6)
	one, got := []float32{1}, make([]float32, 1)
	for x := -14.0; x <= 14; x += 0.0007 {
		g := float32(x)
		for name, c := range map[string]struct {
			activate func(dst, gate, up []float32)
			want     float64
		}{
			"gelu":  {GELUErfMul, float64(g) / 2 * math.Erfc(-float64(g)/math.Sqrt2)},
			"relu":  {ReLUMul, max(0, float64(g))},
			"relu2": {ReLU2Mul, float64(float32(max(0, g) * max(0, g)))},
			"xielu": {xielu.Mul, xieluOf(float64(g), 0.3, -0.7, 0.5, -1e-6)},
		} {
			c.activate(got, []float32{g}, one)
			if d := math.Abs(float64(got[0]) - c.want); d > 1e-7*math.Abs(c.want)+1e-44 {
				t.Fatalf("%s(%g) = %g, want %g", name, g, got[0], c.want)
			}
		}
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for g, want := range map[float32]float32{0: 0, 1e18: 1e18, inf: inf, -1e30: 0} {
		if GELUErfMul(got, []float32{g}, one); got[0] != want {
			t.Errorf("gelu(%g) = %g, want %g", g, got[0], want)
		}
	}
	for _, activate := range []func(dst, gate, up []float32){GELUErfMul, ReLUMul, ReLU2Mul, xielu.Mul} {
		if activate(got, []float32{nan}, one); got[0] == got[0] {
			t.Errorf("NaN gives %g", got[0])
		}
		x := []float32{-1, 2, 3}
		activate(x[1:2], x[1:2], x[2:])
		if x[0] != -1 || x[1] < 5 || x[2] != 3 {
			t.Errorf("in place it left %v", x)
		}
	}
}

// xieluOf is the formula of transformers (activations.py, XIELUActivation).
func xieluOf(x, above, below, linear, last float64) float64 {
	above, below, linear, last = float64(float32(above)), float64(float32(below)), float64(float32(linear)), float64(float32(last))
	if x > 0 {
		return math.Log1p(math.Exp(above))*x*x + linear*x
	}
	return (math.Expm1(min(x, last))-x)*(linear+math.Log1p(math.Exp(below))) + linear*x
}

// The slope of xIELU is its derivative.
func TestXIELUSlope(t *testing.T) {
	a := NewXIELU(30, -0.7, 0.5, -1e-6) // a softplus beyond its linear part
	for _, x := range []float64{-20, -3, -0.5, -0.01, 0.01, 0.5, 3} {
		const h = 1e-5
		want := (xieluOf(x+h, 30, -0.7, 0.5, -1e-6) - xieluOf(x-h, 30, -0.7, 0.5, -1e-6)) / (2 * h)
		if _, got := a.At(float32(x)); math.Abs(float64(got)-want) > 1e-5*math.Max(1, math.Abs(want)) {
			t.Errorf("at %g the slope is %g, want %g", x, got, want)
		}
	}
}
