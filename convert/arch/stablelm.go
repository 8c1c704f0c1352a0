package arch

import (
	"maps"
	"math"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
)

func init() {
	register("starcoder2", Architecture{starCoder2Spec, starCoder2Names})
	register("stablelm", Architecture{stableLMSpec, stableLMNames})
	register("persimmon", Architecture{persimmonSpec, persimmonNames})
}

// rootOf returns the square root of n.
func rootOf(n int) float64 { return math.Sqrt(float64(n)) }

// starCoder2Spec reads the config of StarCoder 2 (arXiv 2402.19173).
func starCoder2Spec(c *config.Config) model.Spec {
	s := layerNormSpec(c, "norm_epsilon", "hidden_act")
	wholeRotary(c, &s)
	bias := c.Bool("use_bias")
	s.Bias = model.Bias{QKV: bias, O: bias, FFN: bias}
	setWindow(&s, slidingWindow(c), func(int) bool { return true })
	sameLayers(c, s.Blocks, "full_attention", "sliding_attention") // for the cache; the model reads sliding_window
	c.Inert("residual_dropout", "embedding_dropout")
	return s
}

// stableLMSpec reads the config of StableLM 3B and StableLM 2 (arXiv 2402.17834): Llama
// with LayerNorm and a rotary embedding of a part of each head.
func stableLMSpec(c *config.Config) model.Spec {
	s := layerNormSpec(c, "layer_norm_eps", "hidden_act")
	s.Ungated = false
	partialRotary(c, &s, 0.25, nil)
	s.Bias.QKV = c.Bool("use_qkv_bias")
	s.Parallel = c.Bool("use_parallel_residual")
	if c.Bool("qk_layernorm") {
		s.QKNorm = model.QKHead
	}
	windowless(c, &s)
	c.Inert("hidden_dropout")
	return s
}

// persimmonSpec reads the config of Persimmon and Fuyu's text model.
func persimmonSpec(c *config.Config) model.Spec {
	s := layerNormSpec(c, "layer_norm_eps", "hidden_act")
	partialRotary(c, &s, 0.5, nil)
	s.Bias = model.Bias{QKV: true, O: true, FFN: true}
	if c.Bool("qk_layernorm") {
		s.QKNorm = model.QKLayer
	}
	windowless(c, &s)
	c.Inert("hidden_dropout")
	return s
}

var (
	llamaOutside = map[string]string{model.Embed: "model.embed_tokens", model.Norm: "model.norm", model.Head: "lm_head"}
	attentionOf  = map[string]string{
		model.AttnNorm: "input_layernorm", model.Q: "self_attn.q_proj", model.K: "self_attn.k_proj", model.V: "self_attn.v_proj",
		model.O: "self_attn.o_proj", model.FFNNorm: "post_attention_layernorm",
	}
	starCoder2Names = names.Blocks("model.layers.*.", withKinds(attentionOf, map[string]string{model.Up: "mlp.c_fc", model.Down: "mlp.c_proj"}), llamaOutside)
	stableLMNames   = names.Blocks("model.layers.*.", withKinds(attentionOf, map[string]string{
		model.Gate: "mlp.gate_proj", model.Up: "mlp.up_proj", model.Down: "mlp.down_proj", model.QNorm: "self_attn.q_layernorm", model.KNorm: "self_attn.k_layernorm",
	}), llamaOutside).Joining("model.layers.*.self_attn.q_layernorm.norms.*.weight", "model.layers.*.self_attn.k_layernorm.norms.*.weight")
	persimmonNames = names.Blocks("model.layers.*.", map[string]string{
		model.AttnNorm: "input_layernorm", model.O: "self_attn.dense", model.QNorm: "self_attn.q_layernorm", model.KNorm: "self_attn.k_layernorm",
		model.FFNNorm: "post_attention_layernorm", model.Up: "mlp.dense_h_to_4h", model.Down: "mlp.dense_4h_to_h",
	}, map[string]string{model.Embed: "model.embed_tokens", model.Norm: "model.final_layernorm", model.Head: "lm_head"}).
		Sharing("model.layers.*.self_attn.query_key_value.", perHead)
)

// withKinds returns a with the entries of b added.
func withKinds(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}
