package arch

import (
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
)

// Models that are a Llama with other names, biases, norms or activations.
func init() {
	register("helium", Architecture{heliumSpec, llamaNames})
	register("ernie4_5", Architecture{ernie45Spec, llamaNames})
	register("seed_oss", Architecture{seedOSSSpec, llamaNames})
	register("arcee", Architecture{arceeSpec, llamaNames})
	register("cwm", Architecture{cwmSpec, llamaNames})
	register("nemotron", Architecture{nemotronSpec, layerNormNames})
	register("jais2", Architecture{jais2Spec, layerNormNames})
	register("iquestcoder", Architecture{iQuestCoderSpec, llamaNames})
	register("internlm3", Architecture{internLM3Spec, llamaNames})
	register("internlm2", Architecture{internLM2Spec, internLM2Names})
	register("exaone", Architecture{exaoneSpec, exaoneNames})
}

// heliumSpec reads the config of Helium: its rotary embedding rotates adjacent dimensions.
func heliumSpec(c *config.Config) model.Spec {
	s := llamaSpec(c)
	s.Bias.O = false // transformers' class has none, whatever attention_bias is
	s.Rope.Pairs = true
	return s
}

// ernie45Spec reads the config of the dense ERNIE 4.5: the same, with one switch for all
// biases.
func ernie45Spec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	bias := c.Bool("use_bias", false)
	s.Bias = model.Bias{QKV: bias, O: bias, FFN: bias}
	s.Rope.Pairs = true
	windowless(c, &s)
	return s
}

// seedOSSSpec reads the config of Seed-OSS: attention's output has its own switch for a
// bias.
func seedOSSSpec(c *config.Config) model.Spec {
	s := llamaSpec(c)
	s.Bias.QKV, s.Bias.O = c.Bool("attention_bias", true), c.Bool("attention_out_bias", false)
	c.Inert("residual_dropout")
	return s
}

// arceeSpec reads the config of AFM: a feed-forward layer of two matrices.
func arceeSpec(c *config.Config) model.Spec {
	s := llamaSpec(c)
	s.Ungated = true
	return s
}

// cwmSpec reads the config of CWM: a window in three blocks of four.
func cwmSpec(c *config.Config) model.Spec {
	c.Default("rope_parameters", cwmRope)
	s := decoderSpec(c)
	s.Bias.FFN = c.Bool("mlp_bias", false)
	setWindow(&s, slidingWindow(c), layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return b%4 != 0 }))
	return s
}

// cwmRope is transformers' default of CWM's rope_parameters.
const cwmRope = `{"rope_type":"llama3","rope_theta":1000000.0,"factor":16.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
	"original_max_position_embeddings":8192}`

// nemotronSpec reads the config of Nemotron-3, Nemotron-4 and Minitron (arXiv 2402.16819):
// LayerNorm with gains stored minus 1, a rotary embedding of a part of each head, a
// feed-forward layer of two matrices.
func nemotronSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Norm, s.NormEps = model.NormLayer1, c.Epsilon("norm_eps")
	s.Ungated, s.Activation = true, activation(c, "hidden_act", "relu2")
	partialRotary(c, &s, 0.5, nil)
	biases(c, &s, false)
	windowless(c, &s)
	return s
}

// jais2Spec reads the config of Jais 2: LayerNorm, and a feed-forward layer of two matrices.
func jais2Spec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Norm, s.NormEps = model.NormLayer, c.Epsilon("layer_norm_eps")
	s.Ungated, s.Activation = true, activation(c, "hidden_act", "relu2")
	wholeRotary(c, &s)
	biases(c, &s, true)
	windowless(c, &s)
	return s
}

// iQuestCoderSpec reads the config of IQuest Coder, whose code has two more switches.
func iQuestCoderSpec(c *config.Config) model.Spec {
	s := llamaSpec(c)
	c.Absent("clip_qkv")
	c.Must("use_sliding_window", false)
	return s
}

// internLM3Spec reads the config of InternLM3, which has its own names for biases.
func internLM3Spec(c *config.Config) model.Spec {
	c.Alias("qkv_bias", "attention_bias")
	c.Alias("bias", "mlp_bias")
	s := llamaSpec(c)
	if s.Bias.QKV != s.Bias.FFN {
		c.Unsupported("qkv_bias", "%t, with a bias of %t,", s.Bias.QKV, s.Bias.FFN)
	}
	return s
}

// internLM2Spec reads the config of InternLM2 (arXiv 2403.17297): one switch for the biases
// of attention, and names of its own.
func internLM2Spec(c *config.Config) model.Spec {
	c.Alias("bias", "attention_bias")
	return llamaSpec(c)
}

// internLM2Names has the queries of each key head before its key and value, in one matrix.
var internLM2Names = names.Table{
	Stored: map[string]string{
		"embed":              "model.tok_embeddings.weight",
		"blocks.*.attn_norm": "model.layers.*.attention_norm.weight",
		"blocks.*.o":         "model.layers.*.attention.wo.weight",
		"blocks.*.o.bias":    "model.layers.*.attention.wo.bias",
		"blocks.*.ffn_norm":  "model.layers.*.ffn_norm.weight",
		"blocks.*.gate":      "model.layers.*.feed_forward.w1.weight",
		"blocks.*.up":        "model.layers.*.feed_forward.w3.weight",
		"blocks.*.down":      "model.layers.*.feed_forward.w2.weight",
		"norm":               "model.norm.weight",
		"head":               "output.weight",
	},
}.Sharing("model.layers.*.attention.wqkv.", perHead)

// exaoneSpec reads the config of EXAONE 3 and 3.5 (arXiv 2408.03541), whose code has its own
// names for keys and tensors.
func exaoneSpec(c *config.Config) model.Spec {
	c.Alias("num_layers", "num_hidden_layers")
	c.Alias("layer_norm_epsilon", "rms_norm_eps")
	c.Alias("activation_function", "hidden_act")
	s := llamaSpec(c)
	c.Inert("embed_dropout")
	return s
}

var exaoneNames = names.Table{
	Stored: map[string]string{
		"embed":              "transformer.wte.weight",
		"blocks.*.attn_norm": "transformer.h.*.ln_1.weight",
		"blocks.*.q":         "transformer.h.*.attn.attention.q_proj.weight",
		"blocks.*.k":         "transformer.h.*.attn.attention.k_proj.weight",
		"blocks.*.v":         "transformer.h.*.attn.attention.v_proj.weight",
		"blocks.*.o":         "transformer.h.*.attn.attention.out_proj.weight",
		"blocks.*.ffn_norm":  "transformer.h.*.ln_2.weight",
		"blocks.*.gate":      "transformer.h.*.mlp.c_fc_0.weight",
		"blocks.*.up":        "transformer.h.*.mlp.c_fc_1.weight",
		"blocks.*.down":      "transformer.h.*.mlp.c_proj.weight",
		"norm":               "transformer.ln_f.weight",
		"head":               "lm_head.weight",
	},
}

var layerNormNames = llamaNames.With(map[string]string{
	"blocks.*.attn_norm.bias": "model.layers.*.input_layernorm.bias",
	"blocks.*.ffn_norm.bias":  "model.layers.*.post_attention_layernorm.bias",
	"norm.bias":               "model.norm.bias",
})
