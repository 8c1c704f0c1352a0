package arch

import (
	"slices"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
)

func init() {
	register("mixtral", Architecture{mixtralSpec, mixtralNames})
	register("qwen2_moe", Architecture{qwen2MoeSpec, qwenMoeNames})
	register("qwen3_moe", Architecture{qwen3MoeSpec, qwenMoeNames})
	register("olmoe", Architecture{olmoeSpec, qwenMoeNames})
	register("granitemoe", Architecture{graniteMoeSpec, graniteMoeNames})
	register("granitemoeshared", Architecture{graniteMoeSharedSpec, graniteMoeSharedNames})
	register("dots1", Architecture{dots1Spec, deepSeekNames})
	register("glm4_moe", Architecture{glm4MoeSpec, deepSeekNames})
	register("hunyuan_v1_moe", Architecture{hunYuanMoeSpec, hunYuanMoeNames})
}

// experts reads the number of experts, how many compute at a position, and how wide they
// are.
func experts(c *config.Config, count, width string) model.Experts {
	e := model.Experts{Count: c.Int(count, model.MaxExperts), FFN: c.Int(width, model.MaxWidth)}
	e.Used = c.Int("num_experts_per_tok", max(e.Count, 1))
	c.Inert("num_local_experts")                                                   // another name of the first, in some classes
	c.Inert("output_router_logits", "router_aux_loss_coef", "router_jitter_noise") // training
	return e
}

// mixtralSpec reads the config of Mixtral (arXiv 2401.04088): Mistral with experts.
func mixtralSpec(c *config.Config) model.Spec {
	s := mistralSpec(c)
	s.Experts = experts(c, "num_local_experts", "intermediate_size")
	s.Experts.Normalized = true
	return s
}

// qwenExperts reads the experts of Qwen's models, and which blocks have them: those that
// mlp_only_layers does not list, and of those every decoder_sparse_step-th.
func qwenExperts(c *config.Config, s *model.Spec) {
	c.Renamed("num_local_experts", "num_experts")
	s.Experts = experts(c, "num_experts", "moe_intermediate_size")
	s.Experts.Normalized = c.Bool("norm_topk_prob")
	only := c.Counts("mlp_only_layers", "numbers of blocks")
	period := c.Int("decoder_sparse_step", model.MaxBlocks)
	for b := range s.Blocks {
		if slices.Contains(only, b) || (b+1)%max(period, 1) != 0 {
			s.Experts.Dense = append(s.Experts.Dense, b)
		}
	}
}

// qwen2MoeSpec reads the config of Qwen1.5-MoE and Qwen2-57B-A14B: an expert that computes
// at all positions besides those that are selected.
func qwen2MoeSpec(c *config.Config) model.Spec {
	zeroWindow(c)
	s := decoderSpec(c)
	s.Bias.QKV = c.Bool("qkv_bias")
	qwenWindows(c, &s)
	qwenExperts(c, &s)
	sharedExpert(c, &s)
	return s
}

// sharedExpert reads the expert of Qwen's models that computes at all positions.
func sharedExpert(c *config.Config, s *model.Spec) {
	s.Experts.Shared, s.Experts.SharedGate = c.Int("shared_expert_intermediate_size", model.MaxWidth), true
}

// qwen3MoeSpec reads the config of Qwen3's mixtures of experts (arXiv 2505.09388).
func qwen3MoeSpec(c *config.Config) model.Spec {
	s := qwen3Spec(c)
	qwenExperts(c, &s)
	return s
}

// olmoeSpec reads the config of OLMoE (arXiv 2409.02060): queries and keys are normalized
// over all heads together.
func olmoeSpec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	attentionBias(c, &s, false)
	s.QKNorm = model.QKWide
	windowless(c, &s)
	c.Absent("clip_qkv")
	c.Renamed("num_local_experts", "num_experts")
	s.Experts = experts(c, "num_experts", "intermediate_size")
	s.Experts.Normalized = c.Bool("norm_topk_prob")
	return s
}

// graniteMoeSpec reads the config of Granite 3's mixtures of experts. A softmax over the
// logits of the experts that compute gives the same weights as one over all, normalized.
func graniteMoeSpec(c *config.Config) model.Spec {
	s := graniteSpec(c)
	s.Experts = experts(c, "num_local_experts", "intermediate_size")
	s.Experts.Normalized = true
	return s
}

var (
	mixtralNames    = llamaNames.Experts("model.layers.*.block_sparse_moe.", "model.layers.*.block_sparse_moe.gate.weight", "w1", "w3", "w2")
	qwenMoeNames    = withQwenExperts(qwen3Names)
	graniteMoeNames = llamaNames.With(map[string]string{"blocks.*.router": "model.layers.*.block_sparse_moe.router.layer.weight"}).
			Stacked("model.layers.*.block_sparse_moe.input_linear.weight", "model.layers.*.block_sparse_moe.output_linear.weight")
)

// withQwenExperts returns n with the experts of Qwen's models.
func withQwenExperts(n names.Table) names.Table {
	return n.Experts("model.layers.*.mlp.", "model.layers.*.mlp.gate.weight", "gate_proj", "up_proj", "down_proj").With(map[string]string{
		"blocks.*.shared_gate": "model.layers.*.mlp.shared_expert_gate.weight",
		"blocks.*.shared.gate": "model.layers.*.mlp.shared_expert.gate_proj.weight",
		"blocks.*.shared.up":   "model.layers.*.mlp.shared_expert.up_proj.weight",
		"blocks.*.shared.down": "model.layers.*.mlp.shared_expert.down_proj.weight",
	})
}

