//go:build !purego

package kernel

// storedAVX2 is MulStored for AVX2.
func storedAVX2(dst *[Lanes]float32, w *StoredRows, x *StoredInput) {
	rows := [...]func(dst *float32, codes *byte, stride, blocks int, a *int8, counts *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32){
		2: integerRows2AVX2, 3: integerRows3AVX2, 4: integerRows4AVX2, 5: integerRows5AVX2,
		6: integerRows6AVX2, 7: integerRows7AVX2, 8: integerRows8AVX2,
	}[w.Bits]
	var minScale, mins *float32
	if len(w.Mins) > 0 {
		minScale, mins = &x.Mins[0], &w.Mins[0]
	}
	rows(&dst[0], &w.Codes[0], w.Stride, len(x.Codes)/Block, &x.Codes[0], &x.Blocks[0], len(x.Blocks), &x.Sums[0], signed(w.Bits)-w.Zero, &x.Scales[0], &w.Scales[0], minScale, mins)
}

// panelAVX2 is MulPanel for AVX2.
func panelAVX2(dst []float32, ldd int, w *IntegerPanel, x *PanelInputs, columns, from, n int) {
	segments := len(x.Pairs)
	for t := 0; t < n; {
		tile, positions := integerTile1AVX2, 1
		if n-t >= 4 {
			tile, positions = integerTile4AVX2, 4
		}
		at := from + t
		var minScale, mins *float32
		if len(w.Mins) > 0 {
			minScale, mins = &x.Mins[at*segments], &w.Mins[0]
		}
		tile(&dst[t*ldd], ldd, &w.Codes[0], &x.Codes[at*columns], columns, &x.Pairs[0], segments, &w.Scales[0], &x.Scales[at*segments], segments, mins, minScale)
		t += positions
	}
}
