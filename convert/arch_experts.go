package convert

import (
	"slices"

	"thimble/internal/model"
)

func init() {
	register("mixtral", architecture{mixtralSpec, mixtralNames})
	register("qwen2_moe", architecture{qwen2MoeSpec, qwenMoeNames})
	register("qwen3_moe", architecture{qwen3MoeSpec, qwenMoeNames})
	register("olmoe", architecture{olmoeSpec, qwenMoeNames})
	register("granitemoe", architecture{graniteMoeSpec, graniteMoeNames})
}

// experts reads the number of experts, how many compute at a position, and how wide they
// are.
func experts(c *config, count, width string) model.Experts {
	e := model.Experts{Count: c.Int(count, model.MaxExperts), FFN: c.Int(width, model.MaxWidth)}
	e.Used = c.Int("num_experts_per_tok", max(e.Count, 1))
	c.Inert("num_local_experts")                                                   // another name of the first, in some classes
	c.Inert("output_router_logits", "router_aux_loss_coef", "router_jitter_noise") // training
	return e
}

// mixtralSpec reads the config of Mixtral (arXiv 2401.04088): Mistral with experts.
func mixtralSpec(c *config) model.Spec {
	s := mistralSpec(c)
	s.Experts = experts(c, "num_local_experts", "intermediate_size")
	s.Experts.Normalized = true
	return s
}

// qwenExperts reads the experts of Qwen's models, and which blocks have them: those that
// mlp_only_layers does not list, and of those every decoder_sparse_step-th.
func qwenExperts(c *config, s *model.Spec) {
	c.renamed("num_local_experts", "num_experts")
	s.Experts = experts(c, "num_experts", "moe_intermediate_size")
	s.Experts.Normalized = c.Bool("norm_topk_prob")
	only := c.counts("mlp_only_layers", "numbers of blocks")
	period := c.Int("decoder_sparse_step", model.MaxBlocks)
	for b := range s.Blocks {
		if slices.Contains(only, b) || (b+1)%max(period, 1) != 0 {
			s.Experts.Dense = append(s.Experts.Dense, b)
		}
	}
}

// qwen2MoeSpec reads the config of Qwen1.5-MoE and Qwen2-57B-A14B: an expert that computes
// at all positions besides those that are selected.
func qwen2MoeSpec(c *config) model.Spec {
	if n, ok := whole(c.values["sliding_window"]); ok && n == 0 { // as transformers 5 writes for none
		c.values["sliding_window"] = nil
	}
	s := decoderSpec(c)
	s.Bias.QKV = c.Bool("qkv_bias")
	qwenWindows(c, &s)
	qwenExperts(c, &s)
	s.Experts.Shared, s.Experts.SharedGate = c.Int("shared_expert_intermediate_size", model.MaxWidth), true
	return s
}

// qwen3MoeSpec reads the config of Qwen3's mixtures of experts (arXiv 2505.09388).
func qwen3MoeSpec(c *config) model.Spec {
	s := qwen3Spec(c)
	qwenExperts(c, &s)
	return s
}

// olmoeSpec reads the config of OLMoE (arXiv 2409.02060): queries and keys are normalized
// over all heads together.
func olmoeSpec(c *config) model.Spec {
	s := decoderSpec(c)
	attentionBias(c, &s, false)
	s.QKNorm = model.QKWide
	windowless(c, &s)
	c.Absent("clip_qkv")
	c.renamed("num_local_experts", "num_experts")
	s.Experts = experts(c, "num_experts", "intermediate_size")
	s.Experts.Normalized = c.Bool("norm_topk_prob")
	return s
}

// graniteMoeSpec reads the config of Granite 3's mixtures of experts. A softmax over the
// logits of the experts that compute gives the same weights as one over all, normalized.
func graniteMoeSpec(c *config) model.Spec {
	s := graniteSpec(c)
	s.Experts = experts(c, "num_local_experts", "intermediate_size")
	s.Experts.Normalized = true
	return s
}

// expertNames returns n for a checkpoint that stores the experts of blocks under prefix,
// with the router at router and one matrix of each kind for each expert.
func (n names) expertNames(prefix, router, gate, up, down string) names {
	return n.with(map[string]string{
		"blocks.*.router":         router,
		"blocks.*.experts.*.gate": prefix + "experts.*." + gate + ".weight",
		"blocks.*.experts.*.up":   prefix + "experts.*." + up + ".weight",
		"blocks.*.experts.*.down": prefix + "experts.*." + down + ".weight",
	})
}

// stacked returns n for a checkpoint with one tensor of gate and up, (experts, 2*width,
// hidden), and one of down, (experts, hidden, width).
func (n names) stacked(gateUp, down string) names {
	return n.with(map[string]string{
		"blocks.*.experts.*.gate": gateUp, "blocks.*.experts.*.up": gateUp, "blocks.*.experts.*.down": down,
	}).withParts(map[string]part{
		"blocks.*.experts.*.gate": {row: func(s *model.Spec, e, r int) int { return 2*e*s.Experts.FFN + r }},
		"blocks.*.experts.*.up":   {row: func(s *model.Spec, e, r int) int { return (2*e+1)*s.Experts.FFN + r }},
		"blocks.*.experts.*.down": {row: func(s *model.Spec, e, r int) int { return e*s.Hidden + r }},
	})
}

var (
	mixtralNames = llamaNames.expertNames("model.layers.*.block_sparse_moe.", "model.layers.*.block_sparse_moe.gate.weight", "w1", "w3", "w2")
	qwenMoeNames = qwen3Names.expertNames("model.layers.*.mlp.", "model.layers.*.mlp.gate.weight", "gate_proj", "up_proj", "down_proj").with(map[string]string{
		"blocks.*.shared_gate": "model.layers.*.mlp.shared_expert_gate.weight",
		"blocks.*.shared.gate": "model.layers.*.mlp.shared_expert.gate_proj.weight",
		"blocks.*.shared.up":   "model.layers.*.mlp.shared_expert.up_proj.weight",
		"blocks.*.shared.down": "model.layers.*.mlp.shared_expert.down_proj.weight",
	})
	graniteMoeNames = llamaNames.with(map[string]string{"blocks.*.router": "model.layers.*.block_sparse_moe.router.layer.weight"}).
			stacked("model.layers.*.block_sparse_moe.input_linear.weight", "model.layers.*.block_sparse_moe.output_linear.weight")
)
