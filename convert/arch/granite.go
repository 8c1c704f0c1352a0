package arch

import (
	"math"

	"thimble/convert/config"
	"thimble/internal/model"
)

func init() {
	register("granite", Architecture{graniteSpec, llamaNames})
	register("minicpm", Architecture{miniCPMSpec, llamaNames})
	register("hyperclovax", Architecture{hyperCLOVAXSpec, hyperCLOVAXNames})
}

// scaledSpec reads the config of a Llama with four multipliers (muP, arXiv 2203.03466),
// except that of the logits.
func scaledSpec(c *config.Config) model.Spec {
	s := llamaSpec(c)
	streamScales(c, &s)
	return s
}

// streamScales reads the multipliers of what is added to the stream.
func streamScales(c *config.Config, s *model.Spec) {
	s.EmbedScale = multiplier(c, "embedding_multiplier")
	s.ResidScale = multiplier(c, "residual_multiplier")
}

// multiplier reads a factor in the form of Spec: 0 is 1.
func multiplier(c *config.Config, key string) float64 {
	x := c.Float(key, 1)
	if !(x > 0) {
		c.Fail(key, "%g, want a positive number", x)
	}
	if x == 1 {
		return 0
	}
	return x
}

// graniteSpec reads the config of Granite 3 and 4 (dense).
func graniteSpec(c *config.Config) model.Spec {
	s := llamaSpec(c)
	granite(c, &s)
	return s
}

// granite reads Granite's multipliers.
func granite(c *config.Config, s *model.Spec) {
	streamScales(c, s)
	if s.AttnScale = c.Float("attention_multiplier", 1); !(s.AttnScale > 0) {
		c.Fail("attention_multiplier", "%g, want a positive number", s.AttnScale)
	}
	if x := multiplier(c, "logits_scaling"); x != 0 {
		s.LogitScale = 1 / x
	}
}

// miniCPMSpec reads the config of MiniCPM 1B and 2B (arXiv 2404.06395), whose code has its own
// names for three of the multipliers.
func miniCPMSpec(c *config.Config) model.Spec {
	s := llamaSpec(c)
	miniCPMScales(c, &s)
	c.Must("num_experts", 0.0)
	c.Absent("sparse_config")
	return s
}

// miniCPMScales reads the multipliers of MiniCPM.
func miniCPMScales(c *config.Config, s *model.Spec) {
	s.Tied = c.Bool("tie_word_embeddings", true)
	s.EmbedScale = multiplier(c, "scale_emb")
	if depth := c.Float("scale_depth", 1) / math.Sqrt(float64(max(s.Blocks, 1))); !(depth > 0) {
		c.Fail("scale_depth", "%g, want a positive number", c.Float("scale_depth", 1))
	} else if depth != 1 {
		s.ResidScale = depth
	}
	if base := c.Int("dim_model_base", model.MaxWidth, 1); base != s.Hidden {
		s.LogitScale = float64(base) / float64(max(s.Hidden, 1))
	}
}

// hyperCLOVAXSpec reads the config of HyperCLOVA X: Granite that multiplies logits, with
// norms after both layers.
func hyperCLOVAXSpec(c *config.Config) model.Spec {
	s := scaledSpec(c)
	if c.Has("attention_multiplier") {
		s.AttnScale = c.Float("attention_multiplier")
	}
	s.LogitScale = multiplier(c, "logits_scaling")
	s.PostNorm = c.Bool("use_post_norm", true)
	return s
}

var hyperCLOVAXNames = llamaNames.With(map[string]string{
	"blocks.*.attn_post": "model.layers.*.post_norm1.weight",
	"blocks.*.ffn_post":  "model.layers.*.post_norm2.weight",
})
