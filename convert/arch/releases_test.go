package arch

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
)

// llama is the Spec of a Llama of that shape.
func llama(hidden, blocks, heads, kv, ffn, vocab, context int, theta float64, edits ...func(*model.Spec)) model.Spec {
	s := model.Spec{Hidden: hidden, Heads: heads, KVHeads: kv, HeadDim: hidden / heads, FFN: ffn, Vocab: vocab, Context: context, Blocks: blocks,
		Schedule: model.InOrder(blocks, 1), NormEps: 1e-5, Rope: model.Rope{Base: theta}, BOS: 1, EOS: []int{2}}
	for _, edit := range edits {
		edit(&s)
	}
	return s
}

func eps6(s *model.Spec) { s.NormEps = 1e-6 }
func tied(s *model.Spec) { s.Tied = true }
func qkv(s *model.Spec)  { s.Bias.QKV = true }
func ids(bos int, eos ...int) func(*model.Spec) {
	return func(s *model.Spec) { s.BOS, s.EOS = bos, eos }
}
func stretchedBy(factor float64) func(*model.Spec) {
	return func(s *model.Spec) {
		s.Rope.Scaling, s.Rope.Factor, s.Rope.LowFreq, s.Rope.HighFreq, s.Rope.Original = model.RopeLlama3, factor, 1, 4, 8192
	}
}

// still is MobileLLM-R1: every fourth block has no rotary embedding.
func still(chunk int) func(*model.Spec) {
	return func(s *model.Spec) {
		s.QKNorm, s.Rope.Pairs = model.QKBare, true
		for b := range s.Blocks {
			a := model.Attention{Chunk: chunk}
			if b%4 == 3 {
				a = model.Attention{Rope: model.NoRope}
			}
			s.Attention = append(s.Attention, a)
		}
	}
}

// gemma270m: every sixth block has no window.
func gemma270m(s *model.Spec) {
	*s = gemma3
	s.Hidden, s.Blocks, s.FFN, s.EmbedScale = 640, 18, 2048, 25.298221281347036
	s.Schedule, s.EOS, s.Attention = model.InOrder(18, 1), []int{1}, nil
	for b := range 18 {
		a := model.Attention{Window: 512, Rope: 1}
		if b%6 == 5 {
			a = model.Attention{}
		}
		s.Attention = append(s.Attention, a)
	}
}

const (
	sharing      = "share_embedding=true"
	mobile       = `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","initializer_range":0.02,"max_position_embeddings":2048,"model_type":"llama","pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000.0,"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.34.1","use_cache":true,"vocab_size":32000,`
	mobileR1     = `{"architectures":["Llama4ForCausalLM"],"attention_bias":false,"attention_chunk_size":8192,"attention_dropout":0.0,"attn_scale":0.1,"attn_temperature_tuning":false,"bos_token_id":128000,"eos_token_id":128001,"floor_scale":8192,"for_llm_compressor":false,"head_dim":64,"hidden_act":"silu","initializer_range":0.02,"interleave_moe_layer_step":0,"intermediate_size":8192,"max_position_embeddings":32768,"model_type":"llama4_text","moe_layers":[],"num_experts_per_tok":0,"num_local_experts":0,"output_router_logits":false,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":500000.0,"router_aux_loss_coef":0.001,"router_jitter_noise":0.0,"tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.51.0","use_cache":true,"use_qk_norm":true,"vocab_size":128256,`
	llama31      = `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":128000,"eos_token_id":[128001,128008,128009],"hidden_act":"silu","initializer_range":0.02,"max_position_embeddings":131072,"mlp_bias":false,"model_type":"llama","num_key_value_heads":8,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_theta":500000.0,"torch_dtype":"bfloat16","use_cache":true,"vocab_size":128256,`
	smol         = `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"hidden_act":"silu","initializer_range":0.02,"mlp_bias":false,"model_type":"llama","pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"tie_word_embeddings":true,"transformers_version":"4.42.3","use_cache":true,"vocab_size":49152,`
	fp8Settings  = `"quantization_config":{"activation_scheme":"dynamic","fmt":"e4m3","quant_method":"fp8","weight_block_size":[128,128]}`
	gemmaPattern = `"sliding_attention","sliding_attention","sliding_attention","sliding_attention","sliding_attention","full_attention"`
)

