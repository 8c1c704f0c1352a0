package quantize

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"runtime"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
	"thimble/quantize/rounding"
)

// chosen returns a method less some of its steps.
func chosen(t testing.TB, name string, without ...string) rounding.Variant {
	t.Helper()
	m, err := rounding.Choose(name, without)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func scheme(t testing.TB, text string) qtensor.Scheme {
	s, err := qtensor.ParseScheme(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testModel(t *testing.T) *model.Model {
	spec := model.Spec{
		Hidden: 40, Heads: 4, KVHeads: 2, HeadDim: 10, FFN: 72, Vocab: 30, Context: 64, Blocks: 2, Schedule: model.InOrder(2, 1),
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true,
	}
	m := &model.Model{Path: "test", Spec: spec, Tensors: map[string]*qtensor.Matrix{}}
	for i, s := range spec.Slots() {
		m.Tensors[s.Name] = quantizetest.Weights(s.Rows, s.Cols, uint64(i))
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	return m
}

// discard is a Sink that counts bytes.
type discard struct{ bytes int64 }

func (d *discard) Write(m *qtensor.Matrix) error {
	d.bytes += m.Bytes()
	return m.Check()
}

func TestRunWritesThePlannedBytes(t *testing.T) {
	m := testModel(t)
	p, err := NewPlan(m, &Recipe{Scheme: "int4/g32/asym", Embedding: "int8/g32"})
	if err != nil {
		t.Fatal(err)
	}
	var d discard
	done := int64(0)
	if err := Run(t.Context(), m, p, nil, &d, func(n int64) { done = n }); err != nil {
		t.Fatal(err)
	}
	if d.bytes != p.Bytes || done != p.Weights {
		t.Errorf("wrote %d bytes of %d weights, planned %d of %d", d.bytes, done, p.Bytes, p.Weights)
	}
}

// hashing is a Sink that hashes every plane.
type hashing struct{ hash.Hash }

func (h hashing) Write(m *qtensor.Matrix) error {
	for _, plane := range m.Planes() {
		h.Hash.Write(plane)
	}
	return nil
}

// Run writes the same bytes, from powers that it guesses, on any machine.
func TestRunGivesTheSameBytesEverywhere(t *testing.T) {
	for _, procs := range []int{1, 8} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		m := testModel(t)
		p, err := NewPlan(m, &Recipe{Scheme: "int4/g32/asym", Embedding: "int8/g32", Rules: []Rule{{"blocks.*.up", "int4/g32"}}})
		if err != nil {
			t.Fatal(err)
		}
		h := hashing{sha256.New()}
		if err := Run(t.Context(), m, p, nil, h, nil); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", h.Sum(nil))[:16]; got != goldenRun {
			t.Errorf("on %d cores: hash %s, want %s", procs, got, goldenRun)
		}
	}
}

func TestRunNamesTheTensor(t *testing.T) {
	m := testModel(t)
	bad := m.Tensors["blocks.1.up"]
	copy(bad.Codes[4*41:], []byte{0, 0, 0x80, 0x7f}) // row 1, column 1
	p, err := NewPlan(m, &Recipe{Scheme: "int4/g32"})
	if err != nil {
		t.Fatal(err)
	}
	want := "test: blocks.1.up: row 1, column 1 is +Inf, but weights must be finite; download the file again, or take a checkpoint from before training diverged"
	if err := Run(t.Context(), m, p, nil, new(discard), nil); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
}

const goldenRun = "6f1279be2766ab2b"

// skipQuality skips, with -short, a test of how good the results are. They do not
// depend on the machine if the bytes do not.
func skipQuality(t *testing.T) {
	if testing.Short() {
		t.Skip("how good the results are does not depend on the machine")
	}
}
