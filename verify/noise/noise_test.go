package noise

import (
	"math"
	"path/filepath"
	"testing"

	"thimble/convert"
	"thimble/format"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

func open(t *testing.T, name string) *model.Model {
	t.Helper()
	path := filepath.Join("../../fixtures", name)
	m, err := format.Open(path)
	if filepath.Ext(name) == "" {
		m, err = convert.Open(path, convert.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// stored returns w in a scheme, rounded to nearest.
func stored(t *testing.T, w *qtensor.Matrix, scheme string) *qtensor.Matrix {
	t.Helper()
	s, err := qtensor.ParseScheme(scheme)
	if err != nil {
		t.Fatal(err)
	}
	out, err := qtensor.New(s, w.Rows, w.Cols)
	if err != nil {
		t.Fatal(err)
	}
	var read qtensor.Reader
	var round qtensor.Rounder
	x := make([]float32, w.Cols)
	for r := range w.Rows {
		read.Row(x, w, r)
		if err := round.Row(out, r, x); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// The errors of a copy have the variance of rounding, a twelfth of a squared step, in
// every scheme, and no code leaves its range.
func TestCopyHasTheNoiseOfRounding(t *testing.T) {
	m := open(t, "trained")
	for _, scheme := range []string{"int2/g32/asym", "int3/g32", "int4/g32", "int5/g16/s4", "int5/row/asym", "int8/g32", "Q4_K"} {
		c := *m
		w := m.Tensors["blocks.3.up"]
		if scheme == "Q4_K" {
			w = open(t, "gguf/trained-q4_k_m.gguf").Tensors["blocks.3.down"]
			if w.Scheme.Kind != qtensor.Foreign {
				t.Fatalf("the fixture has %v", w.Scheme)
			}
		} else {
			w = stored(t, w, scheme)
		}
		c.Tensors = map[string]*qtensor.Matrix{"x": w}
		noisy, err := Copy(t.Context(), &c, 5)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Copy(t.Context(), &c, 5)
		if err != nil || !noisy.Tensors["x"].SameValues(again.Tensors["x"]) {
			t.Errorf("%s: two copies with one seed differ, %v", scheme, err)
		}
		other, err := Copy(t.Context(), &c, 6)
		if err != nil || noisy.Tensors["x"].SameValues(other.Tensors["x"]) {
			t.Errorf("%s: copies with two seeds are the same, %v", scheme, err)
		}
		var read, readNoisy qtensor.Reader
		x, y := make([]float32, w.Cols), make([]float32, w.Cols)
		sum, bias := 0.0, 0.0
		for r := range w.Rows {
			_, scale, _ := read.Integers(w, r)
			steps := make([]float64, w.Cols)
			for i := range steps {
				steps[i] = float64(scale[i/w.Scheme.Columns(w.Cols)])
			}
			read.Row(x, w, r)
			readNoisy.Row(y, noisy.Tensors["x"], r)
			for i := range x {
				if steps[i] != 0 {
					d := float64(y[i]-x[i]) / steps[i]
					sum, bias = sum+float64(d*d), bias+d
				}
			}
		}
		n := float64(w.Rows * w.Cols)
		if v := sum / n; math.Abs(v*12-1) > 0.06 || math.Abs(bias/n) > 0.02 && scheme[3] != '2' {
			t.Errorf("%s: variance %.4f of a step, want %.4f; bias %.4f", scheme, v, 1./12, bias/n)
		}
	}
}

func TestRounds(t *testing.T) {
	if m := open(t, "trained"); Rounds(m) {
		t.Error("a checkpoint in bf16 has integers")
	}
	if m := open(t, "gguf/trained-q4_k_m.gguf"); !Rounds(m) {
		t.Error("Q4_K_M has none")
	}
}

// No fixture looks as if its tensors were misplaced. Fixtures with exchanged norms, or
// with rows in the other rotary order, do, however the matrices are stored.
func TestPlace(t *testing.T) {
	for _, name := range []string{"gemma3", "llama-biases", "llama-tied", "llama4", "mistral", "mobilellm-ls", "phi", "qwen2", "qwen3", "trained"} {
		if f, err := Place(open(t, name)); err != nil || f.Misplaced > 1 {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	m := open(t, "trained")
	a, b := model.Name(6, model.AttnNorm), model.Name(6, model.FFNNorm)
	m.Tensors[a], m.Tensors[b] = m.Tensors[b], m.Tensors[a]
	if f, err := Place(m); err != nil || !(f.Misplaced > 1) || f.Tensor != a || f.Instead != "exchanged with "+b {
		t.Errorf("%+v, %v", f, err)
	}
}

// Rows of one angle have similar lengths, and that reveals the rotary order.
func TestRotaryRatio(t *testing.T) {
	spec := model.Spec{Hidden: 8, Heads: 4, KVHeads: 4, HeadDim: 32, Blocks: 1, Rope: model.Rope{Base: 1e4}}
	for _, pairs := range []bool{false, true} {
		spec.Rope.Pairs = pairs
		w := &qtensor.Matrix{Rows: 128, Cols: 8, Codes: make([]byte, 4*128*8)}
		for r := range w.Rows {
			angle := r % 32 % 16
			if pairs {
				angle = r % 32 / 2
			}
			x := make([]float32, 8)
			for i := range x {
				x[i] = float32(1 + angle*7%16 + r%3) // the angle matters more than the row
			}
			if err := w.SetFloats(r, x); err != nil {
				t.Fatal(err)
			}
		}
		m := &model.Model{Spec: spec, Tensors: map[string]*qtensor.Matrix{model.Name(0, model.Q): w, model.Name(0, model.K): w}}
		right := rotaryRatio(m, 0)
		m.Spec.Rope.Pairs = !pairs
		if wrong := rotaryRatio(m, 0); !(right < 0.5) || !(wrong > rotaryLimit) {
			t.Errorf("pairs %v: %v in the right order, %v in the other", pairs, right, wrong)
		}
	}
}
