//go:build !purego

package kernel

import "unsafe"

// integersAVX2 is MulIntegers for AVX2.
func integersAVX2(dst *[Lanes]float32, w *IntegerWeights, x *IntegerInput) {
	rows := [...]func(dst *float32, codes *byte, stride, blocks int, a *int8, counts *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32){
		Bytes: integerRows0AVX2, 2: integerRows2AVX2, 3: integerRows3AVX2, 4: integerRows4AVX2,
		5: integerRows5AVX2, 6: integerRows6AVX2, 7: integerRows7AVX2, Bytes8: integerRows8AVX2,
	}[w.Packing]
	var minScale, mins *float32
	if len(w.Mins) > 0 {
		minScale, mins = &x.Mins[0], &w.Mins[0]
	}
	rows(&dst[0], unsafe.SliceData(w.Codes), w.Stride, len(x.Codes)/Block, &x.Codes[0], &x.Blocks[0], len(x.Blocks), &x.Sums[0], w.Packing.offset()-w.Zero, &x.Scales[0], &w.Scales[0], minScale, mins)
}
