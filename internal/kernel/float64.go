package kernel

import "math"

// The functions below return the same bits on every architecture; package math
// does not promise that. Each product that is added to something is either
// rounded by an explicit conversion or fused by math.FMA, which is correctly
// rounded everywhere.

const (
	log2E64 = 1.4426950408889634
	ln2Hi64 = 0x1.62e42fefap-1       // 33 bits: its product with any exponent is exact
	ln2Lo64 = 0x1.cf79abc9e3b3ap-40  // ln 2 - ln2Hi64
	ln2Tail = -0x1.ff0342542fc33p-94 // ln 2 - ln2Hi64 - ln2Lo64
	sqrt2   = 1.414213562373095048801688724
)

// Exp64 returns e**x within 2 units in the last place.
func Exp64(x float64) float64 { return expSum64(x, 0) }

// Exps64 sets dst[i] to Exp64(x[i]-bias), with the difference in float64. It panics unless
// dst and x have the same length.
func Exps64(dst []float64, x []float32, bias float64) {
	check(len(dst) == len(x), "Exps64")
	n := blocks(len(x))
	best.exps64(dst[:n], x[:n], bias)
	exps64Portable(dst[n:], x[n:], bias)
}

func exps64Portable(dst []float64, x []float32, bias float64) {
	for i, v := range x {
		dst[i] = Exp64(float64(v) - bias)
	}
}

// expSum64 returns e**(hi+lo), where lo is small compared with hi.
func expSum64(hi, lo float64) float64 {
	switch {
	case hi > 710: // including +Inf
		return math.Inf(1)
	case hi < -746:
		return 0
	case hi != hi:
		return hi
	}
	n := math.Floor(float64(hi*log2E64) + 0.5)
	a := hi - float64(n*ln2Hi64)
	b := lo - float64(n*ln2Lo64)
	r := a + b
	e := (a - r) + b // the rounding error of r
	p := r * horner(r, expTerms[:])
	// e**(r+e) = 1 + r + (r²/2! + r³/3! + ... + e + e*r)
	y := 1 + (r + (float64(r*p) + (e + float64(e*r))))
	k := int(n)
	return float64(y*scale64(k>>1)) * scale64(k-k>>1)
}

// scale64 returns 2**k for -1022 <= k <= 1023.
func scale64(k int) float64 { return math.Float64frombits(uint64(k+1023) << 52) }

// expTerms are 1/2!, 1/3!, ... 1/13!. For |r| <= ln(2)/2 the first omitted term
// is below 2^-57 of the sum.
var expTerms = [...]float64{
	1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
	1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800,
}

// horner returns c[0] + c[1]*x + c[2]*x² + ...
func horner(x float64, c []float64) float64 {
	p := 0.0
	for i := len(c) - 1; i >= 0; i-- {
		p = float64(p*x) + c[i]
	}
	return p
}

// Log64 returns the natural logarithm of x within 2 units in the last place.
// Log64(0) is -Inf; the logarithm of a negative number is NaN.
func Log64(x float64) float64 {
	hi, lo := logSum64(x)
	return hi + lo
}

// logSum64 returns the natural logarithm of x as an unevaluated sum with about
// 100 correct bits:
//
//	log(2**k * m) = k*log(2) + 2*atanh(s), s = (m-1)/(m+1)
//
// with m between sqrt(1/2) and sqrt(2), so that |s| < 0.172.
func logSum64(x float64) (hi, lo float64) {
	switch {
	case x < 0 || x != x:
		return math.NaN(), 0
	case x == 0:
		return math.Inf(-1), 0
	case x > math.MaxFloat64:
		return x, 0
	}
	m, k := math.Frexp(x) // m in [1/2, 1)
	if m < sqrt2/2 {
		m, k = 2*m, k-1
	}
	// s = s0+s1, where m-1 is exact and m+1 = d0+d1.
	f := m - 1
	d0, d1 := quickSum(2, f)
	s0 := f / d0
	s1 := (math.FMA(-s0, d0, f) - float64(s0*d1)) / d0

	// atanh(s)/s = 1 + s²/3 + s⁴/5 + ..., with the leading terms as double words.
	z0, z1 := mulSum(s0, s1, s0, s1)
	t0, t1 := horner(z0, atanhTerms[:]), 0.0
	for _, n := range [...]float64{15, 13, 11, 9, 7, 5, 3, 1} {
		t0, t1 = mulSum(t0, t1, z0, z1)
		q := 1 / n
		t0, t1 = addSum(q, math.FMA(-q, n, 1)/n, t0, t1)
	}
	t0, t1 = mulSum(t0, t1, 2*s0, 2*s1)

	n := float64(k)
	l0, l1 := quickSum(float64(n*ln2Hi64), float64(n*ln2Lo64))
	if k == 0 {
		return t0, t1
	}
	// l1 also absorbs the product's rounding error and the tail of ln 2.
	l1 += math.FMA(n, ln2Lo64, -float64(n*ln2Lo64)) + float64(n*ln2Tail)
	return addSum(l0, l1, t0, t1)
}

// atanhTerms are the coefficients 1/17, 1/19, ... of the series of atanh.
var atanhTerms = [...]float64{
	1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23, 1.0 / 25, 1.0 / 27, 1.0 / 29, 1.0 / 31, 1.0 / 33, 1.0 / 35, 1.0 / 37,
	1.0 / 39,
}

// quickSum returns a+b and its rounding error, for |a| >= |b| or a = 0
// (Dekker's FastTwoSum).
func quickSum(a, b float64) (s, e float64) {
	s = a + b
	return s, b - (s - a)
}

// addSum adds two double words. The first must be at least as large as the
// second.
func addSum(a0, a1, b0, b1 float64) (s, e float64) {
	s, e = quickSum(a0, b0)
	return quickSum(s, e+(a1+b1))
}

// mulSum multiplies two double words.
func mulSum(a0, a1, b0, b1 float64) (p, e float64) {
	p = float64(a0 * b0)
	e = math.FMA(a0, b0, -p) + (float64(a0*b1) + float64(a1*b0))
	return quickSum(p, e)
}

// Pow64 returns x**y for x > 0 within 2 units in the last place. For negative x
// it returns NaN.
func Pow64(x, y float64) float64 {
	if y == 0 || x == 1 {
		return 1
	}
	hi, lo := logSum64(x)
	p := float64(hi * y)
	if p-p != 0 { // log(x) or y is not finite, or the product overflows
		return Exp64(p)
	}
	e := math.FMA(hi, y, -p) + float64(lo*y)
	return expSum64(p, e)
}
