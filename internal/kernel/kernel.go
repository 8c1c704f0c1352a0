// Package kernel holds the innermost loops on plain slices of float32. It
// knows no shapes, tensors or files, and starts no goroutines.
//
// Every function has one answer: the portable Go form defines it, and the
// assembly forms match it to the bit on every machine (only the payload and
// sign of a NaN are left open). Sums therefore run in a fixed order. Element
// i of a row belongs to stripe i%16; each stripe is summed in ascending order
// from +0, the row counting as padded with zeros to a multiple of 16; then one
// tree joins the stripes:
//
//	s[i] += s[i+8]  (i < 8)
//	s[i] += s[i+4]  (i < 4)
//	s[i] += s[i+2]  (i < 2)
//	s[0] + s[1]
//
// Sixteen stripes are one 512-bit, two 256-bit or four 128-bit registers.
//
// Lengths are the caller's duty: a length that does not fit is a programmer
// error and panics.
package kernel

import "math"

// width is the number of stripes, and the block that every form works in.
const width = 16

// A stripes value holds the partial sums of a row before the tree joins them.
type stripes = [width]float32

func join(s *stripes) float32 {
	for i := range s[:8] {
		s[i] += s[i+8]
	}
	for i := range s[:4] {
		s[i] += s[i+4]
	}
	s[0] += s[2]
	s[1] += s[3]
	return s[0] + s[1]
}

// A form is one implementation of the loops. Except for gemm and mix, its
// functions take whole blocks: the length that counts is a multiple of width,
// possibly zero. The exported functions hand what is left of a row to the
// portable form, one element at a time.
type form struct {
	name string

	gemm func(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int)
	mix  func(dst, p, v []float32, ldv int)

	dot      func(a, b []float32) stripes
	dot64    func(a, b []float64) stripes64
	sum      func(x []float32) stripes
	max      func(x []float32) float32                 // -Inf for no elements, anything if there is a NaN
	expSum   func(x []float32, bias float32) stripes   // x = exp(x-bias), and its sum
	exp      func(x stripes, bias float32) stripes     // exp(x-bias), for one block
	div      func(x []float32, d float32)              // x /= d
	add      func(dst, x []float32)                    // dst += x
	scaleMul func(dst, x, weight []float32, r float32) // dst = x*r*weight
	siluMul  func(dst, gate, up []float32)
	rotate   func(x, y, cos, sin []float32) // x, y = x*cos-y*sin, y*cos+x*sin

	fromF16  func(dst []float32, src []byte)
	fromBF16 func(dst []float32, src []byte)
	fromF32  func(dst []float32, src []byte)
	split    [3]func(dst, src []uint8, shift uint, or bool)                         // 1, 2 and 4 bits; len(src) a multiple of 16
	grid     func(x, power, scale, inverse []float32, bottom, top float32) stripes  // scale and inverse of width
	affine   func(dst []float32, codes []uint8, scale, offset []float32, group int) // group is a multiple of width, all groups whole
}

// best is the form in use, the last that the processor can run.
var best = forms[len(forms)-1]

func check(ok bool, what string) {
	if !ok {
		panic("kernel: lengths do not fit: " + what)
	}
}

// Padded returns the multiple of 16, the k of Gemm, that is next to n from above.
func Padded(n int) int { return (n + width - 1) &^ (width - 1) }

// blocks returns the part of n that is whole blocks.
func blocks(n int) int { return n &^ (width - 1) }

// Dot returns the sum of a[i]*b[i], each product fused with its addition,
// summed as the package comment says. The last block is padded, so that its
// missing elements add +0*+0. It panics unless a and b are equally long.
func Dot(a, b []float32) float32 {
	check(len(a) == len(b), "Dot")
	n := blocks(len(a))
	s := best.dot(a[:n], b[:n])
	if n < len(a) {
		var ta, tb stripes
		copy(ta[:], a[n:])
		copy(tb[:], b[n:])
		for i := range s {
			s[i] = FMA(ta[i], tb[i], s[i])
		}
	}
	return join(&s)
}

