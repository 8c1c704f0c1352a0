package model

// Interleaved returns where row r is kept in files whose heads, of dim rows, are
// interleaved: rotary dimensions i and i+dim/2, which turn together, are
// neighbours there, 2i and 2i+1. A dim of 0 leaves rows in place. Halved is its
// inverse.
func Interleaved(r, dim int) int {
	if dim == 0 {
		return r
	}
	at := r % dim
	return r - at + at%(dim/2)*2 + at/(dim/2)
}

// Halved returns the row that is kept as row r where heads are interleaved.
func Halved(r, dim int) int {
	if dim == 0 {
		return r
	}
	at := r % dim
	return r - at + at/2 + at%2*(dim/2)
}
