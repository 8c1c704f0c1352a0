package arch

import (
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() {
	register("olmo", Architecture{olmoSpec, olmoNames})
	register("olmo2", Architecture{olmo2Spec, olmo2Names})
	register("olmo3", Architecture{olmo3Spec, olmo2Names})
	register("exaone4", Architecture{exaone4Spec, olmo2Names})
}

// olmoSpec reads the config of OLMo (arXiv 2402.00838): LayerNorm without gains and biases.
func olmoSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Norm, s.NormEps = model.NormGain, 1e-5 // a constant of the code
	s.Activation = activation(c, "hidden_act", "silu")
	wholeRotary(c, &s)
	attentionBias(c, &s, false)
	c.Absent("clip_qkv")
	windowless(c, &s)
	return s
}

var olmoNames = func() names.Table {
	n := llamaNames.With(map[string]string{"blocks.*.attn_norm": "", "blocks.*.ffn_norm": "", "norm": ""})
	n.Ones = []string{"blocks.*.attn_norm", "blocks.*.ffn_norm", "norm"}
	return n
}()

// olmo2Spec reads the config of OLMo 2 (arXiv 2501.00656): norms after the layers and none
// before them, and queries and keys normalized over all heads together.
func olmo2Spec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	olmoNorms(c, &s)
	windowless(c, &s)
	return s
}

func olmoNorms(c *config.Config, s *model.Spec) {
	s.PostNorm, s.NoPreNorm, s.QKNorm = true, true, model.QKWide
	attentionBias(c, s, false)
}

// olmo3Spec reads the config of OLMo 3: OLMo 2 with a window in three blocks of four, whose
// rotary embedding is not scaled.
func olmo3Spec(c *config.Config) model.Spec {
	s := gatedSpec(c)
	olmoNorms(c, &s)
	base := c.Float("rope_theta", 500000)
	c.Must("partial_rotary_factor", 1.0)
	c.Inert("original_max_position_embeddings")
	s.Rope = model.Rope{Base: base}
	local := s.Rope
	if p := c.Object("rope_parameters"); p != nil {
		c.Absent("rope_scaling") // it could contradict rope_parameters
		p.OnlyReads("full_attention", "sliding_attention")
		s.Rope, local = nestedRope(c, p, &s, "full_attention", base), nestedRope(c, p, &s, "sliding_attention", base)
	} else {
		assumedFloat(c, nil, "rope_theta", base)
		if p := c.Object("rope_scaling"); p != nil {
			s.Rope = scaledRope(c, p, &s, base, nil)
		}
	}
	if base != 500000 && !c.Has("rope_parameters") { // transformers then takes it for global blocks only
		c.Unsupported("rope_theta", "%g, outside rope_parameters (want 500000),", base)
	}
	isLocal := layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return (b+1)%4 != 0 })
	s.Ropes, s.Attention = []model.Rope{local}, make([]model.Attention, s.Blocks)
	setWindow(&s, slidingWindow(c), isLocal)
	for b := range s.Attention {
		if isLocal(b) {
			s.Attention[b].Rope = 1
		}
	}
	return s
}

// nestedRope reads the rotary embedding of one kind of layers from p, the rope_parameters
// of c.
func nestedRope(c, p *config.Config, s *model.Spec, key string, base float64) model.Rope {
	inner := p.Object(key)
	if inner == nil {
		return model.Rope{Base: base}
	}
	inner.Must("partial_rotary_factor", 1.0)
	return scaledRope(c, inner, s, inner.Float("rope_theta", base), nil)
}

// exaone4Spec reads the config of EXAONE 4 (arXiv 2507.11407): norms after the layers and
// none before them, normalized queries and keys, and, if the blocks differ, local ones with
// a window and a rotary embedding between global ones with neither.
func exaone4Spec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	s.PostNorm, s.NoPreNorm, s.QKNorm = true, true, model.QKGain
	window, period := slidingWindow(c), 4
	if c.Has("sliding_window_pattern") {
		period = c.Count("sliding_window_pattern", model.MaxBlocks)
	}
	isLocal := layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return window > 0 && (b+1)%max(period, 1) != 0 })
	setWindow(&s, window, isLocal)
	for b := range s.Blocks {
		if window > 0 && !isLocal(b) {
			withoutRope(&s, b)
		}
	}
	return s
}

var olmo2Names = qwen3Names.With(hf.PostNorms)