// graniteMoeSharedSpec reads the config of Granite 4's mixtures of experts without Mamba:
// an expert that computes at all positions, too.
func graniteMoeSharedSpec(c *config.Config) model.Spec {
	s := graniteMoeSpec(c)
	if c.Has("shared_intermediate_size") && c.Count("shared_intermediate_size", model.MaxWidth) > 0 {
		s.Experts.Shared = c.Int("shared_intermediate_size", model.MaxWidth)
	}
	c.Inert("shared_intermediate_size")
	return s
}

// deepSeekExperts reads the experts of DeepSeek-V3 (arXiv 2412.19437): scores by a sigmoid,
// with a bias that only decides which experts compute, groups compared by their best two, and
// dense blocks first.
func deepSeekExperts(c *config.Config, s *model.Spec) {
	deepSeekMixture(c, s)
	groups(c, s, 2)
	denseFirst(c, s)
}

// deepSeekMixture is deepSeekExperts without groups and dense blocks.
func deepSeekMixture(c *config.Config, s *model.Spec) {
	c.Renamed("num_local_experts", "n_routed_experts")
	s.Experts = experts(c, "n_routed_experts", "moe_intermediate_size")
	s.Experts.Sigmoid, s.Experts.Selects, s.Experts.Normalized = true, true, c.Bool("norm_topk_prob")
	if s.Experts.Scale = multiplier(c, "routed_scaling_factor"); c.Has("n_shared_experts") {
		s.Experts.Shared = min(c.Int("n_shared_experts", model.MaxExperts)*s.Experts.FFN, model.MaxWidth)
	}
	c.Inert("num_local_experts", "aux_loss_alpha", "seq_aux", "ep_size")
	c.Must("moe_layer_freq", 1.0)
}

// groups reads the groups of experts, of which some compute: those with the largest sum of their
// best scores.
func groups(c *config.Config, s *model.Spec, best int) {
	n, used := c.Int("n_group", model.MaxExperts, 1), c.Int("topk_group", model.MaxExperts, 1)
	if n != used {
		s.Experts.Groups, s.Experts.UsedGroups, s.Experts.GroupBest = n, used, best
	}
}

// denseFirst reads how many blocks without experts precede the others.
func denseFirst(c *config.Config, s *model.Spec) {
	const key = "first_k_dense_replace"
	dense := int(c.Float(key, 0)) // transformers' default
	if c.Has(key) {
		dense = c.Count(key, model.MaxBlocks)
	}
	for b := range min(max(dense, 0), s.Blocks) {
		s.Experts.Dense = append(s.Experts.Dense, b)
	}
}

// dots1Spec reads the config of dots.llm1 (arXiv 2506.05767).
func dots1Spec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	attentionBias(c, &s, false)
	s.QKNorm = model.QKGain
	laterWindows(c, &s, slidingWindow(c), s.Blocks)
	deepSeekExperts(c, &s)
	return s
}

// glm4MoeSpec reads the config of GLM-4.5 (arXiv 2508.06471): a rotary embedding of half of
// each head.
func glm4MoeSpec(c *config.Config) model.Spec {
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
func hunYuanMoeSpec(c *config.Config) model.Spec {
	s := hunYuanSpec(c)
	c.Renamed("moe_topk", "num_experts_per_tok", "num_local_experts", "num_experts")
	s.Experts = experts(c, "num_experts", "intermediate_size")
	s.Experts.Normalized, s.Experts.Shared = true, s.FFN
	c.Inert("num_local_experts", "eod_token_id", "moe_topk", "num_experts_per_tok")
	return s
}

var (
	graniteMoeSharedNames = graniteMoeNames.With(map[string]string{"blocks.*.shared.down": "model.layers.*.shared_mlp.output_linear.weight"}).
				Sharing("model.layers.*.shared_mlp.input_linear.", names.InOrder(model.Shared(model.Gate), model.Shared(model.Up)))
	deepSeekNames = qwenMoeNames.With(map[string]string{
		"blocks.*.router_bias": "model.layers.*.mlp.gate.e_score_correction_bias",
		"blocks.*.shared.gate": "model.layers.*.mlp.shared_experts.gate_proj.weight",
		"blocks.*.shared.up":   "model.layers.*.mlp.shared_experts.up_proj.weight",
		"blocks.*.shared.down": "model.layers.*.mlp.shared_experts.down_proj.weight",
	})
	hunYuanMoeNames = hunYuanNames.Experts("model.layers.*.mlp.", "model.layers.*.mlp.gate.wg.weight", "gate_proj", "up_proj", "down_proj").With(map[string]string{
		"blocks.*.shared.gate": "model.layers.*.mlp.shared_mlp.gate_proj.weight",
		"blocks.*.shared.up":   "model.layers.*.mlp.shared_mlp.up_proj.weight",
		"blocks.*.shared.down": "model.layers.*.mlp.shared_mlp.down_proj.weight",
	})
)
