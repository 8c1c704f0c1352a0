package arch

import (
	"thimble/convert/config"
	"thimble/internal/model"
)

func init() { register("gpt_oss", Architecture{gptOSSSpec, gptOSSNames}) }

// gptOSSSpec reads the config of gpt-oss (arXiv 2508.10925): a window in every second block, a
// sink for each head, experts with biases and clamped gates. A softmax over the logits of the
// experts that compute gives the same weights as one over all, normalized.
func gptOSSSpec(c *config.Config) model.Spec {
	if !c.Has("rope_scaling") {
		c.Default("rope_parameters", gptOSSRope)
	}
	s := sizes(c)
	s.NormEps = c.Epsilon("rms_norm_eps")
	inner := rotary(c, &s, 150000, nil)
	c.Must("partial_rotary_factor", 1.0)
	if inner != nil {
		inner.Must("partial_rotary_factor", 1.0)
	}
	attentionBias(c, &s, true)
	setWindow(&s, slidingWindow(c), layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return b%2 == 0 }))
	s.Sinks = true
	c.Must("hidden_act", "silu")
	s.Activation = model.Clamped
	s.Clamp = model.Clamp{Alpha: c.Float("swiglu_alpha", 1.702), Limit: c.Float("swiglu_limit", 7)}
	c.Renamed("num_experts", "num_local_experts", "experts_per_token", "num_experts_per_tok")
	s.Experts = experts(c, "num_local_experts", "intermediate_size")
	s.Experts.Normalized, s.Experts.Biases = true, true
	c.Inert("num_experts", "experts_per_token", "initial_context_length")
	return s
}

// gptOSSRope is transformers' default of the rope_parameters.
const gptOSSRope = `{"rope_type":"yarn","factor":32.0,"beta_fast":32.0,"beta_slow":1.0,"truncate":false,"original_max_position_embeddings":4096}`

var gptOSSNames = llamaNames.With(map[string]string{
	"blocks.*.sinks":       "model.layers.*.self_attn.sinks",
	"blocks.*.router.bias": "model.layers.*.mlp.router.bias",
}).InterleavedExperts("model.layers.*.mlp.", "model.layers.*.mlp.router.weight")
