package arch

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
)

// graniteHybrid is a config of Granite 4.0 H with four blocks, in the form that is published.
const graniteHybrid = `{"architectures":["GraniteMoeHybridForCausalLM"],"model_type":"granitemoehybrid","attention_bias":false,"attention_dropout":0.0,
	"attention_multiplier":0.015625,"bos_token_id":100257,"embedding_multiplier":12,"eos_token_id":100257,"hidden_act":"silu","hidden_size":768,
	"init_method":"mup","initializer_range":0.1,"intermediate_size":2048,"layer_types":["mamba","attention","mamba","mamba"],"logits_scaling":3,
	"mamba_chunk_size":256,"mamba_conv_bias":true,"mamba_d_conv":4,"mamba_d_head":32,"mamba_d_state":128,"mamba_expand":2,"mamba_n_groups":1,
	"mamba_n_heads":48,"mamba_proj_bias":false,"max_position_embeddings":32768,"normalization_function":"rmsnorm","num_attention_heads":12,
	"num_experts_per_tok":0,"num_hidden_layers":4,"num_key_value_heads":4,"num_local_experts":0,"output_router_logits":false,"pad_token_id":100256,
	"position_embedding_type":"nope","residual_multiplier":0.263,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000,
	"router_aux_loss_coef":0.0,"shared_intermediate_size":2048,"tie_word_embeddings":true,"torch_dtype":"bfloat16","use_cache":true,"vocab_size":100352}`

