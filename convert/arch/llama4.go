package arch

import (
	"thimble/convert/config"
	"thimble/internal/model"
)

func init() { register("llama4_text", Architecture{llama4Spec, llama4Names}) }

// llama4Spec reads the config of Llama 4's text model as MobileLLM-R1 uses it
// (arXiv 2509.24945): dense, with some blocks without a rotary embedding. The other
// blocks normalize queries and keys and restrict attention to chunks. The rotary
// embedding rotates adjacent dimensions together.
func llama4Spec(c *config.Config) model.Spec {
	s := sizes(c)
	s.FFN = c.Int("intermediate_size_mlp", model.MaxWidth) // intermediate_size is for experts
	assumedFloat(c, nil, "rms_norm_eps", 1e-5)
	s.NormEps = c.Epsilon("rms_norm_eps", 1e-5)
	wholeRotary(c, &s)
	s.Rope.Pairs = true
	if c.Bool("use_qk_norm", true) {
		s.QKNorm = model.QKBare
	}
	attentionBias(c, &s, false)
	llama4Attention(c, &s)

	if experts := c.Counts("moe_layers", "numbers of blocks"); !c.Has("moe_layers") || len(experts) > 0 {
		c.Unsupported("moe_layers", "a mixture of experts (want [])")
	}
	s.Activation = activation(c, "hidden_act", "silu")
	c.Inert("for_llm_compressor", "interleave_moe_layer_step", "num_experts_per_tok", "num_local_experts",
		"output_router_logits", "router_aux_loss_coef", "router_jitter_noise") // these apply to experts; a dense model has none
	return s
}

// llama4Attention reads which blocks have a rotary embedding (those with a 1 in
// no_rope_layers) and which have chunks (the same ones, unless layer_types lists them).
func llama4Attention(c *config.Config, s *model.Spec) {
	rotates, ok := rotatedBlocks(c, s.Blocks)
	if !ok {
		return
	}
	chunk := c.Int("attention_chunk_size", model.MaxLength, 0) // null: no chunks
	chunked := layerTypes(c, s.Blocks, "chunked_attention", func(b int) bool { return rotates[b] })
	s.Attention = make([]model.Attention, s.Blocks)
	unrotated := 0 // number of blocks without a rotary embedding
	for b := range s.Attention {
		if chunked(b) {
			s.Attention[b].Chunk = chunk
		}
		if !rotates[b] {
			s.Attention[b].Rope = model.NoRope
			unrotated++
		}
	}
	if length := c.Int("floor_scale", model.MaxLength, 8192); c.Bool("attn_temperature_tuning", true) && unrotated > 0 {
		s.Temperature = model.Temperature{Beta: c.Float("attn_scale", 0.1), Length: length, Shift: 1, Unrotated: true}
	}
	c.Inert("attn_scale")
}

var llama4Names = llamaNames.With(map[string]string{
	"blocks.*.gate": "model.layers.*.feed_forward.gate_proj.weight",
	"blocks.*.up":   "model.layers.*.feed_forward.up_proj.weight",
	"blocks.*.down": "model.layers.*.feed_forward.down_proj.weight",
})
