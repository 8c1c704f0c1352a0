package target

import (
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
)

// A scheme that some matrices cannot have stays for the others, if another fits all.
func TestSchemesOfSome(t *testing.T) {
	f := &File{Model: &model.Model{Spec: model.Spec{Hidden: 64, Heads: 2, KVHeads: 2, HeadDim: 32, FFN: 256, Vocab: 8, Context: 8, Blocks: 1, Schedule: model.InOrder(1, 1), Tied: true}}}
	wide, all := qtensor.Scheme{Kind: qtensor.Int, Bits: 6}, qtensor.Scheme{Kind: qtensor.Int, Bits: 4}
	none := qtensor.Scheme{Kind: qtensor.Int, Bits: 3}
	fits := func(s qtensor.Scheme, cols int) bool { return s == all || s == wide && cols == 256 }
	if got, one := f.some([]qtensor.Scheme{wide, all, none}, fits); !slices.Equal(got, []qtensor.Scheme{wide, all}) || !one {
		t.Errorf("%v, one fits all: %v", got, one)
	}
	if got, one := f.some([]qtensor.Scheme{wide, none}, fits); len(got) != 1 || one {
		t.Errorf("%v, one fits all: %v", got, one)
	}
}

// A size that would do in a larger unit lacks that unit.
func TestForgottenUnit(t *testing.T) {
	for _, c := range []struct {
		given, least, most int64
		want               string
	}{
		{92, 50e6, 500e6, "did you mean 92MB?"},
		{92e3, 50e6, 500e6, "did you mean 92MB?"},
		{9e6, 50e6, 500e6, ""},
		{600, 50e6, 500e6, ""},
	} {
		if got := forgottenUnit(c.given, c.least, c.most); got != c.want {
			t.Errorf("%d of %d: %q, want %q", c.given, c.least, got, c.want)
		}
	}
}

// Each program that Programs lists has an exporter, which has a type for the scheme that it is
// told to use instead of another program's.
func TestCheckNames(t *testing.T) {
	for _, program := range Programs() {
		e, err := Named(program)
		if err != nil || e == nil {
			t.Errorf("%s: %v", program, err)
			continue
		}
		err = CheckNames(&quantize.Recipe{Scheme: "int4/g32", Rules: []quantize.Rule{{Tensors: "*", Scheme: "q6_k"}}}, e)
		if err == nil || !strings.Contains(err.Error(), "the nearest scheme ") {
			t.Errorf("%s: %v", program, err)
		}
	}
	if e, err := Named(""); e != nil || err != nil {
		t.Errorf("%v, %v; want neither", e, err)
	}
	if _, err := Named("llama.cp"); err == nil || !strings.Contains(err.Error(), `did you mean "llama.cpp"?`) {
		t.Errorf("%v", err)
	}
}
