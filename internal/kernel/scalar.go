package kernel

import "math"

// FMA returns a*b+c, rounded once to float32.
func FMA(a, b, c float32) float32 {
	r, ok := fma(a, b, c)
	if !ok {
		r = fmaOdd(a, b, c)
	}
	return r
}

// fma returns a*b+c and reports whether the result is correctly rounded. If it
// is not, the caller must use fmaOdd. Loops call fma directly because it is
// small enough to be inlined.
//
// The float64 product of two float32 numbers is exact, so there are two
// roundings: that of the sum to float64, and that of the result to float32. The
// second can go wrong only if the first produced the midpoint of two float32
// numbers, or a magnitude below the smallest normal float32, where the spacing
// and so the midpoints are different.
func fma(a, b, c float32) (r float32, ok bool) {
	sum := float64(a)*float64(b) + float64(c)
	u := math.Float64bits(sum)
	return float32(sum), u&(1<<29-1) != 1<<28 && u<<1-1 >= 0x381<<53-1 // sum is 0 or |sum| >= 2^-126
}

// fmaOdd returns a*b+c correctly rounded: it rounds the sum to odd in float64
// and then to float32 (Boldo and Melquiond, "Emulation of a FMA and correctly
// rounded sums: proved algorithms using rounding to odd", 2008).
func fmaOdd(a, b, c float32) float32 {
	// sum + e is exact (Knuth's TwoSum).
	p, q := float64(a)*float64(b), float64(c)
	sum := p + q
	v := sum - p
	e := (p - (sum - v)) + (q - v)
	u := math.Float64bits(sum)
	if e != 0 && u&1 == 0 {
		if e > 0 == (sum > 0) {
			u++ // sum was rounded toward zero: the odd neighbour is away from it
		} else {
			u--
		}
	}
	return float32(math.Float64frombits(u))
}

// The constants of Exp.
const (
	expHigh = 89   // exp overflows
	expLow  = -104 // exp is less than half the smallest float32
	log2E   = 1.4426950408889634
	ln2Hi   = 355.0 / 512 // so few bits that x - n*ln2Hi is exact
	ln2Lo   = -0.00021219444005469057
	toInt   = 3 << 22 // x+toInt has the integer nearest to x in its low bits

	// The polynomial interpolates (exp(r)-1-r)/r² at the Chebyshev nodes of
	// |r| <= 0.347. Its relative error in exp(r) is 2^-28.
	exp0 = 0x1p-1
	exp1 = 0x1.5554dcp-3
	exp2 = 0x1.555518p-5
	exp3 = 0x1.120cp-7
	exp4 = 0x1.6d119ap-10
)

// Exp returns e**x within 2 units in the last place, even for subnormal results.
// Exp(-Inf) is 0, Exp(+Inf) is +Inf and Exp(NaN) is NaN.
//
// The assembly forms follow the same steps.
func Exp(x float32) float32 {
	if x > expHigh {
		x = expHigh
	}
	if x < expLow {
		x = expLow
	}
	t := FMA(x, log2E, toInt)
	n := t - toInt
	r := FMA(-n, ln2Lo, FMA(-n, ln2Hi, x))

	p := FMA(exp4, r, exp3)
	p = FMA(p, r, exp2)
	p = FMA(p, r, exp1)
	p = FMA(p, r, exp0)
	p = FMA(p, float32(r*r), r) + 1

	// Two factors, because 2**n itself may be out of range.
	k := int32(math.Float32bits(t)) - int32(math.Float32bits(toInt))
	h := k >> 1
	return p * pow2(h) * pow2(k-h)
}

// pow2 returns 2**k for -126 <= k <= 127.
func pow2(k int32) float32 { return math.Float32frombits(uint32(k+127) << 23) }

// RoundToEven rounds x to the nearest integer, ties to even. |x| must be at most
// 2^22.
func RoundToEven(x float32) float32 {
	const toInt = 3 << 22 // at this magnitude float32 has no fraction bits
	return float32(x+toInt) - toInt
}
