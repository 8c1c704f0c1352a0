package kernel

// vectorSegments is the least number of segments that MulVector takes.
const vectorSegments = 8

// MulVector computes the products of rows of w and the only position of x, with the bits of
// MulStored. w.Codes are any number of rows, whose scales and minimums are little-endian
// float16 numbers, (rows, segments); mins is empty if there are none. It writes the product of
// row r to dst[r], for a multiple of StoredLanes rows, and returns how many: none if
// this processor has no faster way than MulStored. w.Scales and, with mins, w.Mins are memory
// for (segments, StoredLanes) factors.
func MulVector(dst []float32, w *StoredRows, scales, mins []byte, x *StoredInputs) int {
	segments, lanes := len(x.columns), best.storedLanes
	rows := len(dst) / lanes * lanes
	if best.vector == nil || x.halves || x.positions != 1 || segments < vectorSegments || rows == 0 {
		return 0
	}
	check(w.Bits >= 2 && w.Bits <= 8 && StoredOrder(w.Bits) == x.order, "MulVector: bits")
	check(w.Stride >= 0 && len(w.Codes) >= (rows-1)*w.Stride+x.width*Block*w.Bits/8, "MulVector: codes")
	check(len(scales) >= 2*rows*segments && len(w.Scales) >= segments*lanes, "MulVector: scales")
	check(len(mins) == 0 || len(mins) >= 2*rows*segments && len(w.Mins) >= segments*lanes, "MulVector: minimums")
	best.vector(dst, rows/lanes, w, scales, mins, x)
	return rows
}
