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

// Operation by operation a Trace computes what Forward does, to the bit; and each
// of them reads what it says and nothing else: a second Trace, in which all is NaN
// but that, writes the same.
func TestOperations(t *testing.T) {
	for _, c := range checkpoints {
		t.Run(c.dir, func(t *testing.T) {
			m, err := convert.Open(filepath.Join(fixtures, c.dir), convert.Options{Set: c.set})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			texts := someTexts(&m.Spec)
			plain, fed := newTrace(t, m, texts), newTrace(t, m, texts)
			for op := plain.Operation(); op != nil; op = plain.Operation() {
				feed(plain, fed, op)
				for _, trace := range []*transformer.Trace{plain, fed} {
					if err := trace.Do(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				for _, name := range op.Writes {
					for i := range plain.Len() {
						if differ(plain.Activations(name, i), fed.Activations(name, i)) >= 0 {
							t.Fatalf("%s of %s reads more than %v", name, op.Name, op.Reads)
						}
					}
				}
			}
			if at := firstChange(forward(t, m, texts), hiddenRows(plain.Hidden())); at >= 0 {
				t.Errorf("position %d differs", at)
			}
		})
	}
}

// feed gives fed what op reads of plain, and NaN besides.
func feed(plain, fed *transformer.Trace, op *transformer.Operation) {
	for _, name := range []string{model.AttnNorm, model.Q, model.K, model.V, model.O, model.Gate, model.Up, model.FFNResidual} {
		for i := range fed.Len() {
			x := fed.Activations(name, i)
			copy(x, slices.Repeat([]float32{float32(math.NaN())}, len(x)))
		}
	}
	for _, name := range op.Reads {
		for i := range fed.Len() {
			copy(fed.Activations(name, i), plain.Activations(name, i))
		}
	}
}

// A Trace knows which of two models' operations comes first, where one of them
// has some that the other has not.
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
	var alone []string // of the second model in the first step
	for a.Step() == 0 || b.Step() == 0 {
		first := !b.Before(a)
		if a.Before(b) {
			t.Fatalf("%s is in the first model only", a.Operation().Name)
		}
		if !first {
			alone = append(alone, b.Operation().Name)
		}
		if first {
			if err := a.Do(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"qk_norm", model.AttnPost, model.FFNPost}; !slices.Equal(alone, want) {
		t.Errorf("in the second model only are %v, want %v", alone, want)
	}
}
