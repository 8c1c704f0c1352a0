package convert

import (
	"math"

	"thimble/internal/model"
)

func init() { register("gemma3_text", architecture{gemma3Spec, gemma3Names}) }

// gemma3Spec reads the config of Gemma 3's text models (arXiv 2503.19786): four norms
// per block with gains stored minus 1, normalized queries and keys, and local blocks,
// with a window and their own rotary embedding, between global ones.
func gemma3Spec(c *config) model.Spec {
	s := sizes(c)
	s.Tied = c.Bool("tie_word_embeddings", true)
	s.Norm, s.NormEps = model.NormRMS1, c.Float("rms_norm_eps")
	s.QKNorm, s.PostNorm, s.Activation = model.QKGain, true, activation(c, "hidden_activation", "gelu_pytorch_tanh")
	s.EmbedScale = math.Sqrt(float64(s.Hidden))
	if q := c.Float("query_pre_attn_scalar", 256); !(q > 0) {
		c.Fail("query_pre_attn_scalar", "%g, want a positive number", q)
	} else if q != float64(s.HeadDim) {
		s.AttnScale = 1 / math.Sqrt(q)
	}
	bias := c.Bool("attention_bias", false)
	s.Bias.QKV, s.Bias.O = bias, bias

	c.Must("partial_rotary_factor", 1.0)
	c.Inert("original_max_position_embeddings") // scaledRope reads it where it counts
	global, local := gemmaRopes(c)
	s.Rope, s.Ropes = global, []model.Rope{local}
	period := c.Int("sliding_window_pattern", model.MaxBlocks, c.Int("_sliding_window_pattern", model.MaxBlocks, 6))
	isLocal := layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return (b+1)%max(period, 1) != 0 })
	s.Attention = make([]model.Attention, s.Blocks)
	setWindow(&s, slidingWindow(c), isLocal)
	for b := range s.Attention {
		if isLocal(b) {
			s.Attention[b].Rope = 1
		}
	}
	c.Must("use_bidirectional_attention", false)
	c.Absent("attn_logit_softcapping", "final_logit_softcapping")
	c.Inert("cache_implementation")
	return s
}

// gemmaRopes reads the rotary embeddings of global and of local blocks. Either
// both are in rope_parameters, or the first is in rope_theta and rope_scaling and
// the second in rope_local_base_freq.
func gemmaRopes(c *config) (global, local model.Rope) {
	const globalBase, localBase = 1e6, 1e4
	p := c.Object("rope_parameters")
	if p == nil {
		global = model.Rope{Base: c.Float("rope_theta", globalBase)}
		if p := c.Object("rope_scaling"); p != nil {
			global = scaledRope(c, p, global.Base)
		}
		return global, model.Rope{Base: c.Float("rope_local_base_freq", localBase)}
	}
	p.reads = map[string]bool{"full_attention": true, "sliding_attention": true}
	c.Absent("rope_scaling") // it could contradict rope_parameters
	read := func(key, outside string, base float64) model.Rope {
		base = c.Float(outside, base)
		inner := p.Object(key)
		if inner == nil {
			return model.Rope{Base: base}
		}
		theta := inner.Float("rope_theta", base)
		if c.Has(outside) && theta != base {
			c.Fail(outside, "%g, but rope_parameters has %g for %s; keep one", base, theta, key)
		}
		inner.Must("partial_rotary_factor", 1.0)
		return scaledRope(c, inner, theta)
	}
	return read("full_attention", "rope_theta", globalBase), read("sliding_attention", "rope_local_base_freq", localBase)
}

var gemma3Names = qwen3Names.with(map[string]string{
	"blocks.*.attn_post": "model.layers.*.post_attention_layernorm.weight",
	"blocks.*.ffn_norm":  "model.layers.*.pre_feedforward_layernorm.weight",
	"blocks.*.ffn_post":  "model.layers.*.post_feedforward_layernorm.weight",
})
