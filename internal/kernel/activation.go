package kernel

import "math"

// GELUErfMul sets dst to gelu(gate)*up, where gelu(g) = g/2 * (1+erf(g/sqrt 2)) (arXiv
// 1606.08415, section 2) is computed in float64 and rounded to float32 before the product.
// dst may be gate or up. GELUErfMul panics unless all slices have the same length.
func GELUErfMul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "GELUErfMul")
	for i, g := range gate {
		x := float64(g)
		dst[i] = float32(x/2*erfcMinus(x/sqrt2)) * up[i]
	}
}

// ReLUMul sets dst to max(gate, 0)*up. dst may be gate or up. ReLUMul panics unless all
// slices have the same length.
func ReLUMul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "ReLUMul")
	for i, g := range gate {
		dst[i] = relu(g) * up[i]
	}
}

// relu returns max(x, 0), and NaN for NaN.
func relu(x float32) float32 {
	if x < 0 {
		return 0
	}
	return x
}

// Coefficients of rational approximations of erf, from FreeBSD's msun (s_erf.c; the same
// as in Go's package math): numerator and denominator for |x| < 0.84375, for |x| < 1.25
// about 1, for |x| < 1/0.35 and for |x| < 28, the last two in 1/x².
var (
	erfP = []float64{1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02, -5.77027029648944159157e-03, -2.37630166566501626084e-05}
	erfQ = []float64{1, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03, 1.32494738004321644526e-04, -3.96022827877536812320e-06}

	erfP1 = []float64{-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01, 3.18346619901161753674e-01,
		-1.10894694282396677476e-01, 3.54783043256182359371e-02, -2.16637559486879084300e-03}
	erfQ1 = []float64{1, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02, 1.26171219808761642112e-01,
		1.36370839120290507362e-02, 1.19844998467991074170e-02}

	erfP2 = []float64{-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e+01, -6.23753324503260060396e+01,
		-1.62396669462573470355e+02, -1.84605092906711035994e+02, -8.12874355063065934246e+01, -9.81432934416914548592e+00}
	erfQ2 = []float64{1, 1.96512716674392571292e+01, 1.37657754143519042600e+02, 4.34565877475229228821e+02, 6.45387271733267880336e+02,
		4.29008140027567833386e+02, 1.08635005541779435134e+02, 6.57024977031928170135e+00, -6.04244152148580987438e-02}

	erfP3 = []float64{-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e+01, -1.60636384855821916062e+02,
		-6.37566443368389627722e+02, -1.02509513161107724954e+03, -4.83519191608651397019e+02}
	erfQ3 = []float64{1, 3.03380607434824582924e+01, 3.25792512996573918826e+02, 1.53672958608443695994e+03, 3.19985821950859553908e+03,
		2.55305040643316442583e+03, 4.74528541206955367215e+02, -2.24409524465858183362e+01}
)

// erf1 is erf(1), rounded so that the rest is small.
const erf1 = 8.45062911510467529297e-01

// erfcMinus returns erfc(-x) = 1 + erf(x) with a small relative error, also where it is
// almost 0.
func erfcMinus(x float64) float64 {
	size := math.Abs(x)
	switch {
	case x != x:
		return x
	case size < 0.84375:
		z := float64(x * x)
		return 1 + (x + float64(x*(horner(z, erfP)/horner(z, erfQ))))
	case size < 1.25:
		z := size - 1
		return fromTail(x, (1-erf1)-horner(z, erfP1)/horner(z, erfQ1))
	case size >= 28:
		return fromTail(x, 0)
	}
	z := 1 / float64(x*x)
	p, q := erfP2, erfQ2
	if size >= 1/0.35 {
		p, q = erfP3, erfQ3
	}
	// The square of the upper half of the digits is exact.
	high := math.Float64frombits(math.Float64bits(size) &^ 0xffffffff)
	rest := float64((high - size) * (high + size))
	return fromTail(x, Exp64(-float64(high*high)-0.5625)*Exp64(rest+horner(z, p)/horner(z, q))/size)
}

// fromTail returns erfc(-x), given erfc(|x|).
func fromTail(x, tail float64) float64 {
	if x < 0 {
		return tail
	}
	return 2 - tail
}
