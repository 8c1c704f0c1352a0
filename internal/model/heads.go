package model

// Interleave returns the position of row r in files that interleave the rows of
// each head. A head has dim rows; rows i and i+dim/2, which rotary embedding rotates
// as a pair, are adjacent there, at 2i and 2i+1. If dim is 0, rows keep their
// position. HalfSplit is the inverse.
func Interleave(r, dim int) int {
	if dim == 0 {
		return r
	}
	at := r % dim
	return r - at + at%(dim/2)*2 + at/(dim/2)
}

// HalfSplit returns the row that interleaved files store at position r. Interleave is
// the inverse.
func HalfSplit(r, dim int) int {
	if dim == 0 {
		return r
	}
	at := r % dim
	return r - at + at/2 + at%2*(dim/2)
}