// Gemm multiplies a [m, k] by the transpose of b [n, k] into c [m, n]:
//
//	c[i*ldc+j] = Dot(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])
//
// to the bit, whatever m and n are. k must be a multiple of 16 (pad the rows
// with zeros); c must not overlap a or b. Gemm panics unless k is that, and
// unless the rows fit the slices.
func Gemm(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int) {
	if m <= 0 || n <= 0 {
		return
	}
	check(k >= 0 && k%width == 0, "Gemm: k is not a multiple of 16")
	check(lda >= 0 && len(a) >= (m-1)*lda+k, "Gemm: a")
	check(ldb >= 0 && len(b) >= (n-1)*ldb+k, "Gemm: b")
	check((ldc >= n || m == 1) && len(c) >= (m-1)*ldc+n, "Gemm: c")
	if k == 0 {
		for i := range m {
			clear(c[i*ldc : i*ldc+n])
		}
		return
	}
	best.gemm(c, ldc, a, lda, b, ldb, m, n, k)
}

// Candidates is how many scales GridErrors tries at once.
const Candidates = width

// GridErrors returns for each of the candidate scales the weighted squared error of
// rounding x to its grid,
//
//	sum over i of power[i] * (x[i] - scale*q)², q = x[i]*inverse to the nearest integer, within [bottom, top]
//
// in ascending i, half going to even and every operation rounded. bottom and top are at
// most 2^22 in size. A candidate with scale and inverse 0 has the error of zeros. It
// panics unless x and power are equally long.
func GridErrors(x, power []float32, scale, inverse *[Candidates]float32, bottom, top float32) [Candidates]float32 {
	check(len(power) == len(x), "GridErrors")
	return best.grid(x, power, scale[:], inverse[:], bottom, top)
}

// Mix sets dst[d] to the sum over t of p[t]*v[t*ldv+d], a chain of fused
// multiply-adds in ascending t from +0: attention's weighted sum of values.
// It panics unless each row of v holds len(dst) elements.
func Mix(dst, p, v []float32, ldv int) {
	if len(dst) == 0 {
		return
	}
	if len(p) == 0 {
		clear(dst)
		return
	}
	check(ldv >= 0 && len(v) >= (len(p)-1)*ldv+len(dst), "Mix")
	best.mix(dst, p, v, ldv)
}

// Sum returns the sum of x, summed as the package comment says.
func Sum(x []float32) float32 {
	n := blocks(len(x))
	s := best.sum(x[:n])
	for i, v := range x[n:] {
		s[i] += v
	}
	return join(&s)
}

// Add adds x to dst. It panics unless they are equally long.
func Add(dst, x []float32) {
	check(len(dst) == len(x), "Add")
	n := blocks(len(x))
	best.add(dst[:n], x[:n])
	addPortable(dst[n:], x[n:])
}

// Mul multiplies dst by x. It panics unless they are equally long.
func Mul(dst, x []float32) {
	check(len(dst) == len(x), "Mul")
	n := blocks(len(x))
	best.scaleMul(dst[:n], dst[:n], x[:n], 1) // times one, which is exact
	scaleMulPortable(dst[n:], dst[n:], x[n:], 1)
}

// RMSNorm sets dst to x divided by its root mean square, times weight, in the
// order of Hugging Face's LlamaRMSNorm: with
//
//	r = float32(1 / sqrt(Dot(x, x)/len(x) + eps))
//
// where all but the last rounding is in float64, dst[i] is x[i]*r rounded,
// times weight[i], rounded. dst may be x. It panics unless all are equally
// long.
func RMSNorm(dst, x, weight []float32, eps float32) {
	check(len(dst) == len(x) && len(weight) == len(x), "RMSNorm")
	r := float32(1 / math.Sqrt(float64(Dot(x, x))/float64(len(x))+float64(eps)))
	n := blocks(len(x))
	best.scaleMul(dst[:n], x[:n], weight[:n], r)
	scaleMulPortable(dst[n:], x[n:], weight[n:], r)
}

