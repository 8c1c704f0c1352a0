package convert

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

func TestFixtures(t *testing.T) {
	llama := model.Spec{Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 16, FFN: 160, Vocab: 384, Context: 256, Blocks: 3, Schedule: []int{0, 1, 2},
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: 1, EOS: []int{2}}
	biases := llama
	biases.Hidden, biases.HeadDim, biases.FFN, biases.Blocks, biases.Schedule = 56, 20, 120, 2, []int{0, 1}
	biases.Bias = model.Bias{QKV: true, O: true, FFN: true}
	llama3 := llama
	llama3.Heads, llama3.KVHeads, llama3.HeadDim = 2, 1, 32
	llama3.Rope = model.Rope{Base: 500000, Scaling: model.RopeLlama3, Factor: 8, LowFreq: 1, HighFreq: 4, Original: 32}
	linear := llama
	linear.KVHeads, linear.Blocks, linear.Schedule = 4, 2, []int{0, 1}
	linear.Rope = model.Rope{Base: 10000, Scaling: model.RopeLinear, Factor: 4}
	tied := llama
	tied.Rope.Base, tied.Tied = 100000, true
	mobile := llama
	mobile.Hidden, mobile.Heads, mobile.KVHeads, mobile.FFN, mobile.Blocks, mobile.Schedule, mobile.Tied = 48, 3, 1, 128, 4, []int{0, 1, 2, 3}, true
	sharing := mobile
	sharing.Schedule = []int{0, 0, 1, 1, 2, 2, 3, 3}
	ragged := llama
	ragged.Hidden, ragged.Heads, ragged.KVHeads, ragged.HeadDim, ragged.FFN, ragged.Vocab, ragged.Blocks, ragged.Schedule = 72, 6, 3, 12, 200, 391, 2, []int{0, 1}
	mistral := llama
	mistral.HeadDim, mistral.Attention, mistral.NormEps = 24, []model.Attention{{Window: 21}, {Window: 21}, {Window: 21}}, 1e-6
	qwen2 := llama
	qwen2.Attention, qwen2.NormEps, qwen2.Rope.Base, qwen2.Bias.QKV, qwen2.Tied = []model.Attention{{}, {Window: 21}, {Window: 21}}, 1e-6, 1e6, true, true
	qwen3 := llama
	qwen3.HeadDim, qwen3.NormEps, qwen3.Rope.Base, qwen3.QKNorm = 32, 1e-6, 1e6, model.QKGain
	phi := llama
	phi.Hidden, phi.Heads, phi.KVHeads, phi.HeadDim, phi.FFN = 60, 3, 3, 20, 152
	phi.Norm, phi.Parallel, phi.Ungated, phi.Activation, phi.Rope.Dims = model.NormLayer, true, true, model.GELUTanh, 8
	phi.Bias = model.Bias{QKV: true, O: true, FFN: true, Head: true}
	gemma3 := llama
	gemma3.Blocks, gemma3.Schedule, gemma3.HeadDim, gemma3.NormEps, gemma3.Tied = 4, []int{0, 1, 2, 3}, 24, 1e-6, true
	gemma3.Norm, gemma3.QKNorm, gemma3.PostNorm, gemma3.Activation = model.NormRMS1, model.QKGain, true, model.GELUTanh
	gemma3.EmbedScale, gemma3.AttnScale = 8, 0.22360679774997896
	gemma3.Rope, gemma3.Ropes = model.Rope{Base: 1e6, Scaling: model.RopeLinear, Factor: 8}, []model.Rope{{Base: 10000}}
	gemma3.Attention = []model.Attention{{Window: 21, Rope: 1}, {Window: 21, Rope: 1}, {}, {Window: 21, Rope: 1}}
	llama4 := llama
	llama4.Blocks, llama4.Schedule, llama4.HeadDim, llama4.Tied, llama4.QKNorm = 4, []int{0, 1, 2, 3}, 24, true, model.QKBare
	llama4.Rope = model.Rope{Base: 500000, Pairs: true}
	llama4.Attention = []model.Attention{{Chunk: 21}, {Chunk: 21}, {Rope: model.NoRope}, {}}

	single := []string{"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}
	withPieces := []string{"model.safetensors", "config.json", "tokenizer.model", "tokenizer_config.json"}
	sharded := append([]string{"model.safetensors.index.json", "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
		"model-00003-of-00003.safetensors"}, single[1:]...)
	facebook := []string{"share_embedding=true", "layer_sharing=true"}
	for _, c := range []fixture{
		{"llama-sharded", nil, llama, qtensor.F16, sharded,
			[]string{"model.layers.*.self_attn.rotary_emb.inv_freq (3 of them): dropped, computed from config.json instead"}, "llama"},
		{"llama-biases", nil, biases, qtensor.F32, single, nil, "llama"},
		{"llama3-rope", nil, llama3, qtensor.BF16, single, nil, "llama"},
		{"llama-linear", nil, linear, qtensor.F16, single, nil, "llama"},
		{"llama-tied", nil, tied, qtensor.BF16, single, nil, "llama"},
		{"mobilellm", nil, mobile, qtensor.F16, single, nil, "mobilellm"},
		{"mobilellm-ls", nil, sharing, qtensor.F16, single, nil, "mobilellm"},
		{"mobilellm-facebook", facebook, sharing, qtensor.F16, withPieces, nil, "llama"},
		{"ragged", nil, ragged, qtensor.F32, single, nil, "llama"},
		{"mistral", nil, mistral, qtensor.BF16, single, nil, "mistral"},
		{"qwen2", nil, qwen2, qtensor.BF16, single, nil, "qwen2"},
		{"qwen3", nil, qwen3, qtensor.BF16, single, nil, "qwen3"},
		{"gemma3", nil, gemma3, qtensor.BF16, single, nil, "gemma3_text"},
		{"llama4", nil, llama4, qtensor.BF16, single, []string{"config.json lacks 1 key; transformers' defaults for llama4_text apply: no_rope_layer_interval 4"}, "llama4_text"},
		{"phi", nil, phi, qtensor.F16, single, nil, "phi"},
	} {
		t.Run(c.name, c.check)
	}
}

// A fixture is a folder of fixtures/ and what Open makes of it.
type fixture struct {
	name      string
	set       []string
	spec      model.Spec
	kind      qtensor.Kind
	files     []string
	notes     []string
	modelType string
}

func (c fixture) check(t *testing.T) {
	dir := filepath.Join("..", "fixtures", c.name)
	m, err := Open(dir, Options{Set: c.set})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if diff := cmp.Diff(c.spec, m.Spec); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(c.notes, m.Notes); diff != "" {
		t.Error(diff)
	}
	files := slices.Clone(c.files)
	for i := range files {
		files[i] = filepath.Join(dir, files[i])
	}
	if diff := cmp.Diff(files, m.Files); diff != "" {
		t.Error(diff)
	}
	want := model.Provenance{Architecture: c.modelType, Overrides: slices.Sorted(slices.Values(c.set))}
	if diff := cmp.Diff(want.Overrides, m.Provenance.Overrides, cmp.Transformer("empty", func(s []string) string { return fmt.Sprint(s) })); diff != "" {
		t.Error(diff)
	}
	if m.Provenance.Architecture != want.Architecture || m.Path != dir {
		t.Errorf("architecture %q, path %q", m.Provenance.Architecture, m.Path)
	}
	for name, x := range m.Tensors {
		if x.Scheme != (qtensor.Scheme{Kind: c.kind}) {
			t.Errorf("%s: %v", name, x.Scheme)
		}
	}
	d, err := m.Tokenizer()
	if err != nil || d == nil || len(d.Tokens) != m.Spec.Vocab {
		t.Errorf("tokenizer: %v", err)
	}
}
