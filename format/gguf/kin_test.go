package gguf

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thimble/format/gguf/kv"
	"thimble/internal/model"
)

// fourBlocks returns llama's smallest model with four blocks, changed.
func fourBlocks(change func(s *model.Spec)) model.Spec {
	s := specs()["llama"]
	s.Blocks, s.Schedule = 4, []int{0, 1, 2, 3}
	change(&s)
	return s
}

// kinSpecs are the smallest models of the architectures in kin that compute more than llama,
// each with all of its features.
func kinSpecs() map[string]model.Spec {
	of := fourBlocks
	window := model.Attention{Window: 8}
	cohere := func(s *model.Spec) {
		s.Norm, s.Parallel, s.Tied, s.Rope.Pairs, s.LogitScale = model.NormGain, true, true, true, 0.25
	}
	after := func(s *model.Spec) { s.PostNorm, s.NoPreNorm = true, true }
	return map[string]model.Spec{
		"smollm3": of(func(s *model.Spec) { s.Attention = []model.Attention{{}, {}, {}, {Rope: model.NoRope}} }),
		"gemma":   of(func(s *model.Spec) { gemma1Graph(s); s.Norm = model.NormRMS1 }),
		"gemma2": of(func(s *model.Spec) {
			gemma2Graph(s)
			s.Norm, s.AttnCap, s.LogitCap = model.NormRMS1, 40, 20
			s.Attention = []model.Attention{window, {}, window, {}}
		}),
		"granite": of(func(s *model.Spec) { s.EmbedScale, s.ResidScale, s.AttnScale, s.LogitScale = 12, 0.22, 0.015625, 1.0/8 }),
		"olmo2": of(func(s *model.Spec) {
			after(s)
			s.QKNorm = model.QKWide
			s.Rope = model.Rope{Base: 1e6, Scaling: model.RopeYarn, Factor: 8, LowFreq: 1, HighFreq: 32, Original: 16, Scale: 1.25}
			s.Ropes = []model.Rope{{Base: 1e6}}
			local := model.Attention{Window: 8, Rope: 1}
			s.Attention = []model.Attention{local, local, local, {}}
		}),
		"exaone4": of(func(s *model.Spec) {
			after(s)
			s.QKNorm = model.QKGain
		}),
		"hunyuan-dense": of(func(s *model.Spec) { s.QKNorm, s.QKRotated = model.QKGain, true }),
		"command-r":     of(cohere),
		"cohere2": of(func(s *model.Spec) {
			cohere(s)
			s.Attention = []model.Attention{window, window, window, {Rope: model.NoRope}}
		}),
		"arcee": of(func(s *model.Spec) { s.Ungated, s.Activation = true, model.ReLU2 }),
		"nemotron": of(func(s *model.Spec) {
			s.Norm, s.Ungated, s.Activation, s.Rope.Dims = model.NormLayer1, true, model.ReLU2, 8
		}),
		"jais2": of(func(s *model.Spec) {
			s.Norm, s.Ungated, s.Activation, s.Bias = model.NormLayer, true, model.ReLU2, model.Bias{QKV: true, O: true, FFN: true}
		}),
		"apertus": of(func(s *model.Spec) { s.Ungated, s.Activation, s.QKNorm = true, model.XIELU, model.QKGain }),
		"mistral3": of(func(s *model.Spec) {
			s.Rope = model.Rope{Base: 1e6, Scaling: model.RopeYarn, Factor: 4, LowFreq: 2, HighFreq: 16, Original: 8}
			s.Temperature = model.Temperature{Beta: 0.1, Length: 8}
		}),
	}
}

