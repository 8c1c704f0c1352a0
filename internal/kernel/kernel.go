// Package kernel holds the innermost loops, which work on plain slices of
// numbers. It has no notion of tensors or files and starts no goroutines.
//
// Every function has exactly one result. The portable Go form defines it, and
// the assembly forms match it bit for bit on every machine, except that the
// payload and sign of a NaN are unspecified. Sums therefore run in a fixed
// order. A row is padded with zeros to a multiple of 16, and element i belongs
// to stripe i%16. Each stripe is summed in ascending order from +0; then a tree
// reduces the stripes to one number:
//
//	s[i] += s[i+8]  (i < 8)
//	s[i] += s[i+4]  (i < 4)
//	s[i] += s[i+2]  (i < 2)
//	s[0] + s[1]
//
// Sixteen stripes are one 512-bit, two 256-bit or four 128-bit registers.
//
// Callers must pass slices of matching lengths. A mismatch is a programming
// error, so it panics.
package kernel

import "math"

// width is the number of stripes, and the number of elements in the blocks that
// every form works on.
const width = 16

// stripes holds the partial sums of a row before the tree reduces them.
type stripes = [width]float32

// reduce adds up the stripes by the tree in the package comment. It overwrites s.
func reduce(s *stripes) float32 {
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

// A form is one implementation of the loops. All its functions except gemm and
// mix take whole blocks: the number of elements is a multiple of width, possibly
// zero. The exported functions process the rest of a row with the portable form.
type form struct {
	name string

	gemm    func(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int)
	packing *packing // for large products, or nil
	mix     func(dst, p, v []float32, ldv int)
	// mixRows is MixRows for mixedRows rows, a multiple of width columns, and n > 0; or nil.
	mixRows func(dst []float32, ldd int, p []float32, ldp, n int, v []float32, ldv, cols int)

	dot      func(a, b []float32) stripes
	dot64    func(a, b []float64) stripes64
	exps64   func(dst []float64, x []float32, bias float64)
	compare  func(p, q []float32, e []float64, s *comparedStripes)
	sum      func(x []float32) stripes
	max      func(x []float32) float32                 // -Inf if x is empty, unspecified if it has a NaN
	expSum   func(x []float32, bias float32) stripes   // x = exp(x-bias); returns the sums of x
	exp      func(x stripes, bias float32) stripes     // exp(x-bias), for one block
	div      func(x []float32, d float32)              // x /= d
	add      func(dst, x []float32)                    // dst += x
	scaleMul func(dst, x, weight []float32, r float32) // dst = x*r*weight
	siluMul  func(dst, gate, up []float32)
	rotate   func(x, y, cos, sin []float32) // x, y = x*cos-y*sin, y*cos+x*sin

	fromF16  func(dst []float32, src []byte)
	fromBF16 func(dst []float32, src []byte)
	fromF32  func(dst []float32, src []byte)

	// split is Unpack for 1, 2 and 4 bits. len(src) is a multiple of 16.
	split [3]func(dst, src []uint8, shift uint, or bool)
	// gridScales, gridErrors16, gridErrors24 and gridCodes are the functions of grid.go. gridCodes takes a
	// multiple of Block elements, and bounds a positive multiple of width.
	gridScales                 func(scale, inverse, divisor *[Candidates]float32, most float32)
	gridErrors16, gridErrors24 gridErrorsFunc
	gridDescents               gridDescentsFunc
	gridCodes                  func(dst []uint8, x []float32, low, inverse, bottom, top float32, zero int32)
	bounds                     func(x []float32) (lo, hi float32)
	// rangeErrors and rangeSums are the functions of ranges.go.
	rangeErrors func(errors *[Ranges]float32, x, power []float32, step, low, inverse *[Ranges]float32, top float32)
	rangeSums   func(sums *[5][Ranges]float32, x, power []float32, low, inverse *[Ranges]float32, top float32)
	// affine is Affine. group is a multiple of width, and every group is whole.
	affine func(dst []float32, codes []uint8, scale, offset []float32, group int)
	// dotRows is DotRows, with len(x) > 0.
	dotRows func(dst, x []float32, w []byte, t Float)
	// stored is MulStored for the n positions of the tile at from, with at least one
	// segment. It writes storedLanes outputs of each to the aligned memory in w. storedTile is
	// the number of positions in a tile. storedMost is that up to which MulStored is faster
	// than MulPanel, for codes of fewer than 8 bits and of 8.
	stored                  func(w *StoredRows, x *StoredInputs, from, n int)
	storedLanes, storedTile int
	storedMost, storedMost8 int
	// vector is MulVector for sets of storedLanes rows, at least one, or nil.
	vector func(dst []float32, sets int, w *StoredRows, scales, mins Factors, x *StoredInputs)
	// prefetch fetches what is at dst and n-1 times ldd elements further to the first cache, or
	// is nil. Each position has outputs in another line, which would wait for memory.
	prefetch func(dst *float32, ldd, n int)
	// panel is MulPanel with at least one segment. The rows of x have the given columns.
	panel func(dst []float32, ldd int, w *IntegerPanel, x *PanelInputs, columns, from, n int)
	// interleave is Interleave, with at least one column, into the order that panel reads.
	interleave func(w *IntegerPanel, first int, codes []uint8, stride, n int)
	// transposeF16 is TransposeF16 of storedLanes rows for a multiple of 8 numbers in a row.
	transposeF16 func(dst *float32, ldd int, src *byte, stride, n int)
	// transposeShort is TransposeShort of storedLanes rows for a multiple of 8 groups, at least
	// 8, or nil. The last four bytes of the first row are at last.
	transposeShort func(dst *float32, ldd int, src, last *byte, stride, n int, table *float32)
	maxAbs         func(x []float32) stripes
	// round8 and round16 take multiples of Block elements.
	round8  func(dst []int8, x []float32, inverse float32, split bool) int32
	round16 func(dst []int16, x []float32, inverse float32, split bool) int32
	// roundGroups is RoundGroups for at least one element; nil to use maxAbs and round8.
	roundGroups func(x *StoredInputs, t int, values []float32)
	// states is RowSlots.Decode for at least States elements and groupBytes of data. It decodes
	// groups of States elements for as long as there are so many, and counts them.
	states func(dst []uint8, slots []Slot, first []uint32, state *[States]uint32, data []byte) (groups, read int)
}

// best is the form in use: the fastest that the processor can run.
var best = forms[len(forms)-1]

func check(ok bool, what string) {
	if !ok {
		panic("kernel: lengths do not fit: " + what)
	}
}

// Padded rounds n up to a multiple of 16, as Gemm requires of k.
func Padded(n int) int { return (n + width - 1) &^ (width - 1) }

// blocks rounds n down to whole blocks.
func blocks(n int) int { return n &^ (width - 1) }

// Dot returns the sum of a[i]*b[i] in the order of the package comment, each
// product fused with its addition. The last block is padded: its missing
// elements add +0*+0. Dot panics unless a and b have the same length.
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
	return reduce(&s)
}

