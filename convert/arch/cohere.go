package arch

import (
	"thimble/convert/config"
	"thimble/internal/model"
)

func init() {
	register("cohere", Architecture{cohereSpec, qwen3Names})
	register("cohere2", Architecture{cohere2Spec, llamaNames})
}

// parallelSpec reads what Cohere's models have in common: attention and the feed-forward
// layer in parallel after one LayerNorm without biases, a rotary embedding that rotates
// adjacent dimensions, scaled logits.
func parallelSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Tied = c.Bool("tie_word_embeddings", true)
	s.Norm, s.NormEps = model.NormGain, c.Epsilon("layer_norm_eps")
	s.Parallel, s.Activation = true, activation(c, "hidden_act", "silu")
	wholeRotary(c, &s)
	s.Rope.Pairs = true
	attentionBias(c, &s, false)
	s.LogitScale = multiplier(c, "logit_scale")
	return s
}

// cohereSpec reads the config of Command R, R+ and Aya.
func cohereSpec(c *config.Config) model.Spec {
	s := parallelSpec(c)
	if c.Bool("use_qk_norm", false) {
		s.QKNorm = model.QKHead
	}
	windowless(c, &s)
	return s
}

// cohere2Spec reads the config of Command R7B and Command A: three local blocks, with a
// window and a rotary embedding, before each global one, with neither.
func cohere2Spec(c *config.Config) model.Spec {
	s := parallelSpec(c)
	period := c.Int("sliding_window_pattern", model.MaxBlocks, 4)
	isLocal := layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return (b+1)%max(period, 1) != 0 })
	window := slidingWindow(c)
	setWindow(&s, window, isLocal)
	for b := range s.Blocks {
		if window > 0 && !isLocal(b) {
			withoutRope(&s, b)
		}
	}
	return s
}
