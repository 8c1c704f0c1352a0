package vocab

import (
	"slices"
	"testing"
)

func TestDistinct(t *testing.T) {
	merges := []uint32{1, 2, 3, 4, 1, 2, 2, 1, 3, 4}
	if got := Distinct(slices.Clone(merges), false); !slices.Equal(got, []uint32{1, 2, 3, 4, 2, 1}) {
		t.Errorf("the first: %v", got)
	}
	if got := Distinct(slices.Clone(merges), true); !slices.Equal(got, []uint32{1, 2, 2, 1, 3, 4}) {
		t.Errorf("the last: %v", got)
	}
	if got := Distinct(nil, true); len(got) != 0 {
		t.Errorf("none: %v", got)
	}
}
