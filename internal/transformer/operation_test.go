package transformer_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A Trace that runs one operation at a time computes the same bits as Forward. Each
// operation reads only what it declares: a second Trace, whose other activations
// are NaN, writes the same.
func TestOperations(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every checkpoint several times")
	}
	for _, c := range checkpoints {
		t.Run(c.dir, func(t *testing.T) {
			m, err := convert.Open(filepath.Join(fixtures, c.dir), convert.Options{Set: c.set})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			texts := someTexts(&m.Spec)
			plain, isolated := newTrace(t, m, texts), newTrace(t, m, texts)
			for op := plain.Operation(); op != nil; op = plain.Operation() {
				checkOperation(t, plain, isolated, op)
			}
			if at := firstChange(forward(t, m, texts), hiddenRows(hidden(t, plain))); at >= 0 {
				t.Errorf("position %d differs", at)
			}
		})
	}
}

// checkOperation runs op in both traces, where isolated has nothing but what op
// reads, and compares what they write.
func checkOperation(t *testing.T, plain, isolated *transformer.Trace, op *transformer.Operation) {
	t.Helper()
	isolate(plain, isolated, op)
	for _, trace := range []*transformer.Trace{plain, isolated} {
		if err := trace.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range op.Writes {
		for i := range plain.Len() {
			if differ(plain.Activations(name, i), isolated.Activations(name, i)) >= 0 {
				t.Fatalf("%s of %s depends on more than %v", name, op.Name, op.Reads)
			}
		}
	}
}

// isolate copies what op reads from plain to isolated and sets all other
// activations to NaN.
func isolate(plain, isolated *transformer.Trace, op *transformer.Operation) {
	for _, name := range []string{model.AttnNorm, model.Q, model.K, model.V, model.O, model.Gate, model.Up, model.FFNResidual} {
		for i := range isolated.Len() {
			x := isolated.Activations(name, i)
			copy(x, slices.Repeat([]float32{float32(math.NaN())}, len(x)))
		}
	}
	for _, name := range op.Reads {
		for i := range isolated.Len() {
			copy(isolated.Activations(name, i), plain.Activations(name, i))
		}
	}
}

// Before orders the operations of two models even if one of them has operations
// that the other lacks.
func TestBefore(t *testing.T) {
	var traces []*transformer.Trace
	for _, dir := range []string{"llama-tied", "gemma3"} {
		m, err := convert.Open(filepath.Join(fixtures, dir), convert.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		traces = append(traces, newTrace(t, m, [][]int{{1, 2, 3}}))
	}
	a, b := traces[0], traces[1]
	var only []string // operations in the first step of the second model only
	for a.Step() == 0 || b.Step() == 0 {
		if a.Before(b) {
			t.Fatalf("only the first model has %s", a.Operation().Name)
		}
		if b.Before(a) {
			only = append(only, b.Operation().Name)
		} else if err := a.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"qk_norm", model.AttnPost, model.FFNPost}; !slices.Equal(only, want) {
		t.Errorf("only the second model has %v, want %v", only, want)
	}
}
