package kernel

import "math"

// pi/2 as the unevaluated sum of three float64 numbers.
const (
	halfPi0 = 0x1.921fb54442d18p+0
	halfPi1 = 0x1.1a62633145c07p-54
	halfPi2 = -0x1.f1976b7ed8fbcp-110
)

// Sin64 returns the sine of x (radians) within 2 units in the last place for
// |x| <= 2**30. It is NaN for infinities.
func Sin64(x float64) float64 {
	quadrant, r, e := reduceAngle(x)
	return sinQuadrant(quadrant, r, e)
}

// Cos64 returns the cosine of x (radians) within 2 units in the last place for
// |x| <= 2**30. It is NaN for infinities.
func Cos64(x float64) float64 {
	quadrant, r, e := reduceAngle(x)
	return sinQuadrant(quadrant+1, r, e)
}

// reduceAngle subtracts a multiple of pi/2 from x. The remainder is r+e, and |r|
// hardly exceeds pi/4. For |x| <= 2**30, x - n*halfPi0 is a multiple of 2^-52
// below 1 unless n is 0, so the first fused step is exact.
func reduceAngle(x float64) (quadrant int64, r, e float64) {
	if x-x != 0 {
		return 0, math.NaN(), 0
	}
	n := math.Floor(float64(x*(2/math.Pi)) + 0.5)
	a := math.FMA(-n, halfPi0, x)
	b := -float64(n * halfPi1)
	c := math.FMA(-n, halfPi1, -b) - float64(n*halfPi2)

	// r+e is exactly a+b (Knuth's TwoSum: either operand may be the larger).
	r = a + b
	v := r - a
	e = (a - (r - v)) + (b - v)
	r, e = quickSum(r, e+c)
	return int64(n), r, e
}

// sinQuadrant returns sin(quadrant*pi/2 + r + e).
func sinQuadrant(quadrant int64, r, e float64) float64 {
	y := 0.0
	if quadrant&1 == 0 {
		y = sinKernel(r, e)
	} else {
		y = cosKernel(r, e)
	}
	if quadrant&2 != 0 {
		y = -y
	}
	return y
}

// sinKernel returns sin(r+e) for |r| <= pi/4:
// r + (r³*(-1/3! + r²/5! - ...) + e*(1 - r²/2)).
func sinKernel(r, e float64) float64 {
	z := float64(r * r)
	p := horner(z, sinTerms[:])
	return r + (float64(float64(z*r)*p) + float64(e*(1-float64(z/2))))
}

// cosKernel returns cos(r+e) for |r| <= pi/4:
// 1 - r²/2 + (r⁴*(1/4! - r²/6! + ...) - e*r), corrected for the rounding error
// of 1 - r²/2.
func cosKernel(r, e float64) float64 {
	z := float64(r * r)
	p := horner(z, cosTerms[:])
	h := z / 2
	w := 1 - h
	return w + (((1 - w) - h) + (float64(float64(z*z)*p) - float64(r*e)))
}

var (
	sinTerms = [...]float64{
		-1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000,
		1.0 / 355687428096000,
	}
	cosTerms = [...]float64{
		1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000,
		-1.0 / 6402373705728000,
	}
)