// Gemm multiplies a [m, k] by the transpose of b [n, k] into c [m, n]:
//
//	c[i*ldc+j] = Dot(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])
//
// to the bit, for any m and n. k must be a multiple of 16 (pad the rows with
// zeros), and c must not overlap a or b. Gemm panics if k is not a multiple of
// 16 or a slice is too short for its rows.
func Gemm(c []float32, ldc int, a []float32, lda int, b []float32, ldb int, m, n, k int) {
	if m <= 0 || n <= 0 {
		return
	}
	checkLeft(a, lda, m, k)
	checkProduct(c, ldc, b, ldb, m, n, k)
	if k == 0 {
		for i := range m {
			clear(c[i*ldc : i*ldc+n])
		}
		return
	}
	if best.packing.pays(m, n, k) {
		best.packing.gemm(c, ldc, a, lda, b, ldb, m, n, k)
		return
	}
	best.gemm(c, ldc, a, lda, b, ldb, m, n, k)
}

func checkLeft(a []float32, lda, m, k int) {
	check(k >= 0 && k%width == 0, "Gemm: k is not a multiple of 16")
	check(lda >= 0 && len(a) >= (m-1)*lda+k, "Gemm: a")
}

func checkProduct(c []float32, ldc int, b []float32, ldb, m, n, k int) {
	check(ldb >= 0 && len(b) >= (n-1)*ldb+k, "Gemm: b")
	check((ldc >= n || m == 1) && len(c) >= (m-1)*ldc+n, "Gemm: c")
}

