package power

import (
	"math"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize/rounding"
)

// powersOf estimates the input powers of a model given by its rows.
func powersOf(t *testing.T, spec model.Spec, tensors map[string][][]float32) map[string]*rounding.Input {
	t.Helper()
	m := &model.Model{Path: "test", Spec: spec, Tensors: map[string]*qtensor.Matrix{}}
	for name, rows := range tensors {
		w, err := qtensor.New(qtensor.Scheme{}, len(rows), len(rows[0]))
		if err != nil {
			t.Fatal(err)
		}
		for r, x := range rows {
			if err := w.SetFloats(r, x); err != nil {
				t.Fatal(err)
			}
		}
		m.Tensors[name] = w
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	got, err := Inputs(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func wantPowers(t *testing.T, got map[string]*rounding.Input, want map[string][]float64) {
	t.Helper()
	for name, w := range want {
		level := rounding.Guess(w).Power
		for i, v := range level {
			if math.Abs(float64(got[name].Power[i]-v)) > 1e-6 {
				t.Errorf("%s: power %v, want %v", name, got[name].Power, level)
			}
		}
	}
}

// In a parallel block, attention and the two other matrices read one LayerNorm, whose
// bias adds its square.
func TestPowersOfParallelBlocks(t *testing.T) {
	spec := model.Spec{
		Hidden: 2, Heads: 1, KVHeads: 1, HeadDim: 2, FFN: 2, Vocab: 2, Context: 8, Blocks: 1, Schedule: []int{0},
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true, Norm: model.NormLayer, Parallel: true, Ungated: true,
	}
	got := powersOf(t, spec, map[string][][]float32{
		"embed": {{1, 2}, {3, 0}}, "blocks.0.attn_norm": {{1, 2}}, "blocks.0.attn_norm.bias": {{0, 3}},
		"blocks.0.q": {{1, 1}, {1, 1}}, "blocks.0.k": {{1, 1}, {1, 1}}, "blocks.0.v": {{1, 0}, {1, 2}}, "blocks.0.o": {{1, 0}, {0, 1}},
		"blocks.0.up": {{0, 1}, {1, 0}}, "blocks.0.down": {{1, 0}, {0, 2}}, "norm": {{1, 3}}, "norm.bias": {{0, 0}},
	})
	h := [2]float64{5 / 3.5, 4*2/3.5 + 9}
	o := [2]float64{0.3 * h[0], 0.3 * (h[0] + 4*h[1])}
	down := [2]float64{0.5 * h[1], 0.5 * h[0]}
	s := [2]float64{5 + o[0] + down[0], 2 + o[1] + 4*down[1]}
	wantPowers(t, got, map[string][]float64{
		"blocks.0.q": h[:], "blocks.0.up": h[:], "blocks.0.o": o[:], "blocks.0.down": down[:], "embed": {s[0], 9 * s[1]},
	})
}

// Norms after the layers scale what the layers add; their gains count from 1.
func TestPowersOfPostNorms(t *testing.T) {
	spec := model.Spec{
		Hidden: 2, Heads: 1, KVHeads: 1, HeadDim: 2, FFN: 1, Vocab: 2, Context: 8, Blocks: 1, Schedule: []int{0},
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true, Norm: model.NormRMS1, PostNorm: true, EmbedScale: 2,
	}
	got := powersOf(t, spec, map[string][][]float32{
		"embed": {{1, 2}, {3, 0}}, "blocks.0.attn_norm": {{0, 1}},
		"blocks.0.q": {{1, 1}, {1, 1}}, "blocks.0.k": {{1, 1}, {1, 1}}, "blocks.0.v": {{1, 0}, {0, 1}}, "blocks.0.o": {{1, 0}, {0, 1}},
		"blocks.0.attn_post": {{1, 0}}, "blocks.0.ffn_norm": {{0, 0}}, "blocks.0.gate": {{1, 0}}, "blocks.0.up": {{0, 1}},
		"blocks.0.down": {{1}, {1}}, "blocks.0.ffn_post": {{2, 1}}, "norm": {{0, 0}},
	})
	h := [2]float64{5 / 3.5, 4 * 2 / 3.5}
	mean := (h[0] + h[1]) / 2
	s := [2]float64{4*5 + 4*h[0]/mean, 4*2 + h[1]/mean}
	up := [2]float64{s[0], s[1]}
	s[0], s[1] = s[0]+9, s[1]+4
	wantPowers(t, got, map[string][]float64{"blocks.0.q": h[:], "blocks.0.up": up[:], "embed": s[:]})
}

// The powers of a model of one block are sums that are written out here.
func TestInputPowers(t *testing.T) {
	spec := model.Spec{
		Hidden: 2, Heads: 1, KVHeads: 1, HeadDim: 2, FFN: 1, Vocab: 2, Context: 8, Blocks: 1, Schedule: []int{0},
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true,
	}
	got := powersOf(t, spec, map[string][][]float32{
		"embed": {{1, 2}, {3, 0}}, "blocks.0.attn_norm": {{1, 2}}, "blocks.0.q": {{1, 1}, {1, 1}}, "blocks.0.k": {{1, 1}, {1, 1}},
		"blocks.0.v": {{1, 0}, {1, 2}}, "blocks.0.o": {{1, 0}, {0, 1}}, "blocks.0.ffn_norm": {{1, 1}},
		"blocks.0.gate": {{1, 0}}, "blocks.0.up": {{0, 1}}, "blocks.0.down": {{1}, {0}}, "norm": {{1, 3}},
	})
	// Embedding columns have mean squares 5 and 2, mean 3.5; gains 1 and 4.
	q := [2]float64{5 / 3.5, 4 * 2 / 3.5}
	// v = (w0, w0 + 2 w1); attention passes 0.3 of it.
	o := [2]float64{0.3 * q[0], 0.3 * (q[0] + 4*q[1])}
	s := [2]float64{5 + o[0], 2 + o[1]}
	mean := (s[0] + s[1]) / 2
	f := [2]float64{s[0] / mean, s[1] / mean}
	down := 0.5 * f[0] * f[1]
	s[0] += down
	wantPowers(t, got, map[string][]float64{
		"blocks.0.q": q[:], "blocks.0.v": q[:], "blocks.0.o": o[:], "blocks.0.gate": f[:], "blocks.0.down": {down}, "embed": {s[0], 9 * s[1]},
	})
}

// A state space has the gates and its own input x as factors, normalized in each group, and scales
// count as squares.
func TestPowersOfStateSpaces(t *testing.T) {
	spec := model.Spec{
		Hidden: 2, Heads: 1, KVHeads: 1, HeadDim: 2, FFN: 1, Vocab: 2, Context: 8, Blocks: 1, Schedule: []int{0}, Attention: []model.Attention{{Scan: 2, Rope: model.NoRope}},
		Scan: model.Scan{Heads: 2, HeadDim: 1, State: 1, Groups: 1}, Scales: model.Scales{ScanGate: 2, ScanX: 3, ScanOut: 2},
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true,
	}
	tensors := map[string][][]float32{
		"embed": {{1, 2}, {3, 0}}, "blocks.0.attn_norm": {{1, 1}}, "blocks.0.scan_gate": {{1, 0}, {0, 1}}, "blocks.0.scan_in": {{1, 0}, {1, 1}, {1, 1}, {1, 1}},
		"blocks.0.scan_step": {{1, 1}, {1, 1}}, "blocks.0.scan_conv": {{1, 1, 2, 0, 1, 1, 1, 1}}, "blocks.0.scan_decay": {{0, 0}}, "blocks.0.scan_skip": {{1, 1}},
		"blocks.0.scan_dt": {{0, 0}}, "blocks.0.scan_norm": {{1, 2}}, "blocks.0.scan_out": {{1, 0}, {0, 1}}, "blocks.0.ffn_norm": {{1, 1}},
		"blocks.0.gate": {{1, 0}}, "blocks.0.up": {{0, 1}}, "blocks.0.down": {{1}, {0}}, "norm": {{1, 1}},
	}
	h := [2]float64{5 / 3.5, 2 / 3.5}
	// x after the convolution, whose factors are 1 1 and 2 0, times the gate.
	y := [2]float64{2 * h[0] * h[0], 4 * (h[0] + h[1]) * h[1]}
	mean := (y[0] + y[1]) / 2
	out := [2]float64{y[0] / mean, 4 * y[1] / mean}
	s := [2]float64{5 + 4*out[0], 2 + 4*out[1]}
	up := [2]float64{2 * s[0] / (s[0] + s[1]), 2 * s[1] / (s[0] + s[1])}
	wantPowers(t, powersOf(t, spec, tensors), map[string][]float64{"blocks.0.scan_in": h[:], "blocks.0.scan_gate": h[:], "blocks.0.scan_step": h[:], "blocks.0.scan_out": out[:], "blocks.0.up": up[:]})

	// Without a norm the factors remain, half of each for a nonlinearity; attention beside it adds.
	spec.Scan.Norm, spec.Attention[0] = model.ScanUnnormed, model.Attention{Scan: 2, Beside: true}
	delete(tensors, "blocks.0.scan_norm")
	for _, kind := range []string{"q", "k", "v", "o"} {
		tensors["blocks.0."+kind] = [][]float32{{1, 0}, {0, 1}}
	}
	for i := range out {
		out[i] = 0.5 * 9 * 0.5 * 4 * y[i]
	}
	wantPowers(t, powersOf(t, spec, tensors), map[string][]float64{"blocks.0.scan_out": out[:], "blocks.0.q": h[:], "blocks.0.o": {0.3 * h[0], 0.3 * h[1]}})
}
