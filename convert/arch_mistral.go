package convert

import "thimble/internal/model"

func init() { register("mistral", architecture{mistralSpec, llamaNames}) }

// mistralSpec reads the config of Mistral 7B (arXiv 2310.06825): Llama, but for
// a window on attention. Later releases set it to null and see everything; a
// config that does not name it means transformers' default.
func mistralSpec(c *config) model.Spec {
	s := decoderSpec(c)
	window := c.Int("sliding_window", model.MaxLength, 0)
	if _, said := c.values["sliding_window"]; !said {
		window = 4096
	}
	local(&s, window, func(int) bool { return true })
	c.Absent("layer_types")
	return s
}

// local gives the blocks that in says a window; 0 is none.
func local(s *model.Spec, window int, in func(block int) bool) {
	for b := range s.Blocks {
		if window > 0 && in(b) {
			if s.Attention == nil {
				s.Attention = make([]model.Attention, s.Blocks)
			}
			s.Attention[b].Window = window
		}
	}
}
