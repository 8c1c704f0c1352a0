//go:build !purego

package kernel

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
