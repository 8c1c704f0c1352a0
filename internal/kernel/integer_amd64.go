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

func roundGroupsOfAVX2(x *StoredInputs, t int, values []float32) {
	_, n := x.around(t)
	i := x.factor(t, 0)
	roundGroupsAVX2(&x.block(t, 0)[0], n*Block, &values[0], &x.columns[0], len(x.columns), x.order == Split, &x.sums[i], &x.scales[i], &x.mins[i], n)
}
