package convert

import "thimble/internal/model"

func init() {
	register("granitemoeshared", architecture{graniteMoeSharedSpec, graniteMoeSharedNames})
	register("dots1", architecture{dots1Spec, deepSeekNames})
	register("glm4_moe", architecture{glm4MoeSpec, deepSeekNames})
	register("hunyuan_v1_moe", architecture{hunYuanMoeSpec, hunYuanMoeNames})
}

// graniteMoeSharedSpec reads the config of Granite 4's mixtures of experts without Mamba:
// an expert that computes at all positions, too.
func graniteMoeSharedSpec(c *config) model.Spec {
	s := graniteMoeSpec(c)
	if c.Has("shared_intermediate_size") && c.Count("shared_intermediate_size", model.MaxWidth) > 0 {
		s.Experts.Shared = c.Int("shared_intermediate_size", model.MaxWidth)
	}
	c.Inert("shared_intermediate_size")
	return s
}

// deepSeekExperts reads the experts of DeepSeek-V3 (arXiv 2412.19437): scores by a sigmoid,
// with a bias that only decides which experts compute, and dense blocks first.
func deepSeekExperts(c *config, s *model.Spec) {
	c.renamed("num_local_experts", "n_routed_experts")
	s.Experts = experts(c, "n_routed_experts", "moe_intermediate_size")
	s.Experts.Sigmoid, s.Experts.Selects, s.Experts.Normalized = true, true, c.Bool("norm_topk_prob")
	if s.Experts.Scale = multiplier(c, "routed_scaling_factor"); c.Has("n_shared_experts") {
		s.Experts.Shared = min(c.Int("n_shared_experts", model.MaxExperts)*s.Experts.FFN, model.MaxWidth)
	}
	c.Inert("num_local_experts")
	c.Must("n_group", 1.0)
	c.Must("topk_group", 1.0)
	dense := 0
	if c.Has("first_k_dense_replace") {
		dense = c.Count("first_k_dense_replace", model.MaxBlocks)
	}
	for b := range min(dense, s.Blocks) {
		s.Experts.Dense = append(s.Experts.Dense, b)
	}
}

// dots1Spec reads the config of dots.llm1 (arXiv 2506.05767).
func dots1Spec(c *config) model.Spec {
	s := decoderSpec(c)
	attentionBias(c, &s, false)
	s.QKNorm = model.QKGain
	laterWindows(c, &s, slidingWindow(c), s.Blocks)
	deepSeekExperts(c, &s)
	return s
}

// glm4MoeSpec reads the config of GLM-4.5 (arXiv 2508.06471): a rotary embedding of half of
// each head.
func glm4MoeSpec(c *config) model.Spec {
	s := gatedSpec(c)
	partialRotary(c, &s, 0.5, nil)
	s.Bias.QKV = c.Bool("attention_bias", false)
	if c.Bool("use_qk_norm", false) {
		s.QKNorm = model.QKGain
	}
	windowless(c, &s)
	deepSeekExperts(c, &s)
	c.Inert("num_mtp_layers", "num_nextn_predict_layers")
	return s
}

// hunYuanMoeSpec reads the config of Hunyuan A13B: its dense relative with experts, of
// which one computes at all positions.
func hunYuanMoeSpec(c *config) model.Spec {
	s := hunYuanSpec(c)
	c.renamed("moe_topk", "num_experts_per_tok", "num_local_experts", "num_experts")
	s.Experts = experts(c, "num_experts", "intermediate_size")
	s.Experts.Normalized, s.Experts.Shared = true, s.FFN
	c.Inert("num_local_experts", "eod_token_id", "moe_topk", "num_experts_per_tok")
	return s
}

var (
	graniteMoeSharedNames = graniteMoeNames.with(map[string]string{"blocks.*.shared.down": "model.layers.*.shared_mlp.output_linear.weight"}).
				sharing("model.layers.*.shared_mlp.input_linear.", inOrder(model.Shared(model.Gate), model.Shared(model.Up)))
	deepSeekNames = qwenMoeNames.with(map[string]string{
		"blocks.*.router_bias": "model.layers.*.mlp.gate.e_score_correction_bias",
		"blocks.*.shared.gate": "model.layers.*.mlp.shared_experts.gate_proj.weight",
		"blocks.*.shared.up":   "model.layers.*.mlp.shared_experts.up_proj.weight",
		"blocks.*.shared.down": "model.layers.*.mlp.shared_experts.down_proj.weight",
	})
	hunYuanMoeNames = hunYuanNames.expertNames("model.layers.*.mlp.", "model.layers.*.mlp.gate.wg.weight", "gate_proj", "up_proj", "down_proj").with(map[string]string{
		"blocks.*.shared.gate": "model.layers.*.mlp.shared_mlp.gate_proj.weight",
		"blocks.*.shared.up":   "model.layers.*.mlp.shared_mlp.up_proj.weight",
		"blocks.*.shared.down": "model.layers.*.mlp.shared_mlp.down_proj.weight",
	})
)
