package qtensor

import "slices"

// SameValues reports whether m and o have the same shape and values, however they
// are stored.
func (m *Matrix) SameValues(o *Matrix) bool {
	if m.Rows != o.Rows || m.Cols != o.Cols {
		return false
	}
	var read Reader
	x, y := make([]float32, m.Cols), make([]float32, m.Cols)
	for r := range m.Rows {
		read.Row(x, m, r)
		read.Row(y, o, r)
		if !slices.Equal(x, y) {
			return false
		}
	}
	return true
}
