package arch

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
)

// windows is the attention of n blocks, of which those from first on have a
// window.
func windows(n, first, window int) []model.Attention {
	a := make([]model.Attention, n)
	for b := first; b < n; b++ {
		a[b].Window = window
	}
	return a
}

// The keys and values are those of published models.
func TestPublishedArchitectures(t *testing.T) {
	for _, c := range []struct {
		name, text string
		set        []string
		want       model.Spec
	}{
		{"Mistral 7B v0.1", `{"architectures":["MistralForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,
			"initializer_range":0.02,"intermediate_size":14336,"max_position_embeddings":32768,"model_type":"mistral","num_attention_heads":32,
			"num_hidden_layers":32,"num_key_value_heads":8,"rms_norm_eps":1e-05,"rope_theta":10000.0,"sliding_window":4096,
			"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.34.0.dev0","use_cache":true,"vocab_size":32000}`, nil,
			model.Spec{Hidden: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, FFN: 14336, Vocab: 32000, Context: 32768, Blocks: 32,
				Schedule: model.InOrder(32, 1), Attention: windows(32, 0, 4096), NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: 1, EOS: []int{2}}},
		{"Mistral 7B v0.3", `{"architectures":["MistralForCausalLM"],"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,"head_dim":96,
			"hidden_act":"silu","hidden_size":4096,"intermediate_size":14336,"max_position_embeddings":32768,"model_type":"mistral",
			"num_attention_heads":32,"num_hidden_layers":2,"num_key_value_heads":8,"rms_norm_eps":1e-05,"rope_theta":1000000.0,
			"sliding_window":null,"tie_word_embeddings":false,"vocab_size":32768}`, nil,
			model.Spec{Hidden: 4096, Heads: 32, KVHeads: 8, HeadDim: 96, FFN: 14336, Vocab: 32768, Context: 32768, Blocks: 2,
				Schedule: []int{0, 1}, NormEps: 1e-5, Rope: model.Rope{Base: 1000000}, BOS: 1, EOS: []int{2}}},
		{"Qwen2.5 0.5B", qwen25, nil,
			model.Spec{Hidden: 896, Heads: 14, KVHeads: 2, HeadDim: 64, FFN: 4864, Vocab: 151936, Context: 32768, Blocks: 24,
				Schedule: model.InOrder(24, 1), NormEps: 1e-6, Rope: model.Rope{Base: 1000000}, Bias: model.Bias{QKV: true}, Tied: true,
				BOS: 151643, EOS: []int{151643}}},
		{"Qwen2.5 with its window", qwen25, []string{"use_sliding_window=true"},
			model.Spec{Hidden: 896, Heads: 14, KVHeads: 2, HeadDim: 64, FFN: 4864, Vocab: 151936, Context: 32768, Blocks: 24,
				Schedule: model.InOrder(24, 1), Attention: windows(24, 21, 32768), NormEps: 1e-6, Rope: model.Rope{Base: 1000000},
				Bias: model.Bias{QKV: true}, Tied: true, BOS: 151643, EOS: []int{151643}}},
		{"Qwen3 0.6B", `{"architectures":["Qwen3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":151643,
			"eos_token_id":151645,"head_dim":128,"hidden_act":"silu","hidden_size":1024,"initializer_range":0.02,"intermediate_size":3072,
			"max_position_embeddings":40960,"max_window_layers":28,"model_type":"qwen3","num_attention_heads":16,"num_hidden_layers":28,
			"num_key_value_heads":8,"rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":1000000,"sliding_window":null,
			"tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.51.0","use_cache":true,
			"use_sliding_window":false,"vocab_size":151936}`, nil,
			model.Spec{Hidden: 1024, Heads: 16, KVHeads: 8, HeadDim: 128, FFN: 3072, Vocab: 151936, Context: 40960, Blocks: 28,
				Schedule: model.InOrder(28, 1), NormEps: 1e-6, QKNorm: model.QKGain, Rope: model.Rope{Base: 1000000}, Tied: true,
				BOS: 151643, EOS: []int{151645}}},
		{"Phi-2", `{"_name_or_path":"microsoft/phi-2","architectures":["PhiForCausalLM"],"attention_dropout":0.0,"bos_token_id":50256,
			"embd_pdrop":0.0,"eos_token_id":50256,"hidden_act":"gelu_new","hidden_size":2560,"initializer_range":0.02,
			"intermediate_size":10240,"layer_norm_eps":1e-05,"max_position_embeddings":2048,"model_type":"phi","num_attention_heads":32,
			"num_hidden_layers":32,"num_key_value_heads":32,"partial_rotary_factor":0.4,"qk_layernorm":false,"resid_pdrop":0.1,
			"rope_scaling":null,"rope_theta":10000.0,"tie_word_embeddings":false,"torch_dtype":"float16",
			"transformers_version":"4.37.0","use_cache":true,"vocab_size":51200}`, nil,
			model.Spec{Hidden: 2560, Heads: 32, KVHeads: 32, HeadDim: 80, FFN: 10240, Vocab: 51200, Context: 2048, Blocks: 32,
				Schedule: model.InOrder(32, 1), Norm: model.NormLayer, NormEps: 1e-5, Parallel: true, Ungated: true, Activation: model.GELUTanh,
				Rope: model.Rope{Base: 10000, Dims: 32}, Bias: model.Bias{QKV: true, O: true, FFN: true, Head: true}, BOS: 50256, EOS: []int{50256}}},
		{"Gemma 3 1B", `{"architectures":["Gemma3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"attn_logit_softcapping":null,
			"bos_token_id":2,"cache_implementation":"hybrid","eos_token_id":[1,106],"final_logit_softcapping":null,"head_dim":256,
			"hidden_activation":"gelu_pytorch_tanh","hidden_size":1152,"initializer_range":0.02,"intermediate_size":6912,
			"max_position_embeddings":32768,"model_type":"gemma3_text","num_attention_heads":4,"num_hidden_layers":7,
			"num_key_value_heads":1,"pad_token_id":0,"query_pre_attn_scalar":256,"rms_norm_eps":1e-06,"rope_local_base_freq":10000,
			"rope_scaling":null,"rope_theta":1000000,"sliding_window":512,"sliding_window_pattern":6,"torch_dtype":"bfloat16",
			"transformers_version":"4.50.0.dev0","use_cache":true,"vocab_size":262144}`, nil, gemma3},
		{"Gemma 3 by transformers 5", `{"architectures":["Gemma3ForCausalLM"],"_sliding_window_pattern":6,"bos_token_id":2,"eos_token_id":[1,106],
			"head_dim":256,"hidden_activation":"gelu_pytorch_tanh","hidden_size":1152,"intermediate_size":6912,"layer_types":["sliding_attention",
			"sliding_attention","sliding_attention","sliding_attention","sliding_attention","full_attention","sliding_attention"],
			"max_position_embeddings":32768,"model_type":"gemma3_text","num_attention_heads":4,"num_hidden_layers":7,"num_key_value_heads":1,
			"query_pre_attn_scalar":256,"rms_norm_eps":1e-06,"rope_parameters":{"full_attention":{"rope_theta":1000000,"rope_type":"default"},
			"sliding_attention":{"rope_type":"default"}},"sliding_window":512,"tie_word_embeddings":true,
			"use_bidirectional_attention":false,"vocab_size":262144}`, nil, gemma3},
		{"MobileLLM-R1, small", llama4(`"attn_temperature_tuning":false,"tie_word_embeddings":true`), nil,
			model.Spec{Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 24, FFN: 160, Vocab: 32, Context: 32768, Blocks: 5, Schedule: model.InOrder(5, 1),
				NormEps: 1e-5, QKNorm: model.QKBare, Rope: model.Rope{Base: 500000, Pairs: true}, Tied: true, BOS: -1,
				Attention: []model.Attention{{Chunk: 9}, {Chunk: 9}, {Chunk: 9}, {Rope: model.NoRope}, {Chunk: 9}}}},
		{"Llama 4 without still blocks", llama4(`"no_rope_layers":[1,1,1,1,1,0],"use_qk_norm":false`), nil, // the sixth is not there
			model.Spec{Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 24, FFN: 160, Vocab: 32, Context: 32768, Blocks: 5, Schedule: model.InOrder(5, 1),
				NormEps: 1e-5, Rope: model.Rope{Base: 500000, Pairs: true}, BOS: -1,
				Attention: []model.Attention{{Chunk: 9}, {Chunk: 9}, {Chunk: 9}, {Chunk: 9}, {Chunk: 9}}}},
		{"DeepSeek-V2-Lite", `{"architectures":["DeepseekV2ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
			"auto_map":{"AutoModelForCausalLM":"modeling_deepseek.DeepseekV2ForCausalLM"},"aux_loss_alpha":0.001,"bos_token_id":100000,
			"eos_token_id":100001,"first_k_dense_replace":1,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,
			"intermediate_size":10944,"kv_lora_rank":512,"max_position_embeddings":163840,"model_type":"deepseek_v2","moe_intermediate_size":1408,
			"moe_layer_freq":1,"n_group":1,"n_routed_experts":64,"n_shared_experts":2,"norm_topk_prob":false,"num_attention_heads":16,
			"num_experts_per_tok":6,"num_hidden_layers":27,"num_key_value_heads":16,"pretraining_tp":1,"q_lora_rank":null,"qk_nope_head_dim":128,
			"qk_rope_head_dim":64,"rms_norm_eps":1e-06,"rope_scaling":{"beta_fast":32,"beta_slow":1,"factor":40,"mscale":0.707,
			"mscale_all_dim":0.707,"original_max_position_embeddings":4096,"type":"yarn"},"rope_theta":10000,"routed_scaling_factor":1.0,
			"scoring_func":"softmax","seq_aux":true,"tie_word_embeddings":false,"topk_group":1,"topk_method":"greedy","torch_dtype":"bfloat16",
			"transformers_version":"4.33.1","use_cache":true,"v_head_dim":128,"vocab_size":102400}`, nil,
			model.Spec{Hidden: 2048, Heads: 16, KVHeads: 16, HeadDim: 192, FFN: 10944, Vocab: 102400, Context: 163840, Blocks: 27,
				Schedule: model.InOrder(27, 1), NormEps: 1e-6, Latent: model.Latent{KeyValue: 512, Value: 128, Eps: 1e-6},
				AttnScale: model.YarnScale(40, 0.707) * model.YarnScale(40, 0.707) / math.Sqrt(192), Experts: model.Experts{Count: 64, Used: 6, FFN: 1408, Shared: 2816, Dense: []int{0}},
				Rope: model.Rope{Base: 10000, Dims: 64, Pairs: true, Scaling: model.RopeYarn, Factor: 40, LowFreq: 1, HighFreq: 32, Original: 4096},
				BOS:  100000, EOS: []int{100001}}},
		{"Moonlight 16B-A3B", `{"architectures":["DeepseekV3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
			"auto_map":{"AutoModelForCausalLM":"modeling_deepseek.DeepseekV3ForCausalLM"},"aux_loss_alpha":0.001,"bos_token_id":163584,
			"eos_token_id":163585,"ep_size":1,"first_k_dense_replace":1,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,
			"intermediate_size":11264,"kv_lora_rank":512,"max_position_embeddings":8192,"model_type":"deepseek_v3","moe_intermediate_size":1408,
			"moe_layer_freq":1,"n_group":1,"n_routed_experts":64,"n_shared_experts":2,"norm_topk_prob":true,"num_attention_heads":16,
			"num_experts_per_tok":6,"num_hidden_layers":27,"num_key_value_heads":16,"num_nextn_predict_layers":0,"pretraining_tp":1,
			"q_lora_rank":null,"qk_nope_head_dim":128,"qk_rope_head_dim":64,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":50000.0,
			"routed_scaling_factor":2.446,"scoring_func":"sigmoid","seq_aux":true,"tie_word_embeddings":false,"topk_group":1,
			"topk_method":"noaux_tc","torch_dtype":"bfloat16","use_cache":true,"v_head_dim":128,"vocab_size":163840}`, nil,
			model.Spec{Hidden: 2048, Heads: 16, KVHeads: 16, HeadDim: 192, FFN: 11264, Vocab: 163840, Context: 8192, Blocks: 27,
				Schedule: model.InOrder(27, 1), NormEps: 1e-5, Latent: model.Latent{KeyValue: 512, Value: 128, Eps: 1e-6},
				Experts: model.Experts{Count: 64, Used: 6, FFN: 1408, Sigmoid: true, Selects: true, Normalized: true, Scale: 2.446, Shared: 2816, Dense: []int{0}},
				Rope:    model.Rope{Base: 50000, Dims: 64, Pairs: true}, BOS: 163584, EOS: []int{163585}}},
		{"MiniCPM3 4B, with two factors", `{"architectures":["MiniCPM3ForCausalLM"],"auto_map":{"AutoModelForCausalLM":"modeling_minicpm.MiniCPM3ForCausalLM"},
			"attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,"dim_model_base":256,"eos_token_id":[2,73440],"hidden_act":"silu",
			"hidden_size":2560,"initializer_range":0.1,"intermediate_size":6400,"kv_lora_rank":256,"max_position_embeddings":32768,
			"model_type":"minicpm3","num_attention_heads":40,"num_hidden_layers":62,"num_key_value_heads":40,"q_lora_rank":768,
			"qk_nope_head_dim":64,"qk_rope_head_dim":4,"rms_norm_eps":1e-05,"rope_scaling":{"type":"longrope","long_factor":[1.5,2],
			"short_factor":[1,1.25],"original_max_position_embeddings":32768},"scale_depth":1.4,"scale_emb":12,"torch_dtype":"bfloat16",
			"use_cache":true,"vocab_size":73448}`, nil,
			model.Spec{Hidden: 2560, Heads: 40, KVHeads: 40, HeadDim: 68, FFN: 6400, Vocab: 73448, Context: 32768, Blocks: 62,
				Schedule: model.InOrder(62, 1), NormEps: 1e-5, Latent: model.Latent{Query: 768, KeyValue: 256, Value: 64, Eps: 1e-6},
				EmbedScale: 12, ResidScale: 1.4 / math.Sqrt(62), LogitScale: 0.1, Tied: true,
				Rope: model.Rope{Base: 10000, Dims: 4, Scaling: model.RopeFactors, Factors: []float64{1, 1.25}}, BOS: 1, EOS: []int{2, 73440}}},
		{"gpt-oss 20B, with three blocks", `{"architectures":["GptOssForCausalLM"],"attention_bias":true,"attention_dropout":0.0,"eos_token_id":200002,
			"experts_per_token":4,"head_dim":64,"hidden_act":"silu","hidden_size":2880,"initial_context_length":4096,"initializer_range":0.02,
			"intermediate_size":2880,"layer_types":["sliding_attention","full_attention","sliding_attention"],"max_position_embeddings":131072,
			"model_type":"gpt_oss","num_attention_heads":64,"num_experts_per_tok":4,"num_hidden_layers":3,"num_key_value_heads":8,
			"num_local_experts":32,"output_router_logits":false,"pad_token_id":199999,"quantization_config":{"modules_to_not_convert":
			["model.layers.*.self_attn","model.layers.*.mlp.router","model.embed_tokens","lm_head"],"quant_method":"mxfp4"},"rms_norm_eps":1e-05,
			"rope_scaling":{"beta_fast":32.0,"beta_slow":1.0,"factor":32.0,"original_max_position_embeddings":4096,"rope_type":"yarn",
			"truncate":false},"rope_theta":150000,"router_aux_loss_coef":0.9,"sliding_window":128,"swiglu_limit":7.0,"tie_word_embeddings":false,
			"transformers_version":"4.55.0.dev0","use_cache":true,"vocab_size":201088}`, nil,
			model.Spec{Hidden: 2880, Heads: 64, KVHeads: 8, HeadDim: 64, FFN: 2880, Vocab: 201088, Context: 131072, Blocks: 3, Schedule: model.InOrder(3, 1),
				Attention: []model.Attention{{Window: 128}, {}, {Window: 128}}, NormEps: 1e-5, Sinks: true, Activation: model.Clamped,
				Clamp: model.Clamp{Alpha: 1.702, Limit: 7}, Experts: model.Experts{Count: 32, Used: 4, FFN: 2880, Normalized: true, Biases: true},
				Rope: model.Rope{Base: 150000, Scaling: model.RopeYarn, Factor: 32, LowFreq: 1, HighFreq: 32, Original: 4096, Fractional: true,
					Scale: model.YarnScale(32, 1)}, Bias: model.Bias{QKV: true, O: true}, BOS: -1, EOS: []int{200002}}},
		{"Phi by transformers 5", phi(`"rope_parameters":{"rope_type":"default","rope_theta":10000.0,"partial_rotary_factor":0.25}`), nil,
			model.Spec{Hidden: 64, Heads: 4, KVHeads: 4, HeadDim: 16, FFN: 160, Vocab: 32, Context: 128, Blocks: 1,
				Schedule: []int{0}, Norm: model.NormLayer, NormEps: 1e-5, Parallel: true, Ungated: true, Activation: model.GELUTanh,
				Rope: model.Rope{Base: 10000, Dims: 4}, Bias: model.Bias{QKV: true, O: true, FFN: true, Head: true}, BOS: -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, got, err := read(c.text, c.set...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// gemma3 is the Spec of a Gemma 3 1B with 7 blocks: five local, one global, one
// local.
var gemma3 = model.Spec{Hidden: 1152, Heads: 4, KVHeads: 1, HeadDim: 256, FFN: 6912, Vocab: 262144, Context: 32768, Blocks: 7,
	Schedule: model.InOrder(7, 1), Norm: model.NormRMS1, NormEps: 1e-6, QKNorm: model.QKGain, PostNorm: true, Activation: model.GELUTanh,
	EmbedScale: math.Sqrt(1152), Rope: model.Rope{Base: 1e6}, Ropes: []model.Rope{{Base: 1e4}}, Tied: true, BOS: 2, EOS: []int{1, 106},
	Attention: []model.Attention{{Window: 512, Rope: 1}, {Window: 512, Rope: 1}, {Window: 512, Rope: 1}, {Window: 512, Rope: 1},
		{Window: 512, Rope: 1}, {}, {Window: 512, Rope: 1}}}

// llama4 is a small config with more keys.
func llama4(more string) string {
	return `{"model_type":"llama4_text","hidden_act":"silu","hidden_size":64,"intermediate_size":8192,"intermediate_size_mlp":160,"head_dim":24,
		"max_position_embeddings":32768,"num_attention_heads":4,"num_key_value_heads":2,"num_hidden_layers":5,"vocab_size":32,
		"attention_chunk_size":9,"floor_scale":8192,"attn_scale":0.1,"moe_layers":[],"num_local_experts":0,` + more + `}`
}

// phi is a small config with more keys.
func phi(more string) string {
	return `{"model_type":"phi","hidden_act":"gelu_new","hidden_size":64,"intermediate_size":160,"layer_norm_eps":1e-05,
		"max_position_embeddings":128,"num_attention_heads":4,"num_hidden_layers":1,"vocab_size":32,` + more + `}`
}

const qwen25 = `{"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151643,
	"hidden_act":"silu","hidden_size":896,"initializer_range":0.02,"intermediate_size":4864,"max_position_embeddings":32768,
	"max_window_layers":21,"model_type":"qwen2","num_attention_heads":14,"num_hidden_layers":24,"num_key_value_heads":2,
	"rms_norm_eps":1e-06,"rope_theta":1000000.0,"sliding_window":32768,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
	"transformers_version":"4.40.1","use_cache":true,"use_mrope":false,"use_sliding_window":false,"vocab_size":151936}`

// What each architecture does if a key is absent, null or inverted.
func TestWindows(t *testing.T) {
	for _, c := range []struct {
		edits []string
		want  []int // windows of the two blocks; nil is none
	}{
		{[]string{"model_type", `"mistral"`}, []int{4096, 4096}},
		{[]string{"model_type", `"mistral"`, "sliding_window", "7"}, []int{7, 7}},
		{[]string{"model_type", `"mistral"`, "sliding_window", "null"}, nil},
		{[]string{"model_type", `"qwen2"`, "sliding_window", "7"}, nil},
		{[]string{"model_type", `"qwen2"`, "sliding_window", "7", "use_sliding_window", "true", "max_window_layers", "1"}, []int{0, 7}},
		{[]string{"model_type", `"qwen2"`, "sliding_window", "7", "use_sliding_window", "true", "max_window_layers", "0"}, []int{7, 7}},
		{[]string{"model_type", `"qwen2"`, "sliding_window", "7", "use_sliding_window", "true"}, nil},
		{[]string{"model_type", `"qwen2"`, "sliding_window", "null", "use_sliding_window", "true", "max_window_layers", "0"}, nil},
		{[]string{"model_type", `"qwen2"`, "use_sliding_window", "true", "max_window_layers", "0"}, []int{4096, 4096}},
		{[]string{"model_type", `"qwen3"`, "head_dim", "4", "sliding_window", "7", "use_sliding_window", "true",
			"layer_types", `["sliding_attention","full_attention"]`, "max_window_layers", "2"}, []int{7, 0}},
	} {
		_, s, err := read(edited(t, c.edits...))
		if err != nil {
			t.Errorf("%v: %v", c.edits, err)
			continue
		}
		var got []int
		for _, a := range s.Attention {
			got = append(got, a.Window)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: windows %v, want %v", c.edits, got, c.want)
		}
	}
}

func TestArchitecturesRefuse(t *testing.T) {
	for _, c := range []struct {
		edits []string
		want  string
	}{
		{[]string{"model_type", `"mistral"`, "sliding_window", "0"}, "config.json: sliding_window: 0, want 1 to 16777216"},
		{[]string{"model_type", `"mistral"`, "layer_types", `["full_attention","sliding_attention"]`}, `config.json: layer_types: "sliding_attention" (want full_attention in all) is not supported`},
		{[]string{"model_type", `"qwen2"`, "layer_types", `["full_attention"]`}, "config.json: layer_types: want a list of 2 strings, found a list of 1"},
		{[]string{"model_type", `"qwen2"`, "layer_types", `["full_attention",1]`}, "config.json: layer_types: want a list of 2 strings, found 1 among them"},
		{[]string{"model_type", `"qwen2"`, "layer_types", `["full_attention","linear_attention"]`}, `config.json: layer_types: "linear_attention" (want sliding_attention or full_attention) is not supported`},
		{[]string{"model_type", `"qwen2"`, "max_window_layers", "-1"}, "config.json: max_window_layers: want a whole number from 0 to 1024, found -1"},
		{[]string{"model_type", `"gemma3_text"`, "head_dim", "4", "hidden_activation", `"gelu_10"`}, `config.json: hidden_activation: "gelu_10" (want gelu_pytorch_tanh) is not supported`},
		{[]string{"model_type", `"gemma3_text"`, "head_dim", "4", "query_pre_attn_scalar", "0"}, "config.json: query_pre_attn_scalar: 0, want a positive number"},
		{[]string{"model_type", `"gemma3_text"`, "head_dim", "4", "use_bidirectional_attention", "true"}, "config.json: use_bidirectional_attention: true (want false) is not supported"},
		{[]string{"model_type", `"gemma3_text"`, "head_dim", "4", "rope_theta", "", "rope_parameters", `{"full_attention":{"rope_type":"ntk"}}`}, `config.json: rope_parameters.full_attention.rope_type: "ntk" (want default, dynamic, linear, llama3, longrope, proportional or yarn) is not supported`},
	} {
		if _, _, err := read(edited(t, c.edits...)); err == nil || err.Error() != c.want {
			t.Errorf("%v:\ngot  %v\nwant %s", c.edits, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{strings.Replace(phi(`"qk_layernorm":false`), "gelu_new", "relu6", 1), `config.json: hidden_act: "relu6" (want gelu_new) is not supported`},
		{llama4(`"no_rope_layers":[1,0]`), "config.json: no_rope_layers: 2 entries, want one for each of 5 blocks"},
		{llama4(`"no_rope_layers":[1,true]`), "config.json: no_rope_layers: want a list of 0 and 1, found true"},
		{strings.Replace(llama4(`"use_qk_norm":true`), "[]", "[1]", 1), "config.json: moe_layers: a mixture of experts (want []) is not supported"},
		{strings.Replace(llama4(`"attn_temperature_tuning":false`), "[]", "[1]", 1), "config.json: moe_layers: a mixture of experts (want []) is not supported"},
		{strings.Replace(llama4(`"attn_temperature_tuning":false`), "[]", "null", 1), "config.json: moe_layers: a mixture of experts (want []) is not supported"},
		{phi(`"sliding_window":127`), "config.json: sliding_window: 127, in a context of 128, is not supported"},
		{phi(`"qk_layernorm":true`), "config.json: qk_layernorm: true (want false) is not supported"},
		{phi(`"partial_rotary_factor":1.5`), "config.json: partial_rotary_factor: 1.5 of 16 dimensions, want at least two and at most all of them"},
		{phi(`"partial_rotary_factor":0.1`), "config.json: partial_rotary_factor: 0.1 of 16 dimensions, want at least two and at most all of them"},
		{phi(`"partial_rotary_factor":0.2`), "config.json: rope rotates 3 dimensions, want an even number up to head dim 16"},
	} {
		if _, _, err := read(c.text); err == nil || err.Error() != c.want {
			t.Errorf("%s:\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}
