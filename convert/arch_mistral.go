package convert

import "thimble/internal/model"

func init() { register("mistral", architecture{mistralSpec, llamaNames}) }

// mistralSpec reads the config of Mistral 7B (arXiv 2310.06825): Llama with an attention
// window. Later releases set sliding_window to null.
func mistralSpec(c *config) model.Spec {
	s := decoderSpec(c)
	setWindow(&s, slidingWindow(c), func(int) bool { return true })
	sameLayers(c, s.Blocks, "full_attention", "sliding_attention") // for the cache; the model reads sliding_window
	return s
}

// slidingWindow returns the value of sliding_window: 0, no window, if it is null, and
// transformers' default if it is absent.
func slidingWindow(c *config) int { return c.Int("sliding_window", model.MaxLength, 0) }

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
