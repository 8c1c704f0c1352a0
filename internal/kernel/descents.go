package kernel

import "unsafe"

// Descents is the number of scales that GridDescents tries at once: one for each level of short
// scales.
const Descents = levels

// A gridDescentsFunc is GridDescents. value has a column at least, and its length is that of the
// group.
type gridDescentsFunc func(change, codes, left *float32, value []float32, h *float32, stride int, scale, inverse *float32, bottom, top float32)

// GridDescents tries scales for a group of n columns of one row. With each scale, it gives one
// column after another the code with the least loss e H e^T, e being what the row differs from
// the values wanted, and sets change to what that adds to the loss:
//
//	code   = (value[i] + g[i] / H[i][i]) * inverse, clamped to [bottom, top] and rounded
//	step   = scale * code - value[i]
//	change = change + step * (step * H[i][i] - 2 g[i])
//	g[j]   = g[j] - step * H[i][j] for all j after i
//
// where value[i] is what the group has now, and g = e H, for all scales the same at first. Every
// operation is rounded. h has H in these rows and columns, with rows stride apart. codes[i] has
// the codes of column i, for each scale; memory is scratch. GridDescents panics if a length is
// wrong or there is no column. What it gives for a scale of 0 has no meaning.
func GridDescents(change *[Descents]float32, codes, memory [][Descents]float32, value, g, h []float32, stride int, scale, inverse *[Descents]float32, bottom, top float32) {
	n := len(value)
	check(n > 0 && len(codes) == n && len(memory) == n && len(g) == n && stride >= n && len(h) >= (n-1)*stride+n, "GridDescents")
	for i := range memory {
		for l := range memory[i] {
			memory[i][l] = g[i]
		}
	}
	best.gridDescents(&change[0], &codes[0][0], &memory[0][0], value, &h[0], stride, &scale[0], &inverse[0], bottom, top)
}

func gridDescentsPortable(change, codes, left *float32, value []float32, h *float32, stride int, scale, inverse *float32, bottom, top float32) {
	n := len(value)
	lanes := func(x *float32, n int) [][Descents]float32 {
		return unsafe.Slice((*[Descents]float32)(unsafe.Pointer(x)), n)
	}
	sums, all, rest, scales, inverses := lanes(change, 1), lanes(codes, n), lanes(left, n), lanes(scale, 1), lanes(inverse, 1)
	clear(sums)
	for i, v := range value {
		row := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(h), 4*i*stride)), n)
		for l := range Descents {
			own := rest[i][l]
			code := gridCode(v+own/row[i], 0, inverses[0][l], bottom, top)
			step := float32(scales[0][l]*code) - v
			all[i][l] = code
			sums[0][l] += float32(step * (float32(step*row[i]) - 2*own))
			for j := i + 1; j < n; j++ {
				rest[j][l] -= float32(step * row[j])
			}
		}
	}
}
