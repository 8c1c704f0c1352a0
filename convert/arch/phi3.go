package arch

import (
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
)

func init() {
	register("phi3", Architecture{phi3Spec, phi3Names})
	register("glm", Architecture{glmSpec, glmNames})
	register("glm4", Architecture{glm4Spec, glm4Names})
}

// phi3Spec reads the config of Phi-3, 3.5 and Phi-4 (arXiv 2404.14219): Llama with one
// matrix for queries, keys and values and one for gate and up. Older configs call longrope
// su or yarn.
func phi3Spec(c *config.Config) model.Spec {
	s := gatedSpec(c)
	long := ropeForm{"longrope", longRope}
	partialRotary(c, &s, 1, map[string]ropeForm{"su": long, "yarn": long})
	setWindow(&s, slidingWindow(c), func(int) bool { return true })
	sameLayers(c, s.Blocks, "full_attention", "sliding_attention") // for the cache; the model reads sliding_window
	c.Inert("embd_pdrop", "resid_pdrop")
	return s
}

// gatedSpec is decoderSpec without the rotary embedding.
func gatedSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.NormEps = c.Epsilon("rms_norm_eps")
	s.Activation = activation(c, "hidden_act", "silu")
	return s
}

// glmSpec reads the config of GLM-4 (arXiv 2406.12793): a rotary embedding of half of each
// head, which rotates adjacent dimensions, and one matrix for gate and up.
func glmSpec(c *config.Config) model.Spec {
	s := gatedSpec(c)
	partialRotary(c, &s, 0.5, nil)
	s.Rope.Pairs = true
	s.Bias.QKV = c.Bool("attention_bias", true)
	sameLayers(c, s.Blocks, "full_attention")
	windowless(c, &s)
	return s
}

// glm4Spec reads the config of GLM-4-0414: GLM-4 with norms after both layers too.
func glm4Spec(c *config.Config) model.Spec {
	s := glmSpec(c)
	s.PostNorm = true
	return s
}

var (
	glmNames  = llamaNames.Sharing("model.layers.*.mlp.gate_up_proj.", names.InOrder(model.Gate, model.Up))
	phi3Names = glmNames.Sharing("model.layers.*.self_attn.qkv_proj.", names.InOrder(model.Q, model.K, model.V))
	glm4Names = glmNames.With(map[string]string{
		"blocks.*.attn_post": "model.layers.*.post_self_attn_layernorm.weight",
		"blocks.*.ffn_post":  "model.layers.*.post_mlp_layernorm.weight",
	})
)
