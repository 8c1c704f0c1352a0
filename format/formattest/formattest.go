// Package formattest tests the guarantees of every format: Run tests a container format
// that is written and read back, RunExporter an exporter. A format's test calls those
// that apply.
package formattest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// A Target is a container format under test.
type Target struct {
	Write   func(path string, m *model.Model) error
	Open    func(path string) (*model.Model, error)
	Schemes []qtensor.Scheme // of linear layers that it must store; vectors are f32
}

// Run writes models of each scheme and shape and reads them back. The values must be
// equal to the bit, the same model must give the same bytes, a failed write must leave no
// file, and a damaged file must give an error or different values, never a panic. A target
// may refuse, with format.ErrUnsupported, a model whose widths are not multiples of 64.
func Run(t *testing.T, target Target) {
	for _, scheme := range target.Schemes {
		for name, s := range specs() {
			t.Run(fmt.Sprintf("%v/%s", scheme, name), func(t *testing.T) {
				t.Parallel()
				m := build(t, s, scheme)
				path := filepath.Join(t.TempDir(), "model")
				err := target.Write(path, m)
				if errors.Is(err, defect.ErrUnsupported) && (s.Hidden%64 != 0 || s.FFN%64 != 0) {
					empty(t, filepath.Dir(path))
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				same(t, target, path, m)
				again(t, target, path, m)
			})
		}
	}
	t.Run("Damage", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "model")
		if err := target.Write(path, build(t, specs()["wide"], target.Schemes[0])); err != nil {
			t.Fatal(err)
		}
		damage(t, target, path)
	})
	t.Run("Incomplete", func(t *testing.T) {
		m := build(t, specs()["wide"], target.Schemes[0])
		delete(m.Tensors, model.Norm)
		path := filepath.Join(t.TempDir(), "model")
		if err := target.Write(path, m); err == nil {
			t.Errorf("Write accepted a model without %s", model.Norm)
		}
		empty(t, filepath.Dir(path))
	})
}

// specs returns the Specs of small models, each with a feature that a format may get
// wrong.
func specs() map[string]model.Spec {
	wide := model.Spec{
		Hidden: 64, Heads: 2, KVHeads: 1, HeadDim: 32, FFN: 128, Vocab: 7, Context: 32, Blocks: 2,
		Schedule: model.InOrder(2, 1), NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: 1, EOS: []int{2},
	}
	tied, biased, shared, ragged := wide, wide, wide, wide
	tied.Tied = true
	biased.Bias = model.Bias{QKV: true, O: true, FFN: true}
	shared.Schedule = model.InOrder(2, 2)
	ragged.Hidden, ragged.HeadDim, ragged.FFN = 72, 36, 100
	return map[string]model.Spec{"wide": wide, "tied": tied, "biased": biased, "shared": shared, "ragged": ragged}
}

// Model returns a small model whose linear layers are stored in scheme.
func Model(t testing.TB, scheme qtensor.Scheme) *model.Model {
	t.Helper()
	return build(t, specs()["wide"], scheme)
}