// Each model is exported to its architecture and read back as the same computation.
func TestKin(t *testing.T) {
	for name, s := range kinSpecs() {
		a, err := choose("tiny", &s)
		if err != nil || a.name != name {
			t.Errorf("%s is written as %+v, %v", name, a, err)
			continue
		}
		_, data := write(t, filled(t, s))
		got := opened(t, data).Spec
		want := a.asGGUF(&s)
		want.Rope.Pairs = s.Rope.Pairs
		if d := model.Differences(&want, &got); d != nil {
			t.Errorf("%s: %s is %q, want %q", name, d[0].Name, d[0].Value(&got, 0), d[0].Value(&want, 0))
		}
	}
}

// The keys are those that llama.cpp's loaders read.
func TestKinKeys(t *testing.T) {
	all := kinSpecs()
	for name, want := range map[string]map[string]any{
		"gemma2":   {"gemma2.attn_logit_softcapping": float32(40), "gemma2.final_logit_softcapping": float32(20), "gemma2.attention.sliding_window": uint32(8), "gemma2.attention.sliding_window_pattern": uint32(2)},
		"granite":  {"granite.logit_scale": float32(8), "granite.embedding_scale": float32(12), "granite.residual_scale": float32(0.22), "granite.attention.scale": float32(0.015625)},
		"cohere2":  {"cohere2.logit_scale": float32(0.25), "cohere2.attention.layer_norm_epsilon": float32(1e-6)},
		"mistral3": {"mistral3.attention.temperature_scale": float32(0.1), "mistral3.rope.scaling.original_context_length": uint32(8), "mistral3.rope.scaling.yarn_beta_fast": float32(16)},
		"olmo2":    {"olmo2.rope.scaling.type": "yarn", "olmo2.rope.scaling.attn_factor": float32(1.25 / (1 + 0.1*math.Log(8)))},
	} {
		a, _ := architectureNamed(name)
		s := all[name]
		asGGUF := a.asGGUF(&s)
		for _, k := range a.describe(&asGGUF).keys() {
			if v, ok := want[k.name]; ok && !kv.Absent(k.place) {
				if got := reflect.Indirect(reflect.ValueOf(k.place).Elem()).Interface(); got != v {
					t.Errorf("%s is %v, want %v", k.name, got, v)
				}
				delete(want, k.name)
			}
		}
		for name := range want {
			t.Errorf("%s is not written", name)
		}
	}
}

// Features that no graph has in this combination are refused by name.
func TestKinNearMisses(t *testing.T) {
	for want, c := range map[string]struct {
		arch   string
		change func(s *model.Spec)
	}{
		"logits capped at 20 in GGUF's architecture granite":           {"granite", func(s *model.Spec) { s.LogitCap = 20 }},
		"outputs of layers scaled by 0.5 in GGUF's architecture gemma": {"gemma", func(s *model.Spec) { s.ResidScale = 0.5 }},
		"attnscale in GGUF's architecture gemma2":                      {"gemma2", func(s *model.Spec) { s.AttnScale = 0.5 }},
		"query and key norm heads":                                     {"command-r", func(s *model.Spec) { s.QKNorm = "heads" }},
		"tied in GGUF's architecture olmo2":                            {"olmo2", func(s *model.Spec) { s.Tied = true }},
		"attention temperature from position 9 in GGUF's architecture": {"mistral3", func(s *model.Spec) { s.Temperature.Length = 9 }},
	} {
		s := kinSpecs()[c.arch]
		c.change(&s)
		if _, err := choose("tiny", &s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A YaRN that the graph lacks becomes divisors of the frequencies, as in every architecture
// with such a tensor.
func TestYarnAsFactors(t *testing.T) {
	s := specs()["llama"]
	s.Rope = model.Rope{Base: 1e4, Scaling: model.RopeYarn, Factor: 4, LowFreq: 1, HighFreq: 4, Original: 16, Scale: 1.5}
	_, data := write(t, filled(t, s))
	got := opened(t, data).Spec.Rope
	if got.Scaling != model.RopeFactors || got.Scale != 1.5 || !slices.IsSorted(got.Factors) || got.Factors[0] != 1 || got.Factors[7] != 4 {
		t.Errorf("rope is %+v", got)
	}
}
