package gradient

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"testing"

	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// TestPowers compares what powers predict for an error of one output with the divergence that a
// change of its bias makes.
func TestPowers(t *testing.T) {
	const draws, token, change = 300, 31, 0.02
	m := open(t, "qwen2")
	texts := make([][]int, draws)
	for i := range texts {
		texts[i] = []int{token}
	}
	powers := Powers{}
	if err := powers.Add(t.Context(), m, texts, 1); err != nil {
		t.Fatal(err)
	}
	before := make([]float32, m.Spec.Vocab)
	target := nextLogits(t, m, []int{token})
	if err := target(t.Context(), before, 0, 1); err != nil {
		t.Fatal(err)
	}
	layer := model.Name(1, model.V)
	bias := layer + model.BiasSuffix
	for _, r := range []int{0, 5, 11} {
		changed := *m
		changed.Tensors = maps.Clone(m.Tensors)
		w, err := qtensor.New(qtensor.Scheme{Kind: qtensor.F32}, 1, m.Tensors[bias].Cols)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, w.Cols)
		new(qtensor.Reader).Row(x, m.Tensors[bias], 0)
		x[r] += change
		if err := w.SetFloats(0, x); err != nil {
			t.Fatal(err)
		}
		changed.Tensors[bias] = w
		after, exp := make([]float32, m.Spec.Vocab), make([]float64, m.Spec.Vocab)
		if err := nextLogits(t, &changed, []int{token})(t.Context(), after, 0, 1); err != nil {
			t.Fatal(err)
		}
		lse := logits.LogSumExp(before, exp)
		c := kernel.Compare(before, after, exp)
		kl := logits.KL(&c, lse, logits.LogSumExp(after, nil))
		predicted := powers[layer][r] / draws / 2 * change * change
		t.Logf("output %d: KL %.4g, predicted %.4g", r, kl, predicted)
		if !(math.Abs(math.Log(predicted/kl)) < math.Log(1.4)) {
			t.Errorf("output %d: KL %g, predicted %g", r, kl, predicted)
		}
	}
}

// Powers have the same bits on any number of cores.
func TestPowersSameEverywhere(t *testing.T) {
	m := open(t, "mistral")
	hash := func(procs int) string {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		powers := Powers{}
		if err := powers.Add(t.Context(), m, [][]int{ids, ids[3:9]}, 1); err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		for _, name := range slices.Sorted(maps.Keys(powers)) {
			_ = binary.Write(h, binary.LittleEndian, powers[name])
		}
		return fmt.Sprintf("%x", h.Sum(nil)[:8])
	}
	const golden = "8c910bd93f13fe25"
	one, eight := hash(1), hash(8)
	if one != eight || one != golden {
		t.Errorf("powers hash to %s on one core, %s on eight, want %s", one, eight, golden)
	}
}
