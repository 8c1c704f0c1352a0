package model

import "testing"

func TestInterleaved(t *testing.T) {
	for _, dim := range []int{2, 6, 64} {
		for h := range 3 {
			for j := range 2 {
				for i := range dim / 2 {
					ours, theirs := h*dim+j*dim/2+i, h*dim+2*i+j
					if r := Interleaved(ours, dim); r != theirs {
						t.Errorf("heads of %d: row %d is kept as %d, want %d", dim, ours, r, theirs)
					}
					if r := Halved(theirs, dim); r != ours {
						t.Errorf("heads of %d: what is kept as %d is row %d, want %d", dim, theirs, r, ours)
					}
				}
			}
		}
	}
	if Interleaved(5, 0) != 5 || Halved(5, 0) != 5 {
		t.Error("no heads change places")
	}
}
