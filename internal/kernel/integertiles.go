//go:build !purego && (amd64 || arm64)

package kernel

// A storing covers MulStored with one function for each number of bits. offset is
// added to codes that are signed bytes, d and scale are the factors of rows and of
// the position. min is nil unless the weights have minimums.
type storing [9]func(dst *float32, codes *byte, stride, blocks int, a *int8, counts *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32)

func (s *storing) stored(dst *[Lanes]float32, w *StoredRows, x *StoredInput) {
	var minScale, mins *float32
	if len(w.Mins) > 0 {
		minScale, mins = &x.Mins[0], &w.Mins[0]
	}
	s[w.Bits](&dst[0], &w.Codes[0], w.Stride, len(x.Codes)/Block, &x.Codes[0], &x.Blocks[0], len(x.Blocks), &x.Sums[0], signed(w.Bits)-w.Zero, &x.Scales[0], &w.Scales[0], minScale, mins)
}
