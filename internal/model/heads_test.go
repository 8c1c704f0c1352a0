package model

import "testing"

func TestInterleave(t *testing.T) {
	for _, dim := range []int{2, 6, 64} {
		for h := range 3 {
			for j := range 2 {
				for i := range dim / 2 {
					ours, theirs := h*dim+j*dim/2+i, h*dim+2*i+j
					if r := Interleave(ours, dim); r != theirs {
						t.Errorf("Interleave(%d, %d) = %d, want %d", ours, dim, r, theirs)
					}
					if r := HalfSplit(theirs, dim); r != ours {
						t.Errorf("HalfSplit(%d, %d) = %d, want %d", theirs, dim, r, ours)
					}
				}
			}
		}
	}
	if Interleave(5, 0) != 5 || HalfSplit(5, 0) != 5 {
		t.Error("rows move although dim is 0")
	}
}
