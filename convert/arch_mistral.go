package convert

import "thimble/internal/model"

func init() { register("mistral", architecture{mistralSpec, llamaNames}) }

// mistralSpec reads the config of Mistral 7B (arXiv 2310.06825): Llama with a window
// on attention. Later releases set it to null and have none.
func mistralSpec(c *config) model.Spec {
	s := decoderSpec(c)
	setWindow(&s, slidingWindow(c), func(int) bool { return true })
	c.Absent("layer_types")
	return s
}

// slidingWindow reads sliding_window: null means no window, 0, and an absent key
// transformers' default.
func slidingWindow(c *config) int {
	window := c.Int("sliding_window", model.MaxLength, 0)
	if _, present := c.values["sliding_window"]; !present {
		return 4096
	}
	return window
}

// setWindow gives the blocks that isLocal reports a window, unless it is 0.
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