// Mix computes attention's weighted sum of values. It sets dst[d] to the sum
// over t of p[t]*v[t*ldv+d], a chain of fused multiply-adds in ascending t from
// +0. It panics unless v holds len(p) rows of len(dst) elements.
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

// mixedRows is the number of rows that a form of MixRows takes at once.
const mixedRows = 4

// MixRows is Mix for m rows of weights, of which each has one more than the row before, as
// causal attention has: row i of dst, cols elements from i*ldd on, becomes the weighted sum
// of n+i rows of v, whose weights begin at p[i*ldp].
func MixRows(dst []float32, ldd int, p []float32, ldp, m, n int, v []float32, ldv, cols int) {
	if m <= 0 {
		return
	}
	check(n >= 0 && cols >= 0 && ldd >= 0 && len(dst) >= (m-1)*ldd+cols, "MixRows: dst")
	check(ldp >= 0 && len(p) >= (m-1)*ldp+n+m-1, "MixRows: p")
	check(ldv >= cols && len(v) >= (n+m-2)*ldv+cols, "MixRows: v")
	i := 0
	if best.mixRows != nil && cols%width == 0 && n > 0 {
		for ; i+mixedRows <= m; i += mixedRows {
			best.mixRows(dst[i*ldd:], ldd, p[i*ldp:], ldp, n+i, v, ldv, cols)
		}
	}
	for ; i < m; i++ {
		Mix(dst[i*ldd:][:cols], p[i*ldp:][:n+i], v, ldv)
	}
}

// Sum returns the sum of x in the order of the package comment.
func Sum(x []float32) float32 {
	n := blocks(len(x))
	s := best.sum(x[:n])
	for i, v := range x[n:] {
		s[i] += v
	}
	return reduce(&s)
}

// Add adds x to dst. It panics unless they have the same length.
func Add(dst, x []float32) {
	check(len(dst) == len(x), "Add")
	n := blocks(len(x))
	best.add(dst[:n], x[:n])
	addPortable(dst[n:], x[n:])
}

// Mul multiplies dst by x. It panics unless they have the same length.
func Mul(dst, x []float32) {
	check(len(dst) == len(x), "Mul")
	n := blocks(len(x))
	best.scaleMul(dst[:n], dst[:n], x[:n], 1) // multiplying by 1 is exact
	scaleMulPortable(dst[n:], dst[n:], x[n:], 1)
}

// RMSNorm sets dst to x divided by its root mean square, times weight. It
// follows the order of Hugging Face's LlamaRMSNorm:
//
//	r = float32(1 / sqrt(Dot(x, x)/len(x) + eps))
//	dst[i] = float32(x[i]*r) * weight[i]
//
// The expression inside the first conversion is evaluated in float64. dst may
// be x. RMSNorm panics unless all slices have the same length.
func RMSNorm(dst, x, weight []float32, eps float32) {
	check(len(dst) == len(x) && len(weight) == len(x), "RMSNorm")
	r := float32(1 / math.Sqrt(float64(Dot(x, x))/float64(len(x))+float64(eps)))
	n := blocks(len(x))
	best.scaleMul(dst[:n], x[:n], weight[:n], r)
	scaleMulPortable(dst[n:], x[n:], weight[n:], r)
}

