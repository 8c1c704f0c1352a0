package arch

import (
	"math"

	"thimble/convert/config"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() {
	register("gemma", Architecture{gemma1Spec, llamaNames})
	register("gemma2", Architecture{gemma2Spec, gemma2Names})
	register("vaultgemma", Architecture{vaultGemmaSpec, vaultGemmaNames})
	register("gemma3_text", Architecture{gemma3Spec, gemma3Names})
}

// gemmaSpec reads what all Gemma models have in common (arXiv 2403.08295): RMSNorm with
// gains stored minus 1, and scaled embeddings.
func gemmaSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Tied = c.Bool("tie_word_embeddings", true)
	s.Norm, s.NormEps = model.NormRMS1, c.Epsilon("rms_norm_eps")
	s.EmbedScale = rootOf(s.Hidden)
	attentionBias(c, &s, false)
	c.Must("use_bidirectional_attention", false)
	return s
}

// gemma1Spec reads the config of Gemma. Published configs say gelu and mean its
// approximation by tanh, which transformers takes; earlier versions took hidden_activation.
func gemma1Spec(c *config.Config) model.Spec {
	s := gemmaSpec(c)
	wholeRotary(c, &s)
	if s.Activation = model.GELUTanh; c.String("hidden_act", "gelu_pytorch_tanh") != "gelu" {
		s.Activation = activation(c, "hidden_act", "gelu_pytorch_tanh")
	}
	sameLayers(c, s.Blocks, "full_attention")
	windowless(c, &s)
	return s
}

// gemma2Spec reads the config of Gemma 2 (arXiv 2408.00118): norms around both layers,
// capped scores and logits, a window in every other block.
func gemma2Spec(c *config.Config) model.Spec {
	s := vaultGemmaSpec(c)
	s.PostNorm = true
	return s
}

// vaultGemmaSpec reads the config of VaultGemma: Gemma 2 with norms only before the layers.
func vaultGemmaSpec(c *config.Config) model.Spec {
	s := gemmaSpec(c)
	wholeRotary(c, &s)
	s.Activation = activation(c, "hidden_activation", "gelu_pytorch_tanh")
	queryScale(c, &s)
	s.AttnCap = c.Float("attn_logit_softcapping", 0)
	s.LogitCap = c.Float("final_logit_softcapping", 0)
	setWindow(&s, slidingWindow(c), layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return b%2 == 0 }))
	c.Inert("hidden_act", "cache_implementation") // hidden_activation counts
	return s
}

// queryScale reads query_pre_attn_scalar, whose root divides the scores.
func queryScale(c *config.Config, s *model.Spec) {
	assumedFloat(c, nil, "query_pre_attn_scalar", 256)
	if q := c.Float("query_pre_attn_scalar", 256); !(q > 0) {
		c.Fail("query_pre_attn_scalar", "%g, want a positive number", q)
	} else if q != float64(s.HeadDim) {
		s.AttnScale = 1 / math.Sqrt(q)
	}
}

var (
	gemma2Names     = llamaNames.With(hf.Sandwich)
	vaultGemmaNames = llamaNames.With(map[string]string{
		"blocks.*.ffn_norm": "model.layers.*.pre_feedforward_layernorm.weight",
	})
)

// gemma3Spec reads the config of Gemma 3's text models (arXiv 2503.19786): four norms
// per block with gains stored minus 1, normalized queries and keys, and local blocks,
// with a window and their own rotary embedding, between global ones.
func gemma3Spec(c *config.Config) model.Spec {
	s := gemmaSpec(c)
	s.QKNorm, s.PostNorm, s.Activation = model.QKGain, true, activation(c, "hidden_activation", "gelu_pytorch_tanh")
	queryScale(c, &s)

	period := c.Int("sliding_window_pattern", model.MaxBlocks, c.Int("_sliding_window_pattern", model.MaxBlocks, 6))
	isLocal := layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return (b+1)%max(period, 1) != 0 })
	s.Attention = make([]model.Attention, s.Blocks)
	setWindow(&s, slidingWindow(c), isLocal)
	gemma3Ropes(c, &s, isLocal)
	s.AttnCap = c.Float("attn_logit_softcapping", 0)
	s.LogitCap = c.Float("final_logit_softcapping", 0)
	c.Inert("cache_implementation")
	return s
}

// gemma3Ropes gives each block the rotary embedding of its kind.
func gemma3Ropes(c *config.Config, s *model.Spec, isLocal func(b int) bool) {
	c.Must("partial_rotary_factor", 1.0)
	c.Inert("original_max_position_embeddings") // scaledRope reads it where it counts
	global, local := gemmaRopes(c, s)
	s.Rope, s.Ropes = global, []model.Rope{local}
	for b := range s.Attention {
		if isLocal(b) {
			s.Attention[b].Rope = 1
		}
	}
}

// gemmaRopes reads the rotary embeddings of global and of local blocks. Either
// both are in rope_parameters, or the first is in rope_theta and rope_scaling and
// the second in rope_local_base_freq.
func gemmaRopes(c *config.Config, s *model.Spec) (global, local model.Rope) {
	const globalBase, localBase = 1e6, 1e4
	p := c.Object("rope_parameters")
	if p == nil {
		assumedFloat(c, nil, "rope_theta", globalBase)
		assumedFloat(c, nil, "rope_local_base_freq", localBase)
		global = model.Rope{Base: c.Float("rope_theta", globalBase)}
		if p := c.Object("rope_scaling"); p != nil {
			global = scaledRope(c, p, s, global.Base, nil)
		}
		return global, model.Rope{Base: c.Float("rope_local_base_freq", localBase)}
	}
	p.OnlyReads("full_attention", "sliding_attention")
	c.Absent("rope_scaling") // it could contradict rope_parameters
	read := func(key, outside string, base float64) model.Rope {
		base = c.Float(outside, base)
		inner := p.Object(key)
		if inner == nil || !inner.Has("rope_theta") {
			assumedFloat(c, nil, outside, base)
		}
		if inner == nil {
			return model.Rope{Base: base}
		}
		theta := inner.Float("rope_theta", base)
		if c.Has(outside) && theta != base {
			c.Fail(outside, "%g, but rope_parameters has %g for %s; keep one", base, theta, key)
		}
		inner.Must("partial_rotary_factor", 1.0)
		return scaledRope(c, inner, s, theta, nil)
	}
	return read("full_attention", "rope_theta", globalBase), read("sliding_attention", "rope_local_base_freq", localBase)
}

var gemma3Names = gemma2Names.With(hf.HeadNorms)
