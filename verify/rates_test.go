package verify

import "testing"

func TestLeastRate(t *testing.T) {
	for recipe, want := range map[string]int{
		"":                           8,
		"scheme: int4/g32/sym\n":     8,
		"scheme: int8/row/sym@4.5\n": 4,
		"scheme: int8/row/sym@6\nset:\n- tensors: blocks.0.q\n  scheme: int8/row/sym@1.5\n": 2,
	} {
		if got := leastRate(recipe); got != want {
			t.Errorf("%q: %d bits, want %d", recipe, got, want)
		}
	}
}