// LayerNorm sets dst to (x - mean) / standard deviation * weight + bias (arXiv
// 1607.06450, equation 4). It computes the mean as Sum(x)/len(x) in float64,
// rounds it to float32, and applies RMSNorm to the differences. dst may be x.
// bias may be nil. LayerNorm panics unless all other slices have the same length.
func LayerNorm(dst, x, weight, bias []float32, eps float32) {
	check(len(dst) == len(x), "LayerNorm")
	mean := float32(float64(Sum(x)) / float64(len(x)))
	for i, v := range x {
		dst[i] = v - mean
	}
	RMSNorm(dst, dst, weight, eps)
	if bias != nil {
		Add(dst, bias)
	}
}

// Softmax replaces x by its softmax: it subtracts the maximum, applies Exp, and
// divides each result by their Sum. An entry of -Inf becomes 0. As in PyTorch,
// every entry becomes NaN if one is NaN or +Inf, or if all are -Inf.
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
	d := reduce(&s)
	best.div(body, d)
	divPortable(tail, d)
}

// SiLUMul sets dst to silu(gate)*up, where silu(g) = g/(1+Exp(-g)). Each
// operation is rounded. dst may be gate or up. SiLUMul panics unless all slices
// have the same length.
func SiLUMul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "SiLUMul")
	n := blocks(len(gate))
	best.siluMul(dst[:n], gate[:n], up[:n])
	siluMulPortable(dst[n:], gate[n:], up[n:])
}

// GELUMul sets dst to gelu(gate)*up, where gelu is the tanh approximation
// (arXiv 1606.08415, section 2), rewritten with Exp:
//
//	gelu(g) = g/2 * (1+tanh(u)) = g/(1+Exp(-2u)), 2u = g*(gelu0 + gelu1*g²)
//
// The sum in parentheses is fused; every other operation is rounded. dst may be
// gate or up. GELUMul panics unless all slices have the same length.
func GELUMul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "GELUMul")
	for i, g := range gate {
		u := g * FMA(gelu1, float32(g*g), gelu0)
		dst[i] = g / (1 + float32(Exp(-u))) * up[i]
	}
}

// The constants of GELUMul: gelu0 is 2*sqrt(2/pi), gelu1 is 0.044715*gelu0.
const (
	gelu0 = 1.5957691216057308
	gelu1 = 0.07135481627260025
)

// ReLU2Mul sets dst to max(gate, 0)²*up (arXiv 2109.08668). Each operation is rounded.
// dst may be gate or up. ReLU2Mul panics unless all slices have the same length.
func ReLU2Mul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "ReLU2Mul")
	for i, g := range gate {
		if g < 0 {
			g = 0
		}
		dst[i] = float32(g*g) * up[i]
	}
}

// Softcap replaces each element by limit*tanh(x/limit) (Gemma 2, arXiv 2408.00118,
// section 2), with tanh(u) = (1-e)/(1+e) for e = Exp(-2|u|). Each operation is rounded.
func Softcap(x []float32, limit float32) {
	for i, v := range x {
		u := v / limit
		e := Exp(-2 * float32(math.Abs(float64(u))))
		t := (1 - e) / (1 + e)
		x[i] = limit * float32(math.Copysign(float64(t), float64(u)))
	}
}

// RotatePairs is Rotate for heads that interleave the two coordinates, so that
// each pair is adjacent:
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

// Rotate applies a rotary embedding to one head x of 2h elements. The first half
// of x holds the first coordinate of each pair, the second half the second:
//
//	x[i], x[i+h] = x[i]*cos[i] - x[i+h]*sin[i], x[i+h]*cos[i] + x[i]*sin[i]
//
// Each operation is rounded. Rotate panics unless cos and sin hold h elements.
func Rotate(x, cos, sin []float32) {
	h := len(cos)
	check(len(x) == 2*h && len(sin) == h, "Rotate")
	x, y := x[:h], x[h:]
	n := blocks(h)
	best.rotate(x[:n], y[:n], cos[:n], sin[:n])
	rotatePortable(x[n:], y[n:], cos[n:], sin[n:])
}
