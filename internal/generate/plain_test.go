package generate

import (
	"math"
	"runtime/debug"
	"slices"
	"testing"

	"thimble/format"
	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A model in llama.cpp's blocks gives the same logits after Plain, which copies its matrices, to
// the bit: K-quants, whose scales become float32 numbers. A limit of memory without room for
// the copies leaves them in the file.
func TestPlain(t *testing.T) {
	m, err := format.Open("../../fixtures/gguf/trained-q4_k_m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	plain, err := Plain(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range plain.Tensors {
		if !w.Plain() {
			t.Errorf("%s is not plain", name)
		}
	}
	for _, a := range []transformer.Arithmetic{{}, {Activations: transformer.Activations{Int8: true}}} {
		var logits [2][]float32
		for i, m := range []*model.Model{m, plain} {
			g, err := New(m, a)
			if err != nil {
				t.Fatal(err)
			}
			for _, ids := range [][]int{{1, 2, 3, 4, 5}, {1, 2, 3, 4, 5, 6}} { // a prompt, and one more token
				row, err := g.Logits(t.Context(), ids)
				if err != nil {
					t.Fatal(err)
				}
				logits[i] = append(logits[i], row...)
			}
		}
		if !slices.EqualFunc(logits[0], logits[1], func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }) {
			t.Errorf("int8 %v: logits differ", a.Activations.Int8)
		}
	}

	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1))
	if same, err := Plain(t.Context(), m); err != nil || same != m {
		t.Errorf("under a limit of 1 byte: %v, %v", same == m, err)
	}
}
