package quantize

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
)

func TestPieces(t *testing.T) {
	ids := func(n int) []int {
		x := make([]int, n)
		for i := range x {
			x[i] = i
		}
		return x
	}
	for _, c := range []struct {
		n, tokens, context, bos int
		seed                    uint64
		want                    [][]int
		err                     string
	}{
		{n: 6, tokens: 100, context: 3, bos: -1, want: [][]int{{0, 1, 2}, {3, 4, 5}}},
		{n: 8, tokens: 100, context: 3, bos: 99, want: [][]int{{99, 1, 2}, {99, 4, 5}}},
		{n: 12, tokens: 5, context: 2, bos: -1, want: [][]int{{0, 1}, {6, 7}}},
		{n: 10, tokens: 6, context: 2, bos: 0, want: [][]int{{0, 1}, {0, 3}, {0, 7}}},
		{n: 12, tokens: 5, context: 2, bos: -1, seed: 1, want: [][]int{{0, 1}, {10, 11}}},
		{n: 2, tokens: 2, context: 2, bos: -1, want: [][]int{{0, 1}}},
		{n: 2, tokens: 2, context: 3, err: "the text has 2 tokens, fewer than one piece of 3"},
		{n: 0, tokens: 2, context: 3, err: "the text has 0 tokens, fewer than one piece of 3"},
		{n: 9, tokens: 2, context: 3, err: "2 tokens are fewer than one piece of 3"},
		{n: 9, tokens: -5, context: 3, err: "-5 tokens are fewer than one piece of 3"},
		{n: 9, tokens: 9, context: 1, err: fmt.Sprintf("a context of 1 tokens is out of range, want 2 to %d", model.MaxLength)},
		{n: 9, tokens: 9, context: -3, err: fmt.Sprintf("a context of -3 tokens is out of range, want 2 to %d", model.MaxLength)},
		{n: 9, tokens: 9, context: model.MaxLength + 1, err: fmt.Sprintf("a context of %d tokens is out of range, want 2 to %d", model.MaxLength+1, model.MaxLength)},
	} {
		in := ids(c.n)
		got, err := Pieces(in, c.tokens, c.context, c.bos, c.seed)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%+v: error is %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if diff := cmp.Diff(c.want, got.Texts); diff != "" {
			t.Errorf("%+v: %s", c, diff)
		}
		if got.Tokens() != len(c.want)*c.context {
			t.Errorf("%+v: %d tokens", c, got.Tokens())
		}
		if !slices.Equal(in, ids(c.n)) {
			t.Errorf("%+v: the ids were changed", c)
		}
	}
}
