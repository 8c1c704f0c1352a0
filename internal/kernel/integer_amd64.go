//go:build !purego

package kernel

// panelAVX2 is MulPanel for AVX2, in the order of panelPortable.
func panelAVX2(dst []float32, ldd int, w *IntegerPanel, x *PanelInputs, columns, from, n int) {
	segments := len(x.Columns)
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
		tile(&dst[t*ldd], ldd, &w.Codes[0], &x.Codes[at*columns], columns, &x.Columns[0], segments, &w.Scales[0], &x.Scales[at*segments], segments, mins, minScale)
		t += positions
	}
}

// interleavingAVX2 is Interleave for panelAVX2.
func interleavingAVX2(w *IntegerPanel, first int, codes []uint8, stride, n int) {
	whole := blocks(n)
	if whole > 0 {
		interleaveAVX2(&w.Codes[2*first], &codes[0], stride, whole, w.Zero)
	}
	if whole < n {
		rest := IntegerPanel{Codes: w.Codes[whole*PanelRows:], Zero: w.Zero}
		interleavePortable(&rest, first, codes[whole:], stride, n-whole)
	}
}

// A storing covers MulStored with one function for each number of bits, for a tile of
// positions. offset is added to codes that are signed bytes, d and scale are the factors
// of rows and of positions. min is nil unless the weights have minimums.
type storing [9]func(tile *float32, codes *byte, stride, blocks int, a *int8, counts *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)

func (s *storing) stored(w *StoredRows, x *StoredInputs, from, n int) {
	at := x.factor(from, 0)
	var minScale, mins *float32
	if len(w.Mins) > 0 {
		minScale, mins = &x.mins[at], &w.Mins[0]
	}
	s[w.Bits](&w.room[0], &w.Codes[0], w.Stride, x.width, &x.block(from, 0)[0], &x.blocks[0], len(x.blocks), &x.sums[at], signed(w.Bits)-w.Zero, &x.scales[at], &w.Scales[0], minScale, mins, n)
}