// LayerNorm sets dst to x less its mean, divided by its standard deviation,
// times weight, plus bias (arXiv 1607.06450, equation 4). The mean is
// Sum(x)/len(x), rounded; the rest is RMSNorm of the differences. dst may be x. It
// panics unless all are equally long.
func LayerNorm(dst, x, weight, bias []float32, eps float32) {
	check(len(dst) == len(x), "LayerNorm")
	mean := float32(float64(Sum(x)) / float64(len(x)))
	for i, v := range x {
		dst[i] = v - mean
	}
	RMSNorm(dst, dst, weight, eps)
	Add(dst, bias)
}

// Softmax replaces x by its softmax: the maximum is subtracted, Exp applied,
// and each result divided by their Sum. An entry of -Inf becomes 0. As in
// PyTorch, x becomes NaN throughout if an entry is NaN or +Inf, or if all are
// -Inf.
func Softmax(x []float32) {
	n := blocks(len(x))
	body, tail := x[:n], x[n:]
	bias := max(best.max(body), maxPortable(tail))
	s := best.expSum(body, bias)
	if len(tail) > 0 {
		t := stripes{}
		for i := range t {
			t[i] = float32(math.Inf(-1)) // exp is 0
		}
		copy(t[:], tail)
		t = best.exp(t, bias)
		copy(tail, t[:])
		for i, v := range t {
			s[i] += v
		}
	}
	d := join(&s)
	best.div(body, d)
	divPortable(tail, d)
}

// SiLUMul sets dst to silu(gate)*up, where silu(g) = g/(1+Exp(-g)). Each
// operation is rounded. dst may be gate or up. It panics unless all are
// equally long.
func SiLUMul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "SiLUMul")
	n := blocks(len(gate))
	best.siluMul(dst[:n], gate[:n], up[:n])
	siluMulPortable(dst[n:], gate[n:], up[n:])
}

// GELUMul sets dst to gelu(gate)*up, where gelu is its approximation by tanh
// (arXiv 1606.08415, section 2) in the form without one:
//
//	gelu(g) = g/2 * (1+tanh(u)) = g/(1+Exp(-2u)), 2u = g*(gelu0 + gelu1*g²)
//
// The sum is fused, every other operation rounded. dst may be gate or up. It
// panics unless all are equally long.
func GELUMul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "GELUMul")
	for i, g := range gate {
		u := g * FMA(gelu1, float32(g*g), gelu0)
		dst[i] = g / (1 + float32(Exp(-u))) * up[i]
	}
}

// The constants of GELUMul: 2*sqrt(2/pi), and 0.044715 times that.
const (
	gelu0 = 1.5957691216057308
	gelu1 = 0.07135481627260025
)

// RotatePairs is Rotate where neighbours are the two coordinates:
//
//	x[2i], x[2i+1] = x[2i]*cos[i] - x[2i+1]*sin[i], x[2i+1]*cos[i] + x[2i]*sin[i]
func RotatePairs(x, cos, sin []float32) {
	check(len(x) == 2*len(cos) && len(sin) == len(cos), "RotatePairs")
	for i, c := range cos {
		s, u, v := sin[i], x[2*i], x[2*i+1]
		x[2*i] = float32(u*c) - float32(v*s)
		x[2*i+1] = float32(v*c) + float32(u*s)
	}
}

// Rotate applies a rotary embedding to one head x of 2h elements, whose
// halves are the two coordinates:
//
//	x[i], x[i+h] = x[i]*cos[i] - x[i+h]*sin[i], x[i+h]*cos[i] + x[i]*sin[i]
//
// Each operation is rounded. It panics unless cos and sin hold h elements.
func Rotate(x, cos, sin []float32) {
	h := len(cos)
	check(len(x) == 2*h && len(sin) == h, "Rotate")
	x, y := x[:h], x[h:]
	n := blocks(h)
	best.rotate(x[:n], y[:n], cos[:n], sin[:n])
	rotatePortable(x[n:], y[n:], cos[n:], sin[n:])
}