// build returns a model with Spec s, every code and many scales.
func build(t testing.TB, s model.Spec, scheme qtensor.Scheme) *model.Model {
	t.Helper()
	d := &tokenizer.Data{
		Model: tokenizer.ByteLevelBPE, Merges: []uint32{}, Tokens: [][]byte{[]byte("<unk>"), []byte("<s>"), []byte("</s>"), []byte("a"), []byte("b"), []byte("c"), []byte(" ")},
		Literal: []uint32{0, 1, 2}, Steps: []tokenizer.Step{tokenizer.StepGPT2}, BOS: 1, EOS: 2, Pad: -1, Unk: 0,
	}
	for i, token := range d.Tokens[:3] {
		d.Added = append(d.Added, tokenizer.Added{ID: uint32(i), Content: string(token), Special: true})
	}
	m := &model.Model{
		Path: "built", Spec: s, Tensors: map[string]*qtensor.Matrix{},
		Tokenizer:  func() (*tokenizer.Data, error) { return d, nil },
		Provenance: model.Provenance{Architecture: "llama", Tool: "formattest"},
	}
	for i, slot := range s.Slots() {
		x := qtensor.Scheme{Kind: qtensor.F32}
		if slot.Role != model.Vector {
			x = scheme
		}
		m.Tensors[slot.Name] = Fill(x, slot.Rows, slot.Cols, i)
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	return m
}

// Fill returns a matrix of finite values that depend only on the arguments. Codes
// count up through their range; scales of a symmetric scheme have either sign.
func Fill(s qtensor.Scheme, rows, cols, seed int) *qtensor.Matrix {
	m, err := qtensor.New(s, rows, cols)
	if err != nil {
		panic(err)
	}
	codes, row := make([]uint8, cols), make([]float32, cols)
	scale, least := make([]uint16, s.Groups(cols)), make([]uint16, s.Groups(cols))
	for r := range rows {
		if s.Kind != qtensor.Int {
			for i := range row {
				row[i] = float32((seed+r+i)%255-127) / 64 // exact in bfloat16
			}
			if err := m.SetFloats(r, row); err != nil {
				panic(err)
			}
			continue
		}
		lo, hi := s.Codes()
		for i := range codes {
			codes[i] = uint8(lo + (seed+r+i)%(hi-lo+1))
		}
		for g := range scale {
			d := float32(1+(seed+r+g)%31) / 256
			least[g], _ = qtensor.ToFloat16(-3 * d)
			if !s.Asym && (r+g)%2 == 1 {
				d = -d
			}
			scale[g], _ = qtensor.ToFloat16(d)
		}
		m.SetRow(r, codes, scale, least)
	}
	return m
}

// same opens path and compares the model with want. A format that cannot share blocks
// may store a block once for each step.
func same(t *testing.T, target Target, path string, want *model.Model) {
	t.Helper()
	got, err := target.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if err := got.Check(); err != nil {
		t.Fatal(err)
	}
	a, b := want.Spec.Unrolled(), got.Spec.Unrolled()
	if !a.Equal(&b) {
		t.Errorf("spec is %+v, want %+v", b, a)
	}
	for _, slot := range a.Slots() {
		x, y := tensor(want, slot.Name), tensor(got, slot.Name)
		var rx, ry qtensor.Reader
		wx, wy := make([]float32, slot.Cols), make([]float32, slot.Cols)
		for r := range slot.Rows {
			rx.Row(wx, x, r)
			ry.Row(wy, y, r)
			for i := range wx {
				if math.Float32bits(wx[i]) != math.Float32bits(wy[i]) {
					t.Fatalf("%s: row %d, column %d is %v, want %v", slot.Name, r, i, wy[i], wx[i])
				}
			}
		}
	}
	d, err := got.Tokenizer()
	if err != nil || d == nil {
		t.Fatalf("tokenizer: %v, %v", d, err)
	}
	written, _ := want.Tokenizer()
	for id, token := range written.Tokens {
		if id >= len(d.Tokens) || !bytes.Equal(d.Tokens[id], token) {
			t.Errorf("token %d is not %q", id, token)
		}
	}
	if d.BOS != written.BOS || d.EOS != written.EOS {
		t.Errorf("bos and eos are %d and %d, want %d and %d", d.BOS, d.EOS, written.BOS, written.EOS)
	}
}

// tensor returns the tensor of m for a name in the unrolled model.
func tensor(m *model.Model, name string) *qtensor.Matrix {
	return m.Tensors[m.Spec.StoredName(name)]
}

// again checks that a second file of m has the same bytes, and that Write does not
// replace an existing file.
func again(t *testing.T, target Target, path string, m *model.Model) {
	t.Helper()
	first := read(t, path)
	if err := target.Write(path, m); err == nil {
		t.Error("Write replaced an existing file")
	}
	second := path + "2"
	if err := target.Write(second, m); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, read(t, path)) || !bytes.Equal(first, read(t, second)) {
		t.Error("the same model gave different bytes")
	}
	os.Remove(path)
	os.Remove(second)
	empty(t, filepath.Dir(path))
}

// damage truncates the file at many lengths and flips bits throughout it.
func damage(t *testing.T, target Target, path string) {
	t.Helper()
	data := read(t, path)
	step := max(1, len(data)/500) | 1 // odd, so that every alignment occurs
	for n := 0; n < len(data); n += step {
		if err := use(target, path, data[:n]); err == nil {
			t.Errorf("Open accepted the first %d of %d bytes", n, len(data))
		}
	}
	for i := 0; i < len(data); i += step {
		data[i] ^= 1 << (i % 8)
		use(target, path, data) // may succeed with different values, must not panic
		data[i] ^= 1 << (i % 8)
	}
	if err := use(target, path, data); err != nil {
		t.Error(err)
	}
}

// use writes data to path, opens the file and reads every value.
func use(target Target, path string, data []byte) error {
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	m, err := target.Open(path)
	if err != nil {
		return err
	}
	defer m.Close()
	var reader qtensor.Reader
	for _, x := range m.Tensors {
		row := make([]float32, x.Cols)
		for r := range x.Rows {
			reader.Row(row, x, r)
		}
	}
	_, err = m.Tokenizer()
	return err
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// empty checks that dir is empty.
func empty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("leftover file %s", e.Name())
	}
}
