package arch

import (
	"thimble/convert/config"
	"thimble/internal/model"
)

func init() {
	register("mistral", Architecture{mistralSpec, llamaNames})
	register("ministral", Architecture{ministralSpec, llamaNames})
	register("ministral3", Architecture{ministral3Spec, llamaNames})
}

// mistralSpec reads the config of Mistral 7B (arXiv 2310.06825): Llama with an attention
// window. Later releases set sliding_window to null.
func mistralSpec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	setWindow(&s, slidingWindow(c), func(int) bool { return true })
	sameLayers(c, s.Blocks, "full_attention", "sliding_attention") // for the cache; the model reads sliding_window
	return s
}

// ministralSpec reads the config of Ministral 8B: Mistral with a window in the blocks that
// layer_types names.
func ministralSpec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	setWindow(&s, slidingWindow(c), layerTypes(c, s.Blocks, "sliding_attention", func(int) bool { return true }))
	return s
}

// ministral3Spec reads the config of Ministral 3 and of the text part of Mistral Small 3:
// Mistral with YaRN and Llama 4's attention temperature, in all blocks.
func ministral3Spec(c *config.Config) model.Spec {
	s := sizes(c)
	s.NormEps = c.Epsilon("rms_norm_eps")
	s.Activation = activation(c, "hidden_act", "silu")
	c.Default("rope_parameters", ministral3Rope)
	inner := wholeRotary(c, &s)
	if inner == nil { // c has an invalid value
		return s
	}
	inner.Inert("max_position_embeddings")
	if beta := inner.Float("llama_4_scaling_beta", 0); beta != 0 {
		s.Temperature = model.Temperature{Beta: beta, Length: inner.Int("original_max_position_embeddings", model.MaxLength)}
	}
	setWindow(&s, slidingWindow(c), func(int) bool { return true })
	sameLayers(c, s.Blocks, "full_attention", "sliding_attention") // for the cache; the model reads sliding_window
	return s
}

// ministral3Rope is transformers' default of Ministral 3's rope_parameters.
const ministral3Rope = `{"rope_type":"yarn","rope_theta":1000000.0,"factor":16.0,"original_max_position_embeddings":16384,
	"beta_fast":32.0,"beta_slow":1.0,"mscale_all_dim":1.0,"mscale":1.0,"llama_4_scaling_beta":0.1}`

// slidingWindow returns the value of sliding_window: 0, no window, if it is null, and
// transformers' default if it is absent.
func slidingWindow(c *config.Config) int { return c.Int("sliding_window", model.MaxLength, 0) }

// setWindow sets the window of the blocks for which isLocal is true, unless it is 0.
func setWindow(s *model.Spec, window int, isLocal func(block int) bool) {
	for b := range s.Blocks {
		if window > 0 && isLocal(b) {
			if s.Attention == nil {
				s.Attention = make([]model.Attention, s.Blocks)
			}
			s.Attention[b].Window = window
		}
	}
}
