package arch

import (
	"thimble/convert/config"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() {
	register("qwen2", Architecture{qwen2Spec, llamaNames})
	register("qwen3", Architecture{qwen3Spec, qwen3Names})
}

// qwen2Spec reads the config of Qwen2 and Qwen2.5 (arXiv 2407.10671): Llama with
// biases on queries, keys and values.
func qwen2Spec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	s.Bias.QKV = true
	qwenWindows(c, &s)
	return s
}

// qwen3Spec reads the config of the dense Qwen3 (arXiv 2505.09388): Llama with each
// head of the queries and keys normalized, with gains.
func qwen3Spec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	attentionBias(c, &s, false)
	s.QKNorm = model.QKGain
	qwenWindows(c, &s)
	return s
}

// qwenWindows reads which blocks have a window. Without use_sliding_window, none has.
func qwenWindows(c *config.Config, s *model.Spec) {
	window := slidingWindow(c)
	if !c.Bool("use_sliding_window", false) {
		window = 0
	}
	laterWindows(c, s, window, 28)
}

// laterWindows gives a window to the blocks that layer_types names, or, without
// layer_types, to those from max_window_layers on, which is full by default.
func laterWindows(c *config.Config, s *model.Spec, window, full int) {
	if c.Has("max_window_layers") {
		full = c.Count("max_window_layers", model.MaxBlocks)
	}
	setWindow(s, window, layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return b >= full }))
}

// layerTypes reads layer_types, which names each block's attention: special or
// full_attention. It returns a function that reports whether a block is special; that is
// def if the key is absent.
func layerTypes(c *config.Config, blocks int, special string, def func(block int) bool) func(block int) bool {
	types := c.Strings("layer_types", blocks)
	if types == nil {
		return def
	}
	for _, t := range types {
		if t != special && t != "full_attention" {
			c.Unsupported("layer_types", "%s (want %s or full_attention)", config.Show(t), special)
		}
	}
	return func(b int) bool { return types[b] == special }
}

var qwen3Names = llamaNames.With(hf.HeadNorms)
