package verify

import (
	"fmt"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

func TestMedianRate(t *testing.T) {
	for recipe, want := range map[string]float64{
		"":                       0,
		"scheme: int4/g32/sym\n": 0,
		"scheme: int8/row/sym@4.5\nembedding: int8/g32/sym\n": 4.5,
		"scheme: int8/row/sym@6\nset:\n- tensors: blocks.0.q\n  scheme: int8/row/sym@1.5\n- tensors: blocks.0.k\n  scheme: int7/row/sym@5.25\n": 5.25,
	} {
		if got, ok := medianRate(recipe); got != want || ok != (want > 0) {
			t.Errorf("%q: %g bits, %v, want %g", recipe, got, ok, want)
		}
	}
}

// The limits of an entropy-coded file are those of a bit more than its median rate, whatever a
// budget spends on the cheapest matrix.
func TestCodedGates(t *testing.T) {
	m := &model.Model{Spec: model.Spec{
		Hidden: 32, Heads: 2, KVHeads: 1, HeadDim: 16, FFN: 64, Vocab: 8, Context: 4, Blocks: 1, Schedule: []int{0},
		Rope: model.Rope{Base: 1e4}, BOS: -1,
	}, Tensors: map[string]*qtensor.Matrix{}}
	for _, s := range m.Spec.Slots() {
		m.Tensors[s.Name] = &qtensor.Matrix{Scheme: schemeOf(t, "int8/row"), Rows: s.Rows, Cols: s.Cols}
	}
	for recipe, want := range map[string]string{
		"scheme: int8/row/sym@4.5\n": "[kl_mean<=0.3 top1_agreement>=0.7]",
		"scheme: int8/row/sym@5.25\nset:\n- tensors: a\n  scheme: int8/row/sym@1.5\n- tensors: b\n  scheme: int8/row/sym@5\n": "[kl_mean<=0.1 top1_agreement>=0.8]",
		"scheme: int8/row/sym@2.75\n": "[kl_mean<=1 top1_agreement>=0.5]",
	} {
		m.Provenance = model.Provenance{Recipe: recipe}
		if got := fmt.Sprint(DefaultGates(m)); got != want {
			t.Errorf("%q: %s, want %s", recipe, got, want)
		}
	}
}
