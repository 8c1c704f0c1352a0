package gguf

import (
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// gptSpecs are the smallest models of architectures that no fixture has in the form that
// llama.cpp computes.
func gptSpecs() map[string]model.Spec {
	base := specs()["llama"]
	of := func(change func(s *model.Spec)) model.Spec {
		s := base
		change(&s)
		return s
	}
	gpt := func(s *model.Spec) { s.Norm, s.Ungated, s.Activation = model.NormLayer, true, model.GELU }
	unrotated := []model.Attention{{Rope: model.NoRope}, {Rope: model.NoRope}}
	mixture := model.Experts{Count: 4, Used: 2, FFN: 32}
	return map[string]model.Spec{
		"gptneox": of(func(s *model.Spec) {
			gpt(s)
			s.Parallel, s.TwoNorms, s.Rope.Dims, s.Bias = true, true, 4, model.Bias{QKV: true, O: true, FFN: true}
		}),
		"mpt": of(func(s *model.Spec) {
			gpt(s)
			s.Norm, s.Alibi, s.Attention, s.Tied, s.Rope.Base = model.NormGain, 8, unrotated, true, 10000
		}),
		"falcon": of(func(s *model.Spec) {
			gpt(s)
			s.Parallel, s.TwoNorms, s.Tied = true, true, true
		}),
		"starcoder2": of(func(s *model.Spec) {
			gpt(s)
			s.Bias = model.Bias{QKV: true, O: true, FFN: true}
		}),
		"phi3": of(func(s *model.Spec) {
			s.Rope = model.Rope{Base: 1e4, Dims: 8, Scaling: model.RopeFactors, Factors: []float64{1, 2, 3, 4}, Scale: 1.25}
		}),
		"chatglm": of(func(s *model.Spec) { s.Rope.Dims, s.Rope.Pairs, s.Bias.QKV = 8, true, true }),
		"qwen2moe": of(func(s *model.Spec) {
			s.Experts, s.Bias.QKV = mixture, true
			s.Experts.Shared, s.Experts.SharedGate = 48, true
		}),
		"olmoe": of(func(s *model.Spec) { s.Experts, s.QKNorm, s.KVHeads = mixture, model.QKWide, s.Heads }),
		"lfm2moe": of(func(s *model.Spec) {
			s.Experts, s.QKNorm = mixture, model.QKGain
			s.Experts.Dense, s.Experts.Sigmoid, s.Experts.Selects, s.Experts.Normalized = []int{0}, true, true, true
			s.Attention = []model.Attention{{Conv: 3, Rope: model.NoRope}, {}}
		}),
	}
}

// Each model is exported to its architecture and read back as the same computation, except
// for the exact GELU, and with the same matrices.
func TestJoinedTensors(t *testing.T) {
	for name, s := range gptSpecs() {
		a, err := choose("tiny", &s)
		if err != nil || a.name != name {
			t.Errorf("%s is written as %+v, %v", name, a, err)
			continue
		}
		m := filled(t, s)
		_, data := write(t, m)
		got := opened(t, data)
		want := a.asGGUF(&s)
		want.Rope.Pairs = s.Rope.Pairs
		if d := model.Differences(&want, &got.Spec); d != nil {
			t.Errorf("%s: %s is %q, want %q", name, d[0].Name, d[0].Value(&got.Spec, 0), d[0].Value(&want, 0))
			continue
		}
		for _, slot := range s.Slots() {
			compare(t, name+" "+slot.Name, values(got.Tensors[slot.Name]), values(m.Tensors[slot.Name]))
		}
	}
}

func values(m *qtensor.Matrix) (all []float32) {
	var r qtensor.Reader
	row := make([]float32, m.Cols)
	for i := range m.Rows {
		r.Row(row, m, i)
		all = append(all, row...)
	}
	return all
}

// GGUF stores the experts of a block in one tensor, of one type.
func TestExpertsOfTwoSchemes(t *testing.T) {
	s := specs()["llama"]
	s.Experts = model.Experts{Count: 2, Used: 1, FFN: 96, Normalized: true}
	m := filled(t, s)
	q := m.Tensors["blocks.1.experts.1.up"]
	q.Scheme = qtensor.Scheme{Kind: qtensor.BF16}
	q.Codes = q.Codes[:len(q.Codes)/2]
	_, err := newWriter(m, export.Options{})
	if want := "tiny: blk.1.ffn_up_exps.weight: blocks.1.experts.0.up is f32 and blocks.1.experts.1.up is bf16, which GGUF has in one tensor, is not supported; quantize with one scheme for both"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// A shorter context needs fewer of the learned positions.
func TestFewerPositions(t *testing.T) {
	s := specs()["llama"]
	s.Norm, s.Ungated, s.Activation, s.Bias = model.NormLayer, true, model.GELUTanh, model.Bias{QKV: true, O: true, FFN: true}
	s.Positions, s.Attention, s.Rope.Base = 32, []model.Attention{{Rope: model.NoRope}, {Rope: model.NoRope}}, 10000
	m := filled(t, s)
	o := export.Options{}
	o.Context = 8
	w, err := newWriter(m, o)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(w.tensors, func(t tensor) bool { return strings.HasPrefix(t.name, "position_embd") })
	if i < 0 || !slices.Equal(w.tensors[i].dims, []uint64{64, 8}) {
		t.Errorf("positions are %v", w.tensors)
	}
}
