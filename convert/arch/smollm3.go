package arch

import (
	"thimble/convert/config"
	"thimble/internal/model"
)

func init() { register("smollm3", Architecture{smolLM3Spec, llamaNames}) }

// smolLM3Spec reads the config of SmolLM3: Llama without a rotary embedding in every fourth
// block.
func smolLM3Spec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	biases(c, &s, false)
	rotates, ok := rotatedBlocks(c, s.Blocks)
	if !ok {
		return s
	}
	window := slidingWindow(c)
	if !c.Bool("use_sliding_window", false) {
		window = 0
	}
	setWindow(&s, window, layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return !rotates[b] }))
	for b, yes := range rotates {
		if !yes {
			withoutRope(&s, b)
		}
	}
	return s
}

// rotatedBlocks reads which blocks have a rotary embedding: those with a 1 in
// no_rope_layers, or else all except every no_rope_layer_interval-th.
func rotatedBlocks(c *config.Config, blocks int) (rotates []bool, ok bool) {
	listed := c.Counts("no_rope_layers", "a list of 0 and 1")
	period := c.Int("no_rope_layer_interval", model.MaxBlocks, 4)
	if len(listed) > 0 && len(listed) < blocks {
		c.Fail("no_rope_layers", "%d entries, want one for each of %d blocks", len(listed), blocks)
		return nil, false
	}
	for b := range blocks {
		if len(listed) > 0 {
			rotates = append(rotates, listed[b] != 0)
		} else {
			rotates = append(rotates, (b+1)%max(period, 1) != 0)
		}
	}
	return rotates, true
}

// withoutRope takes the rotary embedding of a block away.
func withoutRope(s *model.Spec, block int) {
	if s.Attention == nil {
		s.Attention = make([]model.Attention, s.Blocks)
	}
	s.Attention[block].Rope = model.NoRope
}
