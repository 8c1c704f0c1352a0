package convert

import "thimble/internal/model"

func init() { register("llama4_text", architecture{llama4Spec, llama4Names}) }

// llama4Spec reads the config of Llama 4's text model as MobileLLM-R1 uses it
// (arXiv 2509.24945): dense, some blocks without rotary embedding, queries and
// keys of the others normalized and their attention in chunks. Neighbouring
// dimensions turn together.
func llama4Spec(c *config) model.Spec {
	s := sizes(c)
	s.FFN = c.Int("intermediate_size_mlp", model.MaxWidth) // intermediate_size is that of experts
	s.HeadDim = c.Int("head_dim", model.MaxWidth)          // transformers' default is no quotient
	s.NormEps = c.Float("rms_norm_eps", 1e-5)
	rope, inner := rotary(c, 500000)
	if inner != nil {
		inner.Must("partial_rotary_factor", 1.0)
	}
	s.Rope = rope
	s.Rope.Pairs = true
	if c.Bool("use_qk_norm", true) {
		s.QKNorm = model.QKBare
	}
	bias := c.Bool("attention_bias", false)
	s.Bias.QKV, s.Bias.O = bias, bias
	llama4Attention(c, &s)

	if experts := c.counts("moe_layers", "numbers of blocks"); !c.Has("moe_layers") || len(experts) > 0 {
		c.Unsupported("moe_layers", "a mixture of experts, only [],")
	}
	c.Must("hidden_act", "silu")
	c.Inert("for_llm_compressor", "interleave_moe_layer_step", "num_experts_per_tok", "num_local_experts",
		"output_router_logits", "router_aux_loss_coef", "router_jitter_noise") // of the experts that are not there
	return s
}

// llama4Attention reads which blocks turn, no_rope_layers being 1 for them, and
// which have chunks: unless layer_types says otherwise, those that turn.
func llama4Attention(c *config, s *model.Spec) {
	turns := c.counts("no_rope_layers", "a list of 0 and 1")
	if every := c.Int("no_rope_layer_interval", model.MaxBlocks, 4); len(turns) == 0 {
		for b := range s.Blocks {
			turns = append(turns, min(1, (b+1)%max(every, 1)))
		}
	}
	if len(turns) < s.Blocks {
		c.Fail("no_rope_layers", "%d of them, want one for each of %d blocks", len(turns), s.Blocks)
		return
	}
	chunk := c.Int("attention_chunk_size", model.MaxLength)
	chunked := layerTypes(c, s.Blocks, "chunked_attention", func(b int) bool { return turns[b] != 0 })
	s.Attention = make([]model.Attention, s.Blocks)
	still := 0
	for b := range s.Attention {
		if chunked(b) {
			s.Attention[b].Chunk = chunk
		}
		if turns[b] == 0 {
			s.Attention[b].Rope = model.NoRope
			still++
		}
	}
	// The temperature of blocks that do not turn changes at position floor_scale.
	tuned, floor := c.Bool("attn_temperature_tuning", true), c.Int("floor_scale", model.MaxLength, 8192)
	if tuned && still > 0 && s.Context >= floor {
		c.Unsupported("attn_temperature_tuning", "true, in a context of %d with floor_scale %d,", s.Context, floor)
	}
	c.Inert("attn_scale")
}

var llama4Names = llamaNames.with(map[string]string{
	"blocks.*.gate": "model.layers.*.feed_forward.gate_proj.weight",
	"blocks.*.up":   "model.layers.*.feed_forward.up_proj.weight",
	"blocks.*.down": "model.layers.*.feed_forward.down_proj.weight",
})
