package kernel

// vectorSegments is the least number of segments that MulVector takes.
const vectorSegments = 8

// Factors are the scales or the minimums of rows, in one of three forms. All are empty if there
// are no factors.
type Factors struct {
	F16   []byte       // little-endian float16 numbers, (rows, segments)
	F32   []float32    // sets of StoredLanes rows, each (segments, StoredLanes)
	Short []byte       // rows of short scales, see TransposeShort
	Table *[16]float32 // of Short
}

// MulVector computes the products of rows of w and the only position of x, with the bits of
// MulStored. w.Codes are any number of rows, whose scales and minimums are given apart. It
// writes the product of row r to dst[r], for a multiple of StoredLanes rows, and returns how
// many: none if this processor has no faster way than MulStored. For factors that are not F32,
// w.Scales and, with mins, w.Mins are memory for (segments, StoredLanes) numbers, where Short
// needs a multiple of eight segments. w.Zero must be at least 0 and less than 32768.
func MulVector(dst []float32, w *StoredRows, scales, mins Factors, x *StoredInputs) int {
	segments, lanes := len(x.columns), best.storedLanes
	rows := len(dst) / lanes * lanes
	if best.vector == nil || x.positions != 1 || segments < vectorSegments || rows == 0 {
		return 0
	}
	check(w.Bits >= 2 && w.Bits <= 8 && StoredOrder(w.Bits) == x.order && w.Zero >= 0 && w.Zero < 1<<15, "MulVector: bits")
	check(w.Stride >= 0 && len(w.Codes) >= (rows-1)*w.Stride+x.width*Block*w.Bits/8, "MulVector: codes")
	check(scales.serve(rows, segments, w.Scales), "MulVector: scales")
	check(mins.empty() || mins.serve(rows, segments, w.Mins), "MulVector: minimums")
	best.vector(dst, rows/lanes, w, scales, mins, x)
	return rows
}

func (f *Factors) empty() bool { return len(f.F16) == 0 && len(f.F32) == 0 && len(f.Short) == 0 }

// serve reports whether f and room suffice for the given rows and segments.
func (f *Factors) serve(rows, segments int, room []float32) bool {
	switch {
	case len(f.F32) > 0:
		return len(f.F32) >= rows*segments
	case len(f.Short) > 0:
		return f.Table != nil && len(f.Short) >= rows*ShortBytes(segments) && len(room) >= (segments+7)/8*8*best.storedLanes
	}
	return len(f.F16) >= 2*rows*segments && len(room) >= segments*best.storedLanes
}

// ShortBytes returns the bytes of a row of n short scales, a multiple of 4.
func ShortBytes(n int) int { return ((n+1)/2 + 2 + 3) / 4 * 4 }

// TransposeShort writes short scales of StoredLanes rows, which begin stride bytes apart, as
// TransposeF16 does float16 numbers. A row has n codes of 4 bits, of which the first is in the
// low half of byte 0. Zeros follow, and a little-endian float16 factor in the last two of
// ShortBytes(n) bytes. The scale is the factor times the number that table has for the code, as
// float32 numbers.
func TransposeShort(dst []float32, ldd int, src []byte, stride, n int, table *[16]float32) {
	if n == 0 {
		return
	}
	lanes, bytes := best.storedLanes, ShortBytes(n)
	check(ldd >= 0 && len(dst) >= (n-1)*ldd+lanes, "TransposeShort: dst")
	check(stride >= 0 && len(src) >= (lanes-1)*stride+bytes, "TransposeShort: src")
	whole := 0
	if best.transposeShort != nil {
		if whole = n / 8 * 8; whole > 0 {
			best.transposeShort(&dst[0], ldd, &src[0], &src[bytes-4], stride, whole, &table[0])
		}
	}
	for r := 0; r < lanes && whole < n; r++ {
		fromShort(dst[r:], ldd, src[r*stride:][:bytes], whole, n, table)
	}
}

// FromShort widens a row of short scales; see TransposeShort. It panics unless src has
// ShortBytes(len(dst)) bytes.
func FromShort(dst []float32, src []byte, table *[16]float32) {
	check(len(dst) == 0 || len(src) == ShortBytes(len(dst)), "FromShort")
	fromShort(dst, 1, src, 0, len(dst), table)
}

// fromShort writes the scales of groups [from, to) of a row to dst[k*step].
func fromShort(dst []float32, step int, row []byte, from, to int, table *[16]float32) {
	if from == to {
		return
	}
	var factor [1]float32
	fromF16Portable(factor[:], row[len(row)-2:])
	for k := from; k < to; k++ {
		dst[k*step] = factor[0] * table[row[k/2]>>(k%2*4)&15]
	}
}
