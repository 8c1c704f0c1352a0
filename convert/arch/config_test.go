package arch

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/convert/config"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// read reads a config the way Open does, up to the tensors.
func read(text string, set ...string) (*config.Config, model.Spec, error) {
	c, err := config.Parse("config.json", []byte(text), set)
	if err != nil {
		return nil, model.Spec{}, err
	}
	modelType, a, err := Recognize(c)
	if err != nil {
		return nil, model.Spec{}, err
	}
	s := a.Spec(c)
	if err := c.Done(modelType); err != nil {
		return c, s, err
	}
	if err := s.Check(); err != nil {
		return c, s, defect.Corrupt(c.File, "", "%v", err)
	}
	return c, s, nil
}

// The keys and values are those that Meta, Hugging Face and transformers publish.
func TestPublishedConfigs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		set        []string
		want       model.Spec
	}{
		{"Llama 2 7B", `{"_name_or_path":"meta-llama/Llama-2-7b-hf","architectures":["LlamaForCausalLM"],"bos_token_id":1,"eos_token_id":2,
			"hidden_act":"silu","hidden_size":4096,"initializer_range":0.02,"intermediate_size":11008,"max_position_embeddings":4096,
			"model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":32,"pretraining_tp":1,
			"rms_norm_eps":1e-05,"rope_scaling":null,"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.31.0.dev0",
			"use_cache":true,"vocab_size":32000}`, nil,
			model.Spec{Hidden: 4096, Heads: 32, KVHeads: 32, HeadDim: 128, FFN: 11008, Vocab: 32000, Context: 4096, Blocks: 32,
				Schedule: model.InOrder(32, 1), NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: 1, EOS: []int{2}}},
		{"Llama without key/value heads", `{"model_type":"llama","hidden_act":"silu","hidden_size":64,"intermediate_size":160,
			"max_position_embeddings":128,"num_attention_heads":4,"num_hidden_layers":1,"rms_norm_eps":1e-06,"vocab_size":32,"head_dim":null}`, nil,
			model.Spec{Hidden: 64, Heads: 4, KVHeads: 4, HeadDim: 16, FFN: 160, Vocab: 32, Context: 128, Blocks: 1,
				Schedule: []int{0}, NormEps: 1e-6, Rope: model.Rope{Base: 10000}, BOS: -1}},
		{"Llama 3.2 1B", `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":128000,
			"eos_token_id":[128001,128008,128009],"head_dim":64,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,
			"intermediate_size":8192,"max_position_embeddings":131072,"mlp_bias":false,"model_type":"llama","num_attention_heads":32,
			"num_hidden_layers":16,"num_key_value_heads":8,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"factor":32.0,
			"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"},"rope_theta":500000.0,
			"tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.45.0.dev0","use_cache":true,"vocab_size":128256}`, nil,
			model.Spec{Hidden: 2048, Heads: 32, KVHeads: 8, HeadDim: 64, FFN: 8192, Vocab: 128256, Context: 131072, Blocks: 16,
				Schedule: model.InOrder(16, 1), NormEps: 1e-5, Tied: true, BOS: 128000, EOS: []int{128001, 128008, 128009},
				Rope: model.Rope{Base: 500000, Scaling: model.RopeLlama3, Factor: 32, LowFreq: 1, HighFreq: 4, Original: 8192}}},
		{"SmolLM2", `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,
			"hidden_act":"silu","hidden_size":576,"initializer_range":0.041666666666666664,"intermediate_size":1536,"is_llama_config":true,
			"max_position_embeddings":8192,"mlp_bias":false,"model_type":"llama","num_attention_heads":9,"num_hidden_layers":30,
			"num_key_value_heads":3,"pad_token_id":2,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_interleaved":false,"rope_scaling":null,
			"rope_theta":100000,"tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers.js_config":{"kv_cache_dtype":{"q4f16":"float16"}},
			"transformers_version":"4.42.3","use_cache":true,"vocab_size":49152}`, nil,
			model.Spec{Hidden: 576, Heads: 9, KVHeads: 3, HeadDim: 64, FFN: 1536, Vocab: 49152, Context: 8192, Blocks: 30,
				Schedule: model.InOrder(30, 1), NormEps: 1e-5, Tied: true, Rope: model.Rope{Base: 100000}, BOS: 1, EOS: []int{2}}},
		{"transformers 5, linear", `{"attention_bias":true,"attention_dropout":0.0,"bos_token_id":1,"dtype":null,"eos_token_id":2,"head_dim":48,
			"hidden_act":"silu","hidden_size":4096,"id2label":{"0":"LABEL_0"},"initializer_range":0.02,"intermediate_size":11008,
			"label2id":{"LABEL_0":0},"max_position_embeddings":2048,"mlp_bias":true,"model_type":"llama","num_attention_heads":32,
			"num_hidden_layers":32,"num_key_value_heads":32,"pad_token_id":null,"pretraining_tp":1,"rms_norm_eps":1e-06,
			"rope_parameters":{"factor":8.0,"partial_rotary_factor":1.0,"rope_theta":500000.0,"rope_type":"linear","type":"linear"},"tie_word_embeddings":false,
			"transformers_version":"5.23.0","use_cache":true,"vocab_size":32000}`, nil,
			model.Spec{Hidden: 4096, Heads: 32, KVHeads: 32, HeadDim: 48, FFN: 11008, Vocab: 32000, Context: 2048, Blocks: 32,
				Schedule: model.InOrder(32, 1), NormEps: 1e-6, Bias: model.Bias{QKV: true, O: true, FFN: true},
				Rope: model.Rope{Base: 500000, Scaling: model.RopeLinear, Factor: 8}, BOS: 1, EOS: []int{2}}},
		{"MobileLLM 125M LS", `{"architectures":["MobileLLMForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
			"auto_map":{"AutoConfig":"configuration_mobilellm.MobileLLMConfig"},"bos_token_id":1,"eos_token_id":2,"head_dim":64,
			"hidden_act":"silu","hidden_size":576,"initializer_range":0.02,"intermediate_size":1536,"layer_sharing":true,
			"max_position_embeddings":2048,"mlp_bias":false,"model_type":"mobilellm","num_attention_heads":9,"num_hidden_layers":30,
			"num_key_value_heads":3,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000.0,"share_embedding":true,
			"tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.41.2","use_cache":true,"vocab_size":32000}`,
			[]string{"rope_scaling={\"type\":\"linear\",\"factor\":2}", "max_position_embeddings=4096"},
			model.Spec{Hidden: 576, Heads: 9, KVHeads: 3, HeadDim: 64, FFN: 1536, Vocab: 32000, Context: 4096, Blocks: 30,
				Schedule: model.InOrder(30, 2), NormEps: 1e-5, Tied: true,
				Rope: model.Rope{Base: 10000, Scaling: model.RopeLinear, Factor: 2}, BOS: 1, EOS: []int{2}}},
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

// tiny is a small config.
func tiny() map[string]any {
	return map[string]any{
		"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 16,
		"vocab_size": 5, "max_position_embeddings": 32, "num_hidden_layers": 2, "rms_norm_eps": 1e-6, "hidden_act": "silu",
		"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": false, "rope_theta": 10000.0,
	}
}

// edited is the tiny config with a key set to a JSON value, or dropped.
func edited(t testing.TB, edits ...string) string {
	t.Helper()
	config := tiny()
	for i := 0; i < len(edits); i += 2 {
		if edits[i+1] == "" {
			delete(config, edits[i])
		} else {
			config[edits[i]] = json.RawMessage(edits[i+1])
		}
	}
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// largePattern is a quantization_config with a pattern of 210 bytes that stands for a program of 8 MB.
var largePattern = `{"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"a":{"targets":["re:(?:` +
	strings.Repeat("x?", 100) + `){999}"],"weights":{"num_bits":8,"type":"float","strategy":"channel"}}}}`

// compressedGroups is a quantization_config with one group.
func compressedGroups(weights string) string {
	return `{"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"a":{"weights":` + weights + `}}}`
}

func TestConfigRefuses(t *testing.T) {
	edit := func(edits ...string) string { return edited(t, edits...) }
	for _, c := range []struct {
		text string
		set  []string
		want string
	}{
		{"", nil, "config.json: byte 0: the text ends, want a value"},
		{"[]", nil, "config.json: want an object, found a list of 0"},
		{`{"model_type":"llama","model_type":"mobilellm"}`, nil, `config.json: byte 34: key "model_type" occurs twice`},
		{strings.Repeat(`{"a":`, 65), nil, "config.json: byte 320: a" + strings.Repeat(".a", 63) + ": nested deeper than 64"},
		{`{"model_type":"llama","hidden_size":Infinity}`, nil, "config.json: hidden_size: want a whole number, found Infinity"},
		{`{"model_type":"llama","vocab_size":9,"rms_norm_eps":NaN}`, nil, "config.json: rms_norm_eps: want a number, found NaN"},
		{"{}", nil, "config.json: model_type: key is missing; add it to the file or give --set model_type=..."},
		{`{"model_type":"phi\u001b[2J"}`, nil, `config.json: model_type "phi\x1b[2J" is not supported: ` + unread("phi\x1b[2J")},
		{edit(), []string{"model_type=gpt5"}, `--set: model_type "gpt5" is not supported: ` + unread("gpt5")},
		{`{"model_type":7}`, nil, "config.json: model_type: want a string, found 7"},

		{edit("model_type", `"mobilellm"`, "share_embedding", "true", "layer_sharing", "false", "hidden_size", ""), nil, "config.json: hidden_size: key is missing; add it to the file or give --set hidden_size=..."},
		{edit("model_type", `"mobilellm"`, "share_embedding", "true", "layer_sharing", "false", "hidden_size", "null"), nil, "config.json: hidden_size: key is missing; add it to the file or give --set hidden_size=..."},
		{edit("hidden_size", `"8"`), nil, `config.json: hidden_size: want a whole number, found "8"`},
		{edit("hidden_size", "8.0"), nil, "config.json: hidden_size: want a whole number, found 8.0"},
		{edit("hidden_size", "1e400"), nil, "config.json: hidden_size: want a whole number, found 1e400"},
		{edit("hidden_size", "99999999999999999999"), nil, "config.json: hidden_size: want a whole number, found 99999999999999999999"},
		{edit("hidden_size", "[8]"), nil, "config.json: hidden_size: want a whole number, found a list of 1"},
		{edit("hidden_size", "0"), nil, "config.json: hidden_size: 0, want 1 to 1048576"},
		{edit("hidden_size", "-8"), nil, "config.json: hidden_size: -8, want 1 to 1048576"},
		{edit("hidden_size", "1048577"), nil, "config.json: hidden_size: 1048577, want 1 to 1048576"},
		{edit("hidden_size", "9"), nil, "config.json: hidden_size: 9 is not divisible by num_attention_heads 2, and there is no head_dim"},
		{edit("num_attention_heads", "0"), nil, "config.json: num_attention_heads: 0, want 1 to 4096"},
		{edit("num_attention_heads", "4", "num_key_value_heads", "3"), nil, "config.json: 4 heads are not divisible by 3 kv heads"},
		{edit("head_dim", "5"), nil, "config.json: head dim 5 is odd, rotary embedding needs pairs"},
		{edit("head_dim", "true"), nil, "config.json: head_dim: want a whole number, found true"},
		{edit("num_hidden_layers", "1025"), nil, "config.json: num_hidden_layers: 1025, want 1 to 1024"},
		{edit("vocab_size", "4194305"), nil, "config.json: vocab_size: 4194305, want 1 to 4194304"},
		{edit("model_type", `"mobilellm"`, "share_embedding", "true", "layer_sharing", "false", "rms_norm_eps", ""), nil, "config.json: rms_norm_eps: key is missing; add it to the file or give --set rms_norm_eps=..."},
		{edit("rms_norm_eps", "1e999"), nil, "config.json: rms_norm_eps: want a number, found 1e999"},
		{edit("rms_norm_eps", "-1e-5"), nil, "config.json: rms_norm_eps: -1e-05, want at least 0 and below 1, such as 1e-5"},
		{edit("attention_bias", `"true"`), nil, `config.json: attention_bias: want true or false, found "true"`},
		{edit("attention_bias", "1"), nil, "config.json: attention_bias: want true or false, found 1"},
		{edit("bos_token_id", "[1,2]"), nil, "config.json: bos_token_id: 2 ids, want one"},
		{edit("eos_token_id", `"</s>"`), nil, "config.json: eos_token_id: want token ids, found \"</s>\""},
		{edit("eos_token_id", `[1,{"a":1}]`), nil, "config.json: eos_token_id: want token ids, found an object of 1 keys"},

		{edit("hidden_act", `"gelu_10"`), nil, `config.json: hidden_act: "gelu_10" (want silu) is not supported`},
		{edit("model_type", `"mobilellm"`, "share_embedding", "true", "layer_sharing", "false", "rope_interleaved", "true"), nil, "config.json: rope_interleaved: this key of mobilellm is not supported; if it does not affect the model's results, --set rope_interleaved=null drops it"},
		{edit("sliding_window", "3"), nil, "config.json: sliding_window: 3, in a context of 32, is not supported"},
		{edit("layer_types", `["sliding_attention","full_attention"]`), nil, `config.json: layer_types: "sliding_attention" (want full_attention in all) is not supported`},
		{edit("is_causal", "false"), nil, "config.json: is_causal: false (want true) is not supported"},
		{edit("partial_rotary_factor", "0.5"), nil, "config.json: partial_rotary_factor: 0.5 (want 1) is not supported"},
		{edit("per_layer_config", `{"0":{"hidden_act":"gelu"}}`), nil, "config.json: per_layer_config: this key of llama is not supported; if it does not affect the model's results, --set per_layer_config=null drops it"},
		{edit("quantization_config", `{"bits":4}`), nil, "config.json: quantization_config.quant_method: key is missing"},
		{edit("quantization_config", `{"quant_method":"hqq","bits":4}`), nil, `config.json: quantization_config.quant_method: "hqq" (want auto-round, awq, bitsandbytes, compressed-tensors, fbgemm_fp8, fp8, gptq, mxfp4; dequantize the model with the library that made it, and save it as bfloat16) is not supported`},
		{edit("quantization_config", `{"quant_method":"gptq","bits":5}`), nil, "config.json: quantization_config.bits: 5 (want one of [2 3 4 8]) is not supported"},
		{edit("quantization_config", `{"quant_method":"gptq","bits":4,"checkpoint_format":"marlin"}`), nil, `config.json: quantization_config.checkpoint_format: "marlin" (want gptq or gptq_v2) is not supported`},
		{edit("quantization_config", `{"quant_method":"gptq","bits":4,"rotation":"hadamard"}`), nil, `config.json: quantization_config.rotation: "hadamard" is not supported`},
		{edit("quantization_config", `{"quant_method":"awq","bits":4,"version":"gemv"}`), nil, `config.json: quantization_config.version: "gemv" (want gemm) is not supported`},
		{edit("quantization_config", `{"quant_method":"auto-round","bits":4,"packing_format":"auto_round:x"}`), nil, `config.json: quantization_config.packing_format: "auto_round:x" (want auto_round:auto_gptq, auto_round:gptqmodel or auto_round:auto_awq) is not supported`},
		{edit("quantization", `{"bits":4,"group_size":32,"mode":"mxfp4"}`), nil, `config.json: quantization.mode: "mxfp4" (want affine) is not supported`},
		{edit("quantization", `{"bits":4}`), nil, "config.json: quantization.group_size: key is missing"},
		{edit("quantization_config", `{"quant_method":"fp8","weight_block_size":[128,0]}`), nil, "config.json: quantization_config.weight_block_size: a list of 2 (want two sizes) is not supported"},
		{edit("quantization_config", `{"quant_method":"fp8","weight_block_size":[128,128],"fmt":"e5m2"}`), nil, `config.json: quantization_config.fmt: "e5m2" (want e4m3) is not supported`},
		{edit("quantization_config", `{"quant_method":"compressed-tensors","format":"marlin-24"}`), nil, `config.json: quantization_config.format: "marlin-24" (want pack-quantized, int-quantized, float-quantized, naive-quantized, mixed-precision) is not supported`},
		{edit("quantization_config", `{"quant_method":"compressed-tensors","format":"float-quantized"}`), nil, "config.json: quantization_config.config_groups: key is missing"},
		{edit("quantization_config", largePattern), nil,
			`config.json: quantization_config.config_groups.a.targets: pattern "re:(?:` + strings.Repeat("x?", 61) + `" (patterns of more than 262144 instructions in all) is not supported`},
		{edit("quantization_config", compressedGroups(`{"num_bits":4,"type":"float","strategy":"channel"}`)), nil, "config.json: quantization_config.config_groups.a.weights.num_bits: 4 (want 8) is not supported"},
		{edit("quantization_config", compressedGroups(`{"num_bits":8,"type":"nf","strategy":"channel"}`)), nil, `config.json: quantization_config.config_groups.a.weights.type: "nf" (want float) is not supported`},
		{edit("quantization_config", compressedGroups(`{"num_bits":8,"type":"float","strategy":"group","group_size":128}`)), nil, `config.json: 2 keys are not supported: quantization_config.config_groups.a.weights.group_size: 128; quantization_config.config_groups.a.weights.strategy: "group" (want tensor, channel or block)`},
		{edit("quantization_config", compressedGroups(`{"num_bits":8,"type":"float","strategy":"token"}`)), nil, `config.json: quantization_config.config_groups.a.weights.strategy: "token" (want tensor, channel or block) is not supported`},

		{edit("rope_theta", "0"), nil, "config.json: rope base is 0, want a positive number"},
		{edit("rope_scaling", `"linear"`), nil, `config.json: rope_scaling: want an object, found "linear"`},
		{edit("rope_scaling", `{"type":"ntk","factor":2}`), nil, `config.json: rope_scaling.rope_type: "ntk" (want default, dynamic, linear, llama3, longrope, proportional or yarn) is not supported`},
		{edit("rope_scaling", `{"type":"linear"}`), nil, "config.json: rope_scaling.factor: key is missing"},
		{edit("rope_scaling", `{"type":"linear","factor":"2"}`), nil, `config.json: rope_scaling.factor: want a number, found "2"`},
		{edit("rope_scaling", `{"type":"linear","factor":0}`), nil, "config.json: rope factor is 0, want a positive number"},
		{edit("model_type", `"mobilellm"`, "share_embedding", "true", "layer_sharing", "false", "rope_scaling", `{"type":"linear","factor":2,"beta_fast":3}`), nil, "config.json: rope_scaling.beta_fast: this key of mobilellm is not supported; if it does not affect the model's results, remove it there"},
		{edit("rope_scaling", `{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,"original_max_position_embeddings":32}`), nil, "config.json: rope frequency factors are 4 and 4, want 0 < low < high"},
		{edit("rope_parameters", `{"rope_type":"default","rope_theta":5}`), nil, "config.json: rope_theta: 10000, but rope_parameters has 5; keep one"},
		{edit("rope_theta", "", "rope_parameters", `{"rope_type":"default","partial_rotary_factor":0.5}`), nil, "config.json: rope_parameters.partial_rotary_factor: 0.5 (want 1) is not supported"},
		{edit("rope_parameters", `{"rope_type":"default"}`, "rope_scaling", `{"type":"linear","factor":2}`), nil, "config.json: rope_scaling: given together with rope_parameters; keep one, --set rope_scaling=null drops this one"},

		{edit("model_type", `"mobilellm"`), nil, "config.json: share_embedding: key is missing; add it to the file or give --set share_embedding=..."},
		{edit("model_type", `"mobilellm"`, "share_embedding", "true"), nil, "config.json: layer_sharing: key is missing; add it to the file or give --set layer_sharing=..."},
		{edit("auto_map", `{"AutoModel":"m.M"}`, "logit_scale", "2.0"), nil, "config.json: logit_scale: this key of llama is not supported; if it does not affect the model's results, --set logit_scale=null drops it"},
		{edit("auto_map", `{"AutoModel":"m.M"}`, "logit_scale", "2.0", "embedding_multiplier", "3", "hidden_act", `"gelu_10"`), nil,
			`config.json: 3 keys are not supported: hidden_act: "gelu_10" (want silu); embedding_multiplier; logit_scale; ` +
				"where they do not affect the model's results, drop them: --set embedding_multiplier=null --set logit_scale=null"},

		{edit(), []string{"layer_sharin=true"}, `--set layer_sharin: llama has no such key (did you mean "layer_sharing"?)`},
		{edit(), []string{"xyzzy=null"}, "--set xyzzy: llama has no such key"},
		{edit(), []string{"layer_sharing"}, "--set layer_sharing: want key=value"},
		{edit(), []string{"=1"}, "--set =1: want key=value"},
		{edit(), []string{"layer_sharing="}, "--set layer_sharing=: want key=value"},
		{edit(), []string{"layer_sharing=true", "layer_sharing=false"}, "--set layer_sharing: given twice"},
		{edit(), []string{"layer_sharing=True"}, `--set: layer_sharing: want true or false, found "True"`},
		{edit(), []string{"rope_scaling={\"type\":\"linear\"}"}, "--set: rope_scaling.factor: key is missing"},
	} {
		_, _, err := read(c.text, c.set...)
		if err == nil || err.Error() != c.want {
			t.Errorf("%.60s %v:\ngot  %v\nwant %s", c.text, c.set, err, c.want)
			continue
		}
		var corrupt *defect.CorruptError
		if len(c.set) == 0 && errors.As(err, &corrupt) == errors.Is(err, defect.ErrUnsupported) {
			t.Errorf("%v is not of one kind", err)
		}
	}
}

// Configs that say the same as the tiny one.
func TestNeutralKeys(t *testing.T) {
	_, want, err := read(edited(t))
	if err != nil {
		t.Fatal(err)
	}
	const stranger = `{"AutoModelForCausalLM":"modeling.Model"}`
	dump := `"is_encoder_decoder":true,"is_decoder":true,"add_cross_attention":true,"pruned_heads":{},"torchscript":true,"tie_encoder_decoder":true,
		"tokenizer_class":"LlamaTokenizer","prefix":"x","task_specific_params":{"a":{"b":1}},"num_beams":4,"bad_words_ids":[[1]],"tf_legacy_loss":true,"use_mtp":true,`
	for _, c := range []struct {
		text  string
		notes []string
	}{
		{"{" + dump + edited(t)[1:], nil},
		{"{" + dump + edited(t, "auto_map", stranger)[1:], nil},
		{edited(t, "hidden_act", `"swish"`), nil},
		{edited(t, "layer_types", `["full_attention","full_attention"]`, "is_causal", "true", "sliding_window", "32"), nil},
		{edited(t, "rope_scaling", "{}"), nil},
		{edited(t, "rope_theta", "", "rope_scaling", `{"rope_theta":10000}`), nil},
		{edited(t, "rope_theta", "", "rope_parameters", `{"rope_theta":1e4,"type":"default","factor":7}`),
			[]string{"config.json has 1 key that transformers never reads for llama, so without effect: rope_parameters.factor"}},
		{edited(t, "rope_scaling", `{"type":"dynamic","factor":4.0}`), []string{"rope_type dynamic changes nothing within the context, and longer texts are refused: read as default; " +
			"--set rope_length=N makes a model that computes all texts as transformers computes one of N tokens"}},
		{edited(t, "auto_map", stranger, "a", "null", "b", "false", "c", "[]", "d", "{}", "e", `""`, "mlp_bias", "false"), nil},
		{edited(t, "rope_interleaved", "true", "embedding_multiplier", "3"),
			[]string{"config.json has 2 keys that transformers never reads for llama, so without effect: embedding_multiplier, rope_interleaved"}},
		{edited(t, "rope_theta", ""), []string{"config.json lacks 1 key; transformers' defaults for llama apply: rope_theta 10000"}},
		{edited(t, "rms_norm_eps", "", "max_position_embeddings", "null"),
			[]string{"config.json lacks 2 keys; transformers' defaults for llama apply: max_position_embeddings 2048, rms_norm_eps 1e-06"}},
	} {
		cfg, got, err := read(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		want := want
		if got.Context == 2048 {
			want.Context, want.NormEps = 2048, 1e-6
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", c.text, diff)
		}
		if diff := cmp.Diff(c.notes, cfg.Notes()); diff != "" {
			t.Errorf("%s:\n%s", c.text, diff)
		}
	}
}

func TestOverrides(t *testing.T) {
	c, s, err := read(edited(t, "embedding_multiplier", "3"), " hidden_act = silu ", "share_embedding=true", "embedding_multiplier=null", "eos_token_id=[3, 4]")
	if err != nil {
		t.Fatal(err)
	}
	if !s.Tied || !slices.Equal(s.EOS, []int{3, 4}) {
		t.Errorf("spec %+v", s)
	}
	want := []string{"embedding_multiplier=null", "eos_token_id=[3, 4]", "hidden_act=silu", "share_embedding=true"}
	if diff := cmp.Diff(want, c.Overrides()); diff != "" {
		t.Error(diff)
	}
}

// Reading any config does not panic and allocates little; what it accepts has
// passed Spec.Check.
func FuzzConfig(f *testing.F) {
	base, err := json.Marshal(tiny())
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		string(base), "{}", `{"model_type":"mobilellm","share_embedding":true,"layer_sharing":true}`,
		`{"model_type":"llama","rope_parameters":{"rope_type":"llama3"},"num_hidden_layers":1e9}`,
		`{"model_type":"llama","num_attention_heads":0,"hidden_size":7,"head_dim":-1}`,
		edited(f, "quantization_config", `{"quant_method":"fp8","fmt":"e4m3","weight_block_size":[128,128]}`),
		edited(f, "quantization_config", compressedGroups(`{"num_bits":8,"type":"float","strategy":"channel"}`)),
		edited(f, "quantization_config", largePattern),
		qwen25, phi(`"partial_rotary_factor":0.4`), llama4(`"no_rope_layers":[1,1,0,1,0]`),
		`{"model_type":"gemma3_text","head_dim":8,"sliding_window_pattern":2,"rope_parameters":{"full_attention":{"rope_type":"linear","factor":2}},
			"hidden_size":8,"num_attention_heads":1,"num_hidden_layers":3,"intermediate_size":9,"vocab_size":5,"rms_norm_eps":0.1,"max_position_embeddings":9}`,
	} {
		f.Add([]byte(s), "layer_sharing=true")
	}
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		if _, s, err := read(string(text), set); err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("not one clean line: %q", err)
			}
		} else if n := len(s.Slots()); n < 12 {
			t.Errorf("%d slots", n)
		}
	})
}