func TestGraniteHybrid(t *testing.T) {
	scan, attends := model.Attention{Scan: 4, Rope: model.NoRope}, model.Attention{Rope: model.NoRope}
	want := model.Spec{
		Hidden: 768, Heads: 12, KVHeads: 4, HeadDim: 64, FFN: 2048, Vocab: 100352, Context: 32768, Blocks: 4, Schedule: model.InOrder(4, 1),
		Attention: []model.Attention{scan, attends, scan, scan}, Scan: model.Scan{Heads: 48, HeadDim: 32, State: 128, Groups: 1, ConvBias: true},
		NormEps: 1e-5, EmbedScale: 12, AttnScale: 0.015625, ResidScale: 0.263, LogitScale: 1.0 / 3, Rope: model.Rope{Base: 10000}, Tied: true,
		BOS: 100257, EOS: []int{100257},
	}
	for name, set := range map[string][]string{
		"as published":    nil,
		"transformers 5":  {`layer_types=["linear_attention","full_attention","linear_attention","linear_attention"]`, "position_embedding_type=null", `time_step_limit=[0.0,{"__float__":"Infinity"}]`},
		"width by itself": {"mamba_d_head=auto"},
	} {
		_, got, err := read(strings.Replace(graniteHybrid, `"use_cache"`, `"time_step_limit":[0.0,Infinity],"use_cache"`, 1), set...)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	_, got, err := read(graniteHybrid, "num_local_experts=8", "num_experts_per_tok=2", "shared_intermediate_size=1024", "position_embedding_type=rope", "time_step_limit=[0.1,2]")
	experts := model.Experts{Count: 8, Used: 2, FFN: 2048, Normalized: true, Shared: 1024}
	if err != nil || !cmp.Equal(got.Experts, experts) || got.Attention[1] != (model.Attention{}) || got.Scan.MinStep != 0.1 || got.Scan.MaxStep != 2 {
		t.Errorf("experts %+v, attention %+v, state space %+v, %v", got.Experts, got.Attention, got.Scan, err)
	}
	_, got, err = read(graniteHybrid, `layer_types=["attention","attention","attention","attention"]`)
	if err != nil || got.Scan != (model.Scan{}) {
		t.Errorf("without state spaces: %+v, %v", got.Scan, err)
	}
}

func TestStateSpacesRefused(t *testing.T) {
	for set, want := range map[string]string{
		"mamba_n_heads=50":                              "mamba_n_heads: 50 heads of 32, want 1536 together",
		"mamba_n_groups=5":                              "48 heads of the state space are not divisible by 5 groups",
		"mamba_proj_bias=true":                          "mamba_proj_bias: true (want false) is not supported",
		"mamba_d_state=2048":                            "mamba_d_state: 2048, want 1 to 1024",
		"hidden_act=gelu":                               "hidden_act: other than silu is not supported",
		"position_embedding_type=alibi":                 `position_embedding_type: "alibi" (want rope or nope) is not supported`,
		`layer_types=["mamba","mamba","moe","mamba"]`:   `layer_types: "moe" (want one of linear_attention, mamba, full_attention, attention) is not supported`,
		"time_step_limit=0.1":                           "time_step_limit: want a list of two numbers, found 0.1",
		`time_step_limit=[{"__float__":"Infinity"}, 1]`: "time_step_limit: want a list of two numbers",
		"time_step_limit=[0,0]":                         "time_step_limit: from 0 to 0, want positive numbers",
		"time_step_limit=[2,1]":                         "steps of the state space are from 2 to 1",
	} {
		if _, _, err := read(graniteHybrid, set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", set, err, want)
		}
	}
}

// falconH1 is a config of Falcon-H1 with two blocks, in the form that is published.
const falconH1 = `{"architectures":["FalconH1ForCausalLM"],"model_type":"falcon_h1","attention_bias":false,"attention_dropout":0.0,"attention_in_multiplier":2.0,
	"attention_out_multiplier":0.9375,"attn_layer_indices":null,"bos_token_id":1,"embedding_multiplier":5.5,"eos_token_id":11,"head_dim":64,
	"hidden_act":"silu","hidden_size":1024,"initializer_range":0.02,"intermediate_size":2048,"key_multiplier":0.5,"lm_head_multiplier":0.0390625,
	"mamba_chunk_size":128,"mamba_conv_bias":true,"mamba_d_conv":4,"mamba_d_head":64,"mamba_d_ssm":1536,"mamba_d_state":128,"mamba_expand":2,
	"mamba_n_groups":1,"mamba_n_heads":24,"mamba_norm_before_gate":false,"mamba_proj_bias":false,"mamba_rms_norm":false,"mamba_use_mlp":true,
	"max_position_embeddings":16384,"mlp_bias":false,"mlp_expansion_factor":8,"mlp_multipliers":[0.875,0.5],"num_attention_heads":8,"num_hidden_layers":2,
	"num_key_value_heads":2,"num_logits_to_keep":1,"pad_token_id":0,"projectors_bias":false,"rms_norm_eps":1e-05,"rope_scaling":null,
	"rope_theta":100000000000.0,"ssm_in_multiplier":1.25,"ssm_multipliers":[0.5,0.25,0.125,1.0,0.8],"ssm_out_multiplier":0.75,
	"tie_word_embeddings":false,"torch_dtype":"bfloat16","use_cache":true,"vocab_size":32784}`

func TestFalconH1(t *testing.T) {
	want := model.Spec{
		Hidden: 1024, Heads: 8, KVHeads: 2, HeadDim: 64, FFN: 2048, Vocab: 32784, Context: 16384, Blocks: 2, Schedule: model.InOrder(2, 1),
		Attention: slices.Repeat([]model.Attention{{Scan: 4, Beside: true}}, 2), NormEps: 1e-5, Rope: model.Rope{Base: 1e11},
		Scan:       model.Scan{Heads: 24, HeadDim: 64, State: 128, Groups: 1, ConvBias: true, Norm: model.ScanUnnormed},
		EmbedScale: 5.5, LogitScale: 0.0390625, AttnScale: 1.0 / 8 * 2 * 2 * 0.5, BOS: 1, EOS: []int{11},
		Scales: model.Scales{O: 1.875, Gate: 0.875, Down: 0.5, ScanGate: 0.625, ScanX: 0.3125, ScanB: 0.15625, ScanC: 1.25, ScanOut: 0.75},
	}
	_, got, err := read(falconH1)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	_, got, err = read(falconH1, "mamba_rms_norm=true", "ssm_multipliers=null", "mlp_multipliers=null", "mamba_d_ssm=null", "mamba_n_heads=32")
	if err != nil || got.Scan.Norm != model.ScanGated || got.Scan.Heads != 32 || got.Scales.Gate != 0 || math.Abs(got.Scales.ScanStep-1.25) > 1e-9 {
		t.Errorf("%+v, %+v, %v", got.Scan, got.Scales, err)
	}
	_, got, err = read(falconH1, "mamba_rms_norm=true", "mamba_norm_before_gate=true")
	if err != nil || got.Scan.Norm != model.ScanNormed {
		t.Errorf("%+v, %v", got.Scan, err)
	}
	for set, want := range map[string]string{
		"projectors_bias=true":       "projectors_bias: true (want false) is not supported",
		"attention_bias=true":        "attention_in_multiplier: 2, with attention_bias is not supported",
		"ssm_multipliers=[1,1]":      "ssm_multipliers: want 5 positive numbers, found [1 1]",
		"mlp_multipliers=[1,0]":      "mlp_multipliers: want 2 positive numbers, found [1 0]",
		"key_multiplier=-1":          "key_multiplier: -1, want a positive number",
		"mamba_d_ssm=1000":           "mamba_n_heads: 24 heads of 64, want 1000 together",
		"ssm_out_multiplier=\"one\"": `ssm_out_multiplier: want a number, found "one"`,
	} {
		if _, _, err := read(falconH1, set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", set, err, want)
		}
	}
}
