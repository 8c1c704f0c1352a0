package arch

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
)

// gemma3n returns the text config of Gemma 3n E2B, as published, with 12 of its blocks and more keys.
func gemma3n(more string) string {
	return `{"model_type":"gemma3n_text","activation_sparsity_pattern":[0.95,0.95,0.95,0.95,0.95,0.95,0.95,0.95,0.95,0.95,0.0,0.0],"altup_active_idx":0,
		"altup_coef_clip":120.0,"altup_correct_scale":true,"altup_lr_multiplier":1.0,"altup_num_inputs":4,"attention_bias":false,"attention_dropout":0.0,
		"final_logit_softcapping":30.0,"head_dim":256,"hidden_activation":"gelu_pytorch_tanh","hidden_size":2048,"hidden_size_per_layer_input":256,
		"initializer_range":0.02,"intermediate_size":[8192,8192,8192,8192,8192,8192,8192,8192,8192,8192,8192,8192],"laurel_rank":64,
		"layer_types":["sliding_attention","sliding_attention","sliding_attention","sliding_attention","full_attention","sliding_attention",
		"sliding_attention","sliding_attention","sliding_attention","full_attention","sliding_attention","full_attention"],
		"max_position_embeddings":32768,"num_attention_heads":8,"num_hidden_layers":12,"num_key_value_heads":2,"num_kv_shared_layers":2,
		"rms_norm_eps":1e-06,"rope_local_base_freq":10000.0,"rope_scaling":null,"rope_theta":1000000.0,"sliding_window":512,
		"torch_dtype":"bfloat16","use_cache":true,"vocab_size":262400,"vocab_size_per_layer_input":262144` + more + `}`
}

func TestGemma3n(t *testing.T) {
	local := model.Attention{Window: 512, Rope: 1}
	want := model.Spec{
		Hidden: 2048, Heads: 8, KVHeads: 2, HeadDim: 256, FFN: 8192, Vocab: 262400, Context: 32768, Blocks: 12, Schedule: model.InOrder(12, 1),
		NormEps: 1e-6, QKNorm: model.QKGain, VNorm: true, PostNorm: true, Activation: model.GELUTanh, EmbedScale: math.Sqrt(2048), AttnScale: 1, LogitCap: 30,
		Attention: []model.Attention{local, local, local, local, {}, local, local, local, local, {}, {Window: 512, Rope: 1, Back: 2}, {Back: 2}},
		Layer:     model.LayerInput{Width: 256, Vocab: 262144}, AltUp: model.AltUp{Streams: 4, Scaled: true}, Laurel: 64,
		Sparsity: slices.Concat(slices.Repeat([]float64{0.95}, 10), make([]float64, 2)),
		Rope:     model.Rope{Base: 1e6}, Ropes: []model.Rope{{Base: 1e4}}, Tied: true, BOS: 2, EOS: []int{1, 106},
	}
	const tokens = `,"bos_token_id":2,"eos_token_id":[1,106]`
	_, got, err := read(gemma3n(tokens))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("as published (-want +got):\n%s", diff)
	}
	_, got, err = read(gemma3n(tokens), "activation_sparsity_pattern=null", "intermediate_size=8192")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("by defaults: %v (-want +got):\n%s", err, diff)
	}
	widths := []int{8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192, 16384}
	_, got, err = read(gemma3n(tokens), "intermediate_size=[8192,8192,8192,8192,8192,8192,8192,8192,8192,8192,8192,16384]", "activation_sparsity_pattern=[0,0,0,0,0,0,0,0,0,0,0,0]")
	if err != nil || !slices.Equal(got.FFNs, widths) || got.FFN != 8192 || got.Sparsity != nil {
		t.Errorf("widths %v (%d), sparsity %v, %v", got.FFNs, got.FFN, got.Sparsity, err)
	}
}

func TestGemma3nRefused(t *testing.T) {
	for set, want := range map[string]string{
		"altup_active_idx=1":                                    "altup_active_idx: 1 (want 0) is not supported",
		"altup_num_inputs=1":                                    "1 streams, want 2 to 8",
		"altup_num_inputs=9":                                    "altup_num_inputs: 9, want 1 to 8",
		"intermediate_size=[8192,8192]":                         "intermediate_size: 2 widths for 12 blocks",
		"activation_sparsity_pattern=[0.95]":                    "activation_sparsity_pattern: want a list of 12 numbers, found 1",
		"activation_sparsity_pattern=0.95":                      "activation_sparsity_pattern: want a list of numbers, found 0.95",
		"num_kv_shared_layers=11":                               "num_kv_shared_layers: 11: block 4 has no earlier block of its kind with keys",
		"hidden_size_per_layer_input=0":                         "without an input of each layer",
		"activation_sparsity_pattern=[1,1,1,1,1,1,1,1,1,1,1,1]": "sparsity of block 0 is 1, want 0 to less than 1",
	} {
		if _, _, err := read(gemma3n(""), set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", set, err, want)
		}
	}
}
