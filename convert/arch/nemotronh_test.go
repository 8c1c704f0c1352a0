package arch

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
)

// nemotronH is a config of Nemotron-H with five layers, in the form that is published.
const nemotronH = `{"architectures":["NemotronHForCausalLM"],"model_type":"nemotron_h","attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,
	"auto_map":{"AutoConfig":"configuration_nemotron_h.NemotronHConfig"},"attention_head_dim":128,
	"chunk_size":128,"conv_kernel":4,"eos_token_id":12,"expand":2,"head_dim":128,"hidden_dropout":0.0,"hidden_size":3072,"hybrid_override_pattern":"M-M*-",
	"initializer_range":0.02,"intermediate_size":12288,"layer_norm_epsilon":1e-05,"mamba_head_dim":64,"mamba_hidden_act":"silu","mamba_num_heads":112,
	"mamba_proj_bias":false,"max_position_embeddings":8192,"mlp_bias":false,"mlp_hidden_act":"relu2","n_groups":8,"num_attention_heads":32,
	"num_hidden_layers":5,"num_key_value_heads":8,"num_logits_to_keep":1,"pad_token_id":0,"rescale_prenorm_residual":true,"residual_in_fp32":false,
	"rms_norm_eps":1e-05,"sliding_window":null,"ssm_state_size":128,"tie_word_embeddings":false,"time_step_floor":0.0001,"time_step_limit":[0.0,Infinity],
	"time_step_max":0.1,"time_step_min":0.001,"time_step_rank":256,"torch_dtype":"bfloat16","use_bias":false,"use_cache":true,"use_conv_bias":true,
	"use_mamba_kernels":true,"vocab_size":131072}`

func TestNemotronH(t *testing.T) {
	scan := model.Attention{Scan: 4, Rope: model.NoRope, Alone: true}
	ffn, attends := model.Attention{Rope: model.NoRope, Absent: true}, model.Attention{Rope: model.NoRope, Alone: true}
	want := model.Spec{
		Hidden: 3072, Heads: 32, KVHeads: 8, HeadDim: 128, FFN: 12288, Vocab: 131072, Context: 8192, Blocks: 5, Schedule: model.InOrder(5, 1),
		Attention: []model.Attention{scan, ffn, scan, attends, ffn}, NormEps: 1e-5, Ungated: true, Activation: model.ReLU2, Rope: model.Rope{Base: 10000},
		Scan: model.Scan{Heads: 112, HeadDim: 64, State: 128, Groups: 8, ConvBias: true, MinStep: 0.001}, BOS: 1, EOS: []int{12},
	}
	for name, set := range map[string][]string{
		"as published":   nil,
		"transformers 5": {"hybrid_override_pattern=null", `layers_block_type=["linear_attention","mlp","mamba","attention","mlp"]`, "num_hidden_layers=null"},
		"other names":    {"n_groups=null", "mamba_n_groups=8", "conv_kernel=null", "mamba_d_conv=4"},
	} {
		_, got, err := read(nemotronH, set...)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	for set, want := range map[string]string{
		"hybrid_override_pattern=M-E*-":               `hybrid_override_pattern: a layer "E" (want M, * or -, or linear_attention, full_attention or mlp) is not supported`,
		"hybrid_override_pattern=M-M":                 "num_hidden_layers: 5, but there are 3 layers",
		"hybrid_override_pattern=null":                "hybrid_override_pattern: key is missing",
		"use_bias=true":                               "use_bias: true (want false) is not supported",
		"mamba_hidden_act=gelu":                       `mamba_hidden_act: "gelu" (want silu) is not supported`,
		"sliding_window=100":                          "sliding_window: 100, in a context of 8192, is not supported",
		`layer_types=["moe","mlp","mlp","mlp","mlp"]`: `layer_types: a layer "moe" (want M`,
	} {
		if _, _, err := read(nemotronH, set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", set, err, want)
		}
	}
}
