package arch

import (
	"thimble/convert/config"
	"thimble/internal/kernel"
	"thimble/internal/model"
)

func init() { register("hunyuan_v1_dense", Architecture{hunYuanSpec, hunYuanNames}) }

// hunYuanSpec reads the config of Hunyuan's dense models: Llama whose queries and keys are
// normalized after rotation, and whose rope_type dynamic stretches the base by a fixed alpha.
func hunYuanSpec(c *config.Config) model.Spec {
	s := gatedSpec(c)
	rotary(c, &s, 10000, map[string]ropeForm{"dynamic": {"dynamic", alphaRope}})
	c.Must("partial_rotary_factor", 1.0)
	attentionBias(c, &s, false)
	s.QKNorm, s.QKRotated = model.QKGain, true
	windowless(c, &s)
	c.Inert("eod_token_id")
	return s
}

func alphaRope(c, p *config.Config, s *model.Spec, base float64) model.Rope {
	alpha := p.Float("alpha", 0)
	if alpha == 0 {
		return dynamicRope(c, p, s, base)
	}
	p.Inert("factor")
	dims := float64(s.HeadDim)
	return model.Rope{Base: base * kernel.Pow64(alpha, dims/(dims-2))}
}

var hunYuanNames = llamaNames.With(map[string]string{
	"blocks.*.q_norm": "model.layers.*.self_attn.query_layernorm.weight",
	"blocks.*.k_norm": "model.layers.*.self_attn.key_layernorm.weight",
})