// The configs of real releases, including the keys that change nothing. For
// MobileLLM-R1 the shapes are the published ones, and the keys those of its kind.
func TestReleases(t *testing.T) {
	for _, c := range []struct {
		name, text string
		set        []string
		want       model.Spec
	}{
		{"Llama 2 7B chat", `{"_name_or_path":"meta-llama/Llama-2-7b-chat-hf","architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":11008,"max_length":4096,"max_position_embeddings":4096,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":32,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.32.0.dev0","use_cache":true,"vocab_size":32000}`, nil,
			llama(4096, 32, 32, 32, 11008, 32000, 4096, 10000)},
		{"Llama 2 70B", `{"architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":8192,"initializer_range":0.02,"intermediate_size":28672,"max_position_embeddings":2048,"model_type":"llama","num_attention_heads":64,"num_hidden_layers":80,"num_key_value_heads":8,"pad_token_id":0,"rms_norm_eps":1e-05,"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.31.0.dev0","use_cache":true,"vocab_size":32000}`, nil,
			llama(8192, 80, 64, 8, 28672, 32000, 2048, 10000)},
		{"CodeLlama 7B", `{"_name_or_path":"codellama/CodeLlama-7b-hf","architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":11008,"max_position_embeddings":16384,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":32,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":1000000,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.33.0.dev0","use_cache":true,"vocab_size":32016}`, nil,
			llama(4096, 32, 32, 32, 11008, 32016, 16384, 1000000)},
		{"Vicuna 7B v1.1", `{"_name_or_path":"vicuna-7b","architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":11008,"max_position_embeddings":2048,"max_sequence_length":2048,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"pad_token_id":0,"rms_norm_eps":1e-06,"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.28.1","use_cache":true,"vocab_size":32000}`, nil,
			llama(4096, 32, 32, 32, 11008, 32000, 2048, 10000, eps6)},
		{"Vicuna 7B v1.5 16k", `{"_name_or_path":"vicuna-7b-v1.5-16k","architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":11008,"max_position_embeddings":4096,"max_sequence_length":16384,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":32,"pad_token_id":0,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"factor":4.0,"type":"linear"},"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.31.0","use_cache":true,"vocab_size":32000}`, nil,
			llama(4096, 32, 32, 32, 11008, 32000, 4096, 10000, func(s *model.Spec) { s.Rope.Scaling, s.Rope.Factor = model.RopeLinear, 4 })},
		{"Yi 6B", `{"architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":11008,"max_position_embeddings":4096,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":4,"pad_token_id":0,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":5000000.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.34.0","use_cache":true,"vocab_size":64000}`, nil,
			llama(4096, 32, 32, 4, 11008, 64000, 4096, 5000000)},
		{"OpenLLaMA 3B", `{"architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":3200,"initializer_range":0.02,"intermediate_size":8640,"max_position_embeddings":2048,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":26,"pad_token_id":0,"rms_norm_eps":1e-06,"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.30.0.dev0","use_cache":true,"vocab_size":32000}`, nil,
			llama(3200, 26, 32, 32, 8640, 32000, 2048, 10000, eps6)},
		{"TinyLlama 1.1B chat v1.0", `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,"intermediate_size":5632,"max_position_embeddings":2048,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":22,"num_key_value_heads":4,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.35.0","use_cache":true,"vocab_size":32000}`, nil,
			llama(2048, 22, 32, 4, 5632, 32000, 2048, 10000)},
		{"Llama 3 8B instruct", `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":128000,"eos_token_id":128009,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":14336,"max_position_embeddings":8192,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":8,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":500000.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.40.0.dev0","use_cache":true,"vocab_size":128256}`, nil,
			llama(4096, 32, 32, 8, 14336, 128256, 8192, 500000, ids(128000, 128009))},
		{"Llama 3.1 8B instruct", llama31 + `"hidden_size":4096,"intermediate_size":14336,"num_attention_heads":32,"num_hidden_layers":32,"rope_scaling":{"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192,"rope_type":"llama3"},"tie_word_embeddings":false,"transformers_version":"4.42.3"}`, nil,
			llama(4096, 32, 32, 8, 14336, 128256, 131072, 500000, ids(128000, 128001, 128008, 128009), stretchedBy(8))},
		{"Llama 3.2 3B instruct, by unsloth", llama31 + `"head_dim":128,"hidden_size":3072,"intermediate_size":8192,"num_attention_heads":24,"num_hidden_layers":28,"pad_token_id":128004,"rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"},"tie_word_embeddings":true,"transformers_version":"4.49.0","unsloth_fixed":true,"_attn_implementation_autoset":true}`, nil,
			llama(3072, 28, 24, 8, 8192, 128256, 131072, 500000, ids(128000, 128001, 128008, 128009), stretchedBy(32), tied)},
		{"SmolLM 135M", smol + `"bos_token_id":0,"eos_token_id":0,"hidden_size":576,"intermediate_size":1536,"max_position_embeddings":2048,"num_attention_heads":9,"num_hidden_layers":30,"num_key_value_heads":3,"rope_theta":10000.0,"torch_dtype":"float32"}`, nil,
			llama(576, 30, 9, 3, 1536, 49152, 2048, 10000, ids(0, 0), tied)},
		{"SmolLM2 360M instruct", smol + `"bos_token_id":1,"eos_token_id":2,"hidden_size":960,"intermediate_size":2560,"is_llama_config":true,"max_position_embeddings":8192,"num_attention_heads":15,"num_hidden_layers":32,"num_key_value_heads":5,"pad_token_id":2,"rope_interleaved":false,"rope_theta":100000,"torch_dtype":"bfloat16","transformers.js_config":{"kv_cache_dtype":{"q4f16":"float16","fp16":"float16"}}}`, nil,
			llama(960, 32, 15, 5, 2560, 49152, 8192, 100000, tied)},
		{"SmolLM2 1.7B", smol + `"bos_token_id":0,"eos_token_id":0,"hidden_size":2048,"intermediate_size":8192,"max_position_embeddings":8192,"num_attention_heads":32,"num_hidden_layers":24,"num_key_value_heads":32,"rope_theta":130000,"torch_dtype":"bfloat16"}`, nil,
			llama(2048, 24, 32, 32, 8192, 49152, 8192, 130000, ids(0, 0), tied)},
		{"MobileLLM 125M", mobile + `"hidden_size":576,"intermediate_size":1536,"num_attention_heads":9,"num_hidden_layers":30,"num_key_value_heads":3}`, []string{sharing},
			llama(576, 30, 9, 3, 1536, 32000, 2048, 10000, tied)},
		{"MobileLLM 125M LS", mobile + `"hidden_size":576,"intermediate_size":1536,"num_attention_heads":9,"num_hidden_layers":30,"num_key_value_heads":3}`, []string{sharing, "layer_sharing=true"},
			llama(576, 30, 9, 3, 1536, 32000, 2048, 10000, tied, func(s *model.Spec) { s.Schedule = model.InOrder(30, 2) })},
		{"MobileLLM 350M", mobile + `"hidden_size":960,"intermediate_size":2560,"num_attention_heads":15,"num_hidden_layers":32,"num_key_value_heads":5}`, []string{sharing},
			llama(960, 32, 15, 5, 2560, 32000, 2048, 10000, tied)},
		{"MobileLLM 600M", mobile + `"hidden_size":1152,"intermediate_size":3072,"num_attention_heads":18,"num_hidden_layers":40,"num_key_value_heads":6}`, []string{sharing},
			llama(1152, 40, 18, 6, 3072, 32000, 2048, 10000, tied)},
		{"MobileLLM 1B", mobile + `"hidden_size":1280,"intermediate_size":3584,"num_attention_heads":20,"num_hidden_layers":54,"num_key_value_heads":5}`, []string{sharing},
			llama(1280, 54, 20, 5, 3584, 32000, 2048, 10000, tied)},
		{"MobileLLM 1.5B", mobile + `"hidden_size":1600,"intermediate_size":4352,"num_attention_heads":25,"num_hidden_layers":54,"num_key_value_heads":5}`, []string{sharing},
			llama(1600, 54, 25, 5, 4352, 32000, 2048, 10000, tied)},
		{"MobileLLM-R1 140M", mobileR1 + `"hidden_size":576,"intermediate_size_mlp":2048,"num_attention_heads":9,"num_hidden_layers":15,"num_key_value_heads":3,"no_rope_layers":[1,1,1,0,1,1,1,0,1,1,1,0,1,1,1]}`, nil,
			llama(576, 15, 9, 3, 2048, 128256, 32768, 500000, ids(128000, 128001), tied, still(8192))},
		{"MobileLLM-R1 360M", mobileR1 + `"hidden_size":1024,"intermediate_size_mlp":4096,"num_attention_heads":16,"num_hidden_layers":15,"num_key_value_heads":4,"no_rope_layers":[]}`, nil,
			llama(1024, 15, 16, 4, 4096, 128256, 32768, 500000, ids(128000, 128001), tied, still(8192))},
		{"MobileLLM-R1 950M", mobileR1 + `"hidden_size":1536,"intermediate_size_mlp":6144,"num_attention_heads":24,"num_hidden_layers":22,"num_key_value_heads":6,"no_rope_layer_interval":4}`, nil,
			llama(1536, 22, 24, 6, 6144, 128256, 32768, 500000, ids(128000, 128001), tied, still(8192))},
		{"Mistral 7B v0.2 instruct", `{"architectures":["MistralForCausalLM"],"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":14336,"max_position_embeddings":32768,"model_type":"mistral","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":8,"rms_norm_eps":1e-05,"rope_theta":1000000.0,"sliding_window":null,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.36.0","use_cache":true,"vocab_size":32000}`, nil,
			llama(4096, 32, 32, 8, 14336, 32000, 32768, 1000000)},
		{"Mistral 7B v0.3", `{"architectures":["MistralForCausalLM"],"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":14336,"max_position_embeddings":32768,"model_type":"mistral","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":8,"rms_norm_eps":1e-05,"rope_theta":1000000.0,"sliding_window":null,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.42.0.dev0","use_cache":true,"vocab_size":32768}`, nil,
			llama(4096, 32, 32, 8, 14336, 32768, 32768, 1000000)},
		{"DeepSeek-R1-Distill-Qwen 1.5B", `{"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151643,"hidden_act":"silu","hidden_size":1536,"initializer_range":0.02,"intermediate_size":8960,"max_position_embeddings":131072,"max_window_layers":21,"model_type":"qwen2","num_attention_heads":12,"num_hidden_layers":28,"num_key_value_heads":2,"rms_norm_eps":1e-06,"rope_theta":10000,"sliding_window":4096,"tie_word_embeddings":false,"torch_dtype":"bfloat16","transformers_version":"4.44.0","use_cache":true,"use_mrope":false,"use_sliding_window":false,"vocab_size":151936}`, nil,
			llama(1536, 28, 12, 2, 8960, 151936, 131072, 10000, eps6, ids(151643, 151643), qkv)},
		{"Qwen3 0.6B FP8", `{"architectures":["Qwen3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":151643,"eos_token_id":151645,"head_dim":128,"hidden_act":"silu","hidden_size":1024,"initializer_range":0.02,"intermediate_size":3072,"max_position_embeddings":40960,"max_window_layers":28,"model_type":"qwen3","num_attention_heads":16,"num_hidden_layers":28,"num_key_value_heads":8,` + fp8Settings + `,"rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":1000000,"sliding_window":null,"tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.51.0","use_cache":true,"use_sliding_window":false,"vocab_size":151936}`, nil,
			llama(1024, 28, 16, 8, 3072, 151936, 40960, 1000000, eps6, tied, ids(151643, 151645), func(s *model.Spec) { s.HeadDim, s.QKNorm = 128, model.QKGain })},
		{"Qwen2.5 stretched by YaRN", `{"architectures":["Qwen2ForCausalLM"],"hidden_act":"silu","hidden_size":896,"intermediate_size":4864,"max_position_embeddings":32768,"model_type":"qwen2","num_attention_heads":14,"num_hidden_layers":24,"num_key_value_heads":2,"rms_norm_eps":1e-06,"rope_scaling":{"factor":4.0,"original_max_position_embeddings":32768,"type":"yarn"},"rope_theta":1000000.0,"vocab_size":151936}`, nil,
			llama(896, 24, 14, 2, 4864, 151936, 131072, 1e6, eps6, qkv, func(s *model.Spec) {
				s.BOS, s.EOS = -1, nil
				s.Rope = model.Rope{Base: 1e6, Scaling: model.RopeYarn, Factor: 4, LowFreq: 1, HighFreq: 32, Original: 32768, Scale: 1.138629436111989}
			})},
		{"Gemma 3 270M", `{"_sliding_window_pattern":6,"architectures":["Gemma3ForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"attn_logit_softcapping":null,"bos_token_id":2,"eos_token_id":1,"final_logit_softcapping":null,"head_dim":256,"hidden_activation":"gelu_pytorch_tanh","hidden_size":640,"initializer_range":0.02,"intermediate_size":2048,"layer_types":[` + gemmaPattern + "," + gemmaPattern + "," + gemmaPattern + `],"max_position_embeddings":32768,"model_type":"gemma3_text","num_attention_heads":4,"num_hidden_layers":18,"num_key_value_heads":1,"pad_token_id":0,"query_pre_attn_scalar":256,"rms_norm_eps":1e-06,"rope_local_base_freq":10000.0,"rope_scaling":null,"rope_theta":1000000.0,"sliding_window":512,"torch_dtype":"bfloat16","transformers_version":"4.55.0.dev0","use_bidirectional_attention":false,"use_cache":true,"vocab_size":262144}`, nil,
			llama(640, 18, 4, 1, 2048, 262144, 32768, 1e6, gemma270m)},
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

// Configs that resemble a supported release and are refused.
func TestOtherReleases(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"Phi-2 as first released", `{"_name_or_path":"microsoft/phi-2","activation_function":"gelu_new","architectures":["PhiForCausalLM"],"attn_pdrop":0.0,"embd_pdrop":0.0,"flash_attn":false,"flash_rotary":false,"fused_dense":false,"img_processor":null,"initializer_range":0.02,"layer_norm_epsilon":1e-05,"model_type":"phi-msft","n_embd":2560,"n_head":32,"n_head_kv":null,"n_inner":null,"n_layer":32,"n_positions":2048,"resid_pdrop":0.1,"rotary_dim":32,"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.35.2","vocab_size":51200}`,
			`config.json: model_type "phi-msft" is not supported: ` + unread("phi-msft")},
		{"Yi as first released", `{"architectures":["YiForCausalLM"],"hidden_act":"silu","hidden_size":4096,"intermediate_size":11008,"max_position_embeddings":4096,"model_type":"Yi","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":4,"rms_norm_eps":1e-05,"rope_theta":5000000.0,"vocab_size":64000}`,
			`config.json: model_type "Yi" is not supported: ` + unread("Yi")},
		{"Llama 3.1 by torchao", llama31 + `"hidden_size":4096,"intermediate_size":14336,"num_attention_heads":32,"num_hidden_layers":32,"quantization_config":{"quant_method":"torchao","quant_type":{}}}`,
			`config.json: quantization_config.quant_method: "torchao" (want auto-round, awq, bitsandbytes, compressed-tensors, fbgemm_fp8, fp8, gptq, mxfp4; dequantize the model with the library that made it, and save it as bfloat16) is not supported`},
		{"Granite, a Llama with multipliers", `{"auto_map":{"AutoModel":"granite.Granite"},"model_type":"llama","hidden_act":"silu","hidden_size":64,"intermediate_size":160,"max_position_embeddings":128,"num_attention_heads":4,"num_hidden_layers":1,"rms_norm_eps":1e-06,"vocab_size":32,"residual_multiplier":0.22}`,
			"config.json: residual_multiplier: this key of llama is not supported; if it does not affect the model's results, --set residual_multiplier=null drops it"},
	} {
		if _, _, err := read(c.text); err == nil || err.Error() != c.want {
			t.Errorf("%s:\ngot  %v\nwant %s", c.name, err, c.want)
		}
	}
}
