//go:build !purego

package kernel

// A panelling covers MulPanel with functions for one and for four positions. They
// add the panel's codes to sums, which are sums of activations, times offset.
type panelling struct {
	one, four func(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)
}

// panel reads codes less 128 as signed bytes.
func (p panelling) panel(dst []float32, ldd int, w *IntegerPanel, x *PanelInputs, columns, from, n int) {
	segments := len(x.Columns)
	for t := 0; t < n; {
		tile, positions := p.one, 1
		if n-t >= 4 {
			tile, positions = p.four, 4
		}
		at := from + t
		var minScale, mins *float32
		if len(w.Mins) > 0 {
			minScale, mins = &x.Mins[at*segments], &w.Mins[0]
		}
		tile(&dst[t*ldd], ldd, &w.Codes[0], &x.Codes[at*columns], columns, &x.Columns[0], segments, &x.Sums[at*segments], 128-w.Zero, &w.Scales[0], &x.Scales[at*segments], segments, mins, minScale)
		t += positions
	}
}

// An interleaving covers Interleave with a function that writes codes less 128, as
// signed bytes in the shape (columns/group, PanelRows, group).
type interleaving struct {
	rows  func(panel *int16, codes *byte, stride, n int)
	group int
}

func (i interleaving) interleave(w *IntegerPanel, first int, codes []uint8, stride, n int) {
	i.rows(&w.Codes[first*i.group/2], &codes[0], stride, n)
}
