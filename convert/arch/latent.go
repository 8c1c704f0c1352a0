package arch

import (
	"math"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
)

// Models with multi-head latent attention.
func init() {
	register("deepseek_v2", Architecture{deepSeekV2Spec, latentNames})
	register("deepseek_v3", Architecture{deepSeekV3Spec, latentNames})
	register("glm4_moe_lite", Architecture{glm4MoeLiteSpec, latentNames})
	register("youtu", Architecture{youtuSpec, latentNames})
	register("minicpm3", Architecture{miniCPM3Spec, latentNames})
}

// deepSeekV2Spec reads the config of DeepSeek-V2 and V2-Lite (arXiv 2405.04434): scores by a
// softmax, which are not normalized, and groups of experts compared by the best.
func deepSeekV2Spec(c *config.Config) model.Spec {
	s := latentSpec(c)
	s.Rope.Pairs = true
	s.Bias.FFN = c.Bool("mlp_bias", false)
	deepSeekMixture(c, &s)
	s.Experts.Sigmoid, s.Experts.Selects, s.Experts.Normalized = false, false, false
	c.Must("norm_topk_prob", false)
	c.Must("scoring_func", "softmax")
	c.Inert("n_group", "topk_group")
	switch method := c.String("topk_method", "greedy"); method {
	case "greedy":
	case "group_limited_greedy":
		groups(c, &s, 1)
	default:
		if c.Err() == nil {
			c.Unsupported("topk_method", "%s (want greedy or group_limited_greedy)", config.Show(method))
		}
	}
	denseFirst(c, &s)
	return s
}

// deepSeekV3Spec reads the config of DeepSeek-V3 (arXiv 2412.19437) and Moonlight.
func deepSeekV3Spec(c *config.Config) model.Spec {
	s := interleavedSpec(c)
	c.Must("scoring_func", "sigmoid")
	c.Must("topk_method", "noaux_tc")
	deepSeekExperts(c, &s)
	c.Inert("num_mtp_layers", "num_nextn_predict_layers")
	return s
}

// glm4MoeLiteSpec reads the config of GLM-4.7-Flash: DeepSeek-V3 with a list of the blocks that
// have experts.
func glm4MoeLiteSpec(c *config.Config) model.Spec {
	s := interleavedSpec(c)
	c.Must("topk_method", "noaux_tc")
	deepSeekMixture(c, &s)
	groups(c, &s, 2)
	kinds := c.Strings("mlp_layer_types", s.Blocks)
	for b := range s.Blocks {
		kind := "sparse"
		if len(kinds) > 0 {
			kind = kinds[b]
		} else if b == 0 {
			kind = "dense"
		}
		switch kind {
		case "dense":
			s.Experts.Dense = append(s.Experts.Dense, b)
		case "sparse":
		default:
			c.Unsupported("mlp_layer_types", "%s (want dense or sparse)", config.Show(kind))
		}
	}
	c.Inert("num_nextn_predict_layers")
	return s
}

// youtuSpec reads the config of Youtu-LLM (arXiv 2512.24618): DeepSeek-V3 without experts.
func youtuSpec(c *config.Config) model.Spec {
	c.Inert("embedding_initializer_range")
	return interleavedSpec(c)
}

// miniCPM3Spec reads the config of MiniCPM3: MiniCPM with latent attention.
func miniCPM3Spec(c *config.Config) model.Spec {
	s := latentSpec(c)
	s.Bias.FFN = c.Bool("mlp_bias", false)
	miniCPMScales(c, &s)
	c.Inert("logits_scaling") // which the class computes
	return s
}

// interleavedSpec is latentSpec with a rotary embedding that rotates adjacent dimensions, unless
// a key says otherwise.
func interleavedSpec(c *config.Config) model.Spec {
	s := latentSpec(c)
	s.Rope.Pairs = c.Bool("rope_interleave", true)
	return s
}

// latentSpec reads what the models have in common.
func latentSpec(c *config.Config) model.Spec {
	rotatedHeads(c)
	s := sizes(c)
	s.NormEps = c.Epsilon("rms_norm_eps")
	scaling := wholeRotary(c, &s)
	s.Activation = activation(c, "hidden_act", "silu")
	attentionBias(c, &s, false)
	windowless(c, &s)
	latentAttention(c, &s)
	s.AttnScale = latentScale(scaling, &s)
	return s
}

// rotatedHeads makes c read the rotary embedding for the dimensions that are rotated, which
// head_dim stands for in transformers, too.
func rotatedHeads(c *config.Config) {
	dims := c.Int("qk_rope_head_dim", model.MaxWidth)
	if n, ok := config.Whole(c.Value("head_dim")); ok && n != dims {
		c.Fail("head_dim", "%d, but qk_rope_head_dim is %d", n, dims)
	}
	c.Renamed("qk_rope_head_dim", "head_dim")
}

// latentAttention reads the sizes of latent attention, for s with heads of the rotated
// dimensions.
func latentAttention(c *config.Config, s *model.Spec) {
	const eps = 1e-6 // of transformers' classes, whatever rms_norm_eps is
	s.Rope.Dims = s.HeadDim
	s.HeadDim = min(s.Rope.Dims+c.Int("qk_nope_head_dim", model.MaxWidth), model.MaxWidth)
	l := model.Latent{KeyValue: c.Int("kv_lora_rank", model.MaxWidth), Value: c.Int("v_head_dim", model.MaxWidth, s.Hidden/max(s.Heads, 1)), Eps: eps}
	if _, present := c.Values["q_lora_rank"]; !present || c.Has("q_lora_rank") {
		l.Query = c.Int("q_lora_rank", model.MaxWidth)
	}
	if s.Latent = l; s.KVHeads != s.Heads {
		c.Unsupported("num_key_value_heads", "%d (want num_attention_heads, %d)", s.KVHeads, s.Heads)
	}
	c.Inert("qk_head_dim")
}

// latentScale returns the factor of the attention scores, which grows with the context that YaRN
// adds (transformers, yarn_apply_mscale), or 0 for the usual one. p has the parameters of the
// rotary embedding; it may be nil.
func latentScale(p *config.Config, s *model.Spec) float64 {
	if p == nil || s.Rope.Scaling == model.RopePlain {
		return 0
	}
	all := p.Float("mscale_all_dim", 0)
	switch {
	case all == 0:
		return 0
	case s.Rope.Scaling != model.RopeYarn:
		p.UnsupportedObject("mscale_all_dim", "%g without yarn", all)
	}
	m := model.YarnScale(s.Rope.Factor, all)
	return float64(m*m) / math.Sqrt(float64(s.HeadDim))
}

var latentNames = deepSeekNames.With(map[string]string{
	"blocks.*.q":         "model.layers.*.self_attn.q_b_proj.weight",
	"blocks.*.q_a":       "model.layers.*.self_attn.q_a_proj.weight",
	"blocks.*.q_a.bias":  "model.layers.*.self_attn.q_a_proj.bias",
	"blocks.*.q_a_norm":  "model.layers.*.self_attn.q_a_layernorm.weight",
	"blocks.*.kv_a":      "model.layers.*.self_attn.kv_a_proj_with_mqa.weight",
	"blocks.*.kv_a.bias": "model.layers.*.self_attn.kv_a_proj_with_mqa.bias",
	"blocks.*.kv_a_norm": "model.layers.*.self_attn.kv_a_layernorm.weight",
}).Renaming("model.layers.*.self_attn.q_proj", "model.layers.*.self_attn.q_b_proj").
	Sharing("model.layers.*.self_attn.kv_b_proj.", names.Grouped(func(s *model.Spec) int { return s.KVHeads }, model.K, model.V))
