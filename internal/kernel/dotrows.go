package kernel

// A Float is a stored type of little-endian numbers.
type Float int

const (
	F32 Float = iota
	F16
	BF16
)

// size is the bytes of a number.
func (t Float) size() int { return [...]int{F32: 4, F16: 2, BF16: 2}[t] }

// DotRows sets dst[j] to the Dot of x and row j of stored numbers, widened, for one
// row after another of len(x) numbers each. It panics if len(x) is not a multiple of
// 16 or w is too short.
func DotRows(dst, x []float32, w []byte, t Float) {
	stride := len(x) * t.size()
	check(len(x)%width == 0 && len(w) >= len(dst)*stride, "DotRows")
	if len(x) == 0 {
		clear(dst)
		return
	}
	best.dotRows(dst, x, w, t)
}

func dotRowsPortable(dst, x []float32, w []byte, t Float) {
	stride, row := len(x)*t.size(), make([]float32, len(x))
	widen := [...]func(dst []float32, src []byte){F32: fromF32Portable, F16: fromF16Portable, BF16: fromBF16Portable}[t]
	for j := range dst {
		widen(row, w[j*stride:][:stride])
		s := dotPortable(x, row)
		dst[j] = reduce(&s)
	}
}

// A dotting covers the rows of DotRows with functions that multiply n groups of
// rows. Their strides count bytes.
type dotting struct {
	rows         int // in a group of long
	long, single [3]dotFunc
}

type dotFunc = func(c, a *float32, b *byte, ldb, n, k int)

func (d *dotting) dot(dst, x []float32, w []byte, t Float) {
	stride := len(x) * t.size()
	n := len(dst) / d.rows
	if n > 0 {
		d.long[t](&dst[0], &x[0], &w[0], stride, n, len(x))
	}
	if i := n * d.rows; i < len(dst) {
		d.single[t](&dst[i], &x[0], &w[i*stride], stride, len(dst)-i, len(x))
	}
}
