package checkpoint

import (
	"fmt"
	"strings"
	"testing"
)

// numbered returns part n of a tensor. Its bytes are 100*n, 100*n+1, and so on.
func numbered(name string, n int, shape ...int) *Tensor {
	size := 1
	for _, dim := range shape {
		size *= dim
	}
	t := &Tensor{Name: name, File: fmt.Sprint("part ", n), DType: U8, Shape: shape}
	for i := range size {
		t.Data = append(t.Data, byte(n*100+i))
	}
	return t
}

func TestJoinTensor(t *testing.T) {
	for _, c := range []struct {
		name  string
		shape []int // of a part
		want  string
	}{
		{"layers.0.attention.wq.weight", []int{2, 2}, "[4 2] [0 1 2 3 100 101 102 103]"},
		{"layers.0.attention.wo.weight", []int{2, 2}, "[2 4] [0 1 100 101 2 3 102 103]"},
		{"layers.0.feed_forward.w2.weight", []int{1, 3}, "[1 6] [0 1 2 100 101 102]"},
		{"tok_embeddings.weight", []int{2, 2}, "[2 4] [0 1 100 101 2 3 102 103]"}, // split by columns: a part has half of 4
		{"tok_embeddings.weight", []int{1, 4}, "[2 4] [0 1 2 3 100 101 102 103]"}, // split by rows: a part has all columns
	} {
		x, err := joinTensor([]*Tensor{numbered(c.name, 0, c.shape...), numbered(c.name, 1, c.shape...)}, 4)
		if err != nil {
			t.Error(err)
		} else if got := fmt.Sprint(x.Shape, contents(x)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		a, b *Tensor
		want string
	}{
		{numbered("norm.weight", 0, 3), numbered("norm.weight", 1, 3), "differs from the first file"},
		{numbered("x", 0, 2, 2), numbered("x", 1, 2, 3), "the first file has U8 [2 2]"},
		{numbered("x", 0, 1, 1, 1), numbered("x", 0, 1, 1, 1), "want a vector or a matrix"},
		{&Tensor{Name: "x", DType: U8, Shape: []int{1<<20 + 1}}, &Tensor{Name: "x", DType: U8, Shape: []int{1<<20 + 1}}, "is out of range"},
	} {
		if _, err := joinTensor([]*Tensor{c.a, c.b}, 4); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %v: %v, want %s", c.a.Name, c.a.Shape, err, c.want)
		}
	}
}
