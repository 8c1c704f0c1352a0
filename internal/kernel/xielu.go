package kernel

// An XIELU is the activation of arXiv 2411.13010, equation 9, with its constants computed:
//
//	Above x² + Linear x                            if x > 0
//	Below (e^min(x, Last) - 1 - x) + Linear x      otherwise
//
// It computes in float64 and rounds the result to float32.
type XIELU struct {
	Above, Below float64 // weights of the two curves
	Linear       float64 // of the line that both contain
	Last         float64 // the exponential stays constant from here to 0
}

// NewXIELU returns the activation with the weights that models learn: those of the curves
// are the softplus of above and, in addition to linear, that of below.
func NewXIELU(above, below, linear, last float32) XIELU {
	return XIELU{softplus(float64(above)), float64(linear) + softplus(float64(below)), float64(linear), float64(last)}
}

// softplus returns ln(1+e^x).
func softplus(x float64) float64 {
	if x > 20 {
		return x
	}
	return Log64(1 + Exp64(x))
}

// At returns the activation of x and its slope.
func (a XIELU) At(x float32) (y, slope float32) {
	v := float64(x)
	line := float64(a.Linear * v)
	if v > 0 {
		return float32(float64(float64(a.Above*v)*v) + line), float32(float64(2*a.Above*v) + a.Linear)
	}
	e, grows := Exp64(min(v, a.Last)), 0.0
	if v < a.Last {
		grows = e
	}
	return float32(float64(a.Below*(e-1-v)) + line), float32(float64(a.Below*(grows-1)) + a.Linear)
}

// Mul sets dst to the activation of gate, times up. dst may be gate or up. Mul panics unless
// all slices have the same length.
func (a XIELU) Mul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "XIELU.Mul")
	for i, g := range gate {
		y, _ := a.At(g)
		dst[i] = y * up[i]
	}
}
