package arch

import (
	"slices"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
)

func init() {
	register("lfm2", Architecture{lfm2Spec, lfm2Names})
	register("lfm2_moe", Architecture{lfm2MoeSpec, lfm2MoeNames})
}

// lfm2Spec reads the config of LFM2 (arXiv 2511.23404): Llama with a gated short
// convolution in place of attention in most blocks, and normalized queries and keys in the
// others.
func lfm2Spec(c *config.Config) model.Spec {
	c.Renamed("block_ff_dim", "intermediate_size")
	s := lfm2Blocks(c)
	multiple := max(c.Int("block_multiple_of", model.MaxWidth), 1)
	factor := c.Float("block_ffn_dim_multiplier")
	if c.Bool("block_auto_adjust_ff_dim") {
		s.FFN = int(factor * float64(2*s.FFN/3))
		s.FFN = (s.FFN + multiple - 1) / multiple * multiple
	}
	return s
}

// lfm2MoeSpec reads the config of LFM2's mixtures of experts.
func lfm2MoeSpec(c *config.Config) model.Spec {
	s := lfm2Blocks(c)
	s.Experts = experts(c, "num_experts", "moe_intermediate_size")
	s.Experts.Sigmoid, s.Experts.Selects, s.Experts.Normalized = true, c.Bool("use_expert_bias"), c.Bool("norm_topk_prob")
	s.Experts.Scale = multiplier(c, "routed_scaling_factor")
	dense := 0
	if c.Has("num_dense_layers") {
		dense = c.Count("num_dense_layers", model.MaxBlocks)
	} else {
		dense = c.Int("num_dense_layers", model.MaxBlocks)
	}
	for b := range min(dense, s.Blocks) {
		s.Experts.Dense = append(s.Experts.Dense, b)
	}
	return s
}

// lfm2Blocks reads what LFM2's models have in common.
func lfm2Blocks(c *config.Config) model.Spec {
	c.Renamed("tie_embedding", "tie_word_embeddings")
	s := sizes(c)
	s.Tied = c.Bool("tie_word_embeddings", true)
	s.NormEps = c.Epsilon("norm_eps")
	wholeRotary(c, &s)
	s.QKNorm = model.QKGain
	length := c.Int("conv_L_cache", model.MaxConv)
	c.Must("conv_bias", false)
	attends := c.Counts("full_attn_idxs", "numbers of blocks")
	convolves := layerTypes(c, s.Blocks, "conv", func(b int) bool { return attends != nil && !slices.Contains(attends, b) })
	s.Attention = make([]model.Attention, s.Blocks)
	for b := range s.Attention {
		if convolves(b) {
			s.Attention[b] = model.Attention{Conv: length, Rope: model.NoRope}
		}
	}
	c.Inert("conv_dim", "conv_dim_out", "conv_use_xavier_init", "block_dim", "block_mlp_init_scale", "block_norm_eps", "block_out_init_scale",
		"block_use_swiglu", "block_use_xavier_init", "theta")
	return s
}

var (
	lfm2Names = names.Table{Stored: map[string]string{
		"embed":              "model.embed_tokens.weight",
		"blocks.*.attn_norm": "model.layers.*.operator_norm.weight",
		"blocks.*.q":         "model.layers.*.self_attn.q_proj.weight",
		"blocks.*.k":         "model.layers.*.self_attn.k_proj.weight",
		"blocks.*.v":         "model.layers.*.self_attn.v_proj.weight",
		"blocks.*.o":         "model.layers.*.self_attn.out_proj.weight",
		"blocks.*.q_norm":    "model.layers.*.self_attn.q_layernorm.weight",
		"blocks.*.k_norm":    "model.layers.*.self_attn.k_layernorm.weight",
		"blocks.*.conv_in":   "model.layers.*.conv.in_proj.weight",
		"blocks.*.conv":      "model.layers.*.conv.conv.weight",
		"blocks.*.conv_out":  "model.layers.*.conv.out_proj.weight",
		"blocks.*.ffn_norm":  "model.layers.*.ffn_norm.weight",
		"blocks.*.gate":      "model.layers.*.feed_forward.w1.weight",
		"blocks.*.up":        "model.layers.*.feed_forward.w3.weight",
		"blocks.*.down":      "model.layers.*.feed_forward.w2.weight",
		"norm":               "model.embedding_norm.weight",
		"head":               "lm_head.weight",
	}}
	lfm2MoeNames = lfm2Names.Experts("model.layers.*.feed_forward.", "model.layers.*.feed_forward.gate.weight", "w1", "w3", "w2").With(map[string]string{
		"blocks.*.router_bias": "model.layers.*.feed_forward.expert_bias",
	})
)
