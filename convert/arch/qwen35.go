package arch

import (
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() {
	register("qwen3_5_text", Architecture{qwen35Spec, qwen35Names})
	register("qwen3_5_moe_text", Architecture{qwen35MoeSpec, qwen35MoeNames})
	register("qwen3_next", Architecture{qwen3NextSpec, qwen3NextNames})
}

// qwen35Spec reads the config of Qwen3.5's text model: Qwen3 with gated outputs of attention in
// every fourth block, of which a quarter of each head is rotated, and the gated delta rule in
// the others.
func qwen35Spec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Norm, s.NormEps = model.NormRMS1, c.Epsilon("rms_norm_eps")
	if inner := partialRotary(c, &s, 0.25, nil); inner != nil {
		inner.Inert("mrope_section", "mrope_interleaved") // of images: the three positions of a text token are equal
	}
	s.Activation = activation(c, "hidden_act", "silu")
	convolvesSiLU(c, &s)
	attentionBias(c, &s, false)
	s.QKNorm, s.AttnGate = model.QKGain, true
	s.Delta = model.Delta{
		KeyHeads: c.Int("linear_num_key_heads", model.MaxHeads), ValueHeads: c.Int("linear_num_value_heads", model.MaxHeads),
		KeyDim: c.Int("linear_key_head_dim", model.MaxDelta), ValueDim: c.Int("linear_value_head_dim", model.MaxDelta),
	}
	length, interval := c.Int("linear_conv_kernel_dim", model.MaxConv), c.Int("full_attention_interval", model.MaxBlocks, 4)
	recurs := layerTypes(c, s.Blocks, "linear_attention", func(b int) bool { return (b+1)%max(interval, 1) != 0 })
	if !replaceAttention(&s, model.Attention{Delta: length, Rope: model.NoRope}, recurs) {
		s.Delta = model.Delta{}
	}
	return s
}

// qwen35MoeSpec reads the config of Qwen3.5's mixtures of experts, which have experts in all
// blocks, and one that computes at all positions.
func qwen35MoeSpec(c *config.Config) model.Spec {
	c.Renamed("moe_intermediate_size", "intermediate_size")
	s := qwen35Spec(c)
	s.Experts = experts(c, "num_experts", "moe_intermediate_size")
	s.Experts.Normalized = true
	sharedExpert(c, &s)
	c.Inert("intermediate_size") // of blocks without experts
	return s
}

// qwen3NextSpec reads the config of Qwen3-Next: the blocks of Qwen3.5, and the experts of
// qwen2MoeSpec.
func qwen3NextSpec(c *config.Config) model.Spec {
	s := qwen35Spec(c)
	qwenExperts(c, &s)
	sharedExpert(c, &s)
	return s
}

var qwen35Names = llamaNames.With(hf.HeadNorms).With(map[string]string{
	"blocks.*." + model.DeltaIn:    "model.layers.*.linear_attn.in_proj_qkv.weight",
	"blocks.*." + model.DeltaGate:  "model.layers.*.linear_attn.in_proj_z.weight",
	"blocks.*." + model.DeltaA:     "model.layers.*.linear_attn.in_proj_a.weight",
	"blocks.*." + model.DeltaB:     "model.layers.*.linear_attn.in_proj_b.weight",
	"blocks.*." + model.DeltaConv:  "model.layers.*.linear_attn.conv1d.weight",
	"blocks.*." + model.DeltaDecay: "model.layers.*.linear_attn.A_log",
	"blocks.*." + model.DeltaDT:    "model.layers.*.linear_attn.dt_bias",
	"blocks.*." + model.DeltaNorm:  "model.layers.*.linear_attn.norm.weight",
	"blocks.*." + model.DeltaOut:   "model.layers.*.linear_attn.out_proj.weight",
}).Sharing("model.layers.*.self_attn.q_proj.", names.Grouped(func(s *model.Spec) int { return s.Heads }, model.Q, model.AttnGate)).
	LeavingOut("mtp.") // what predicts further tokens

var (
	qwen35MoeNames = withQwenExperts(qwen35Names)
	qwen3NextNames = withQwenExperts(qwen35Names).
			Sharing("model.layers.*.linear_attn.in_proj_qkvz.", map[string]names.Part{model.DeltaIn: {Row: qwen3NextMixed}, model.DeltaGate: {Row: qwen3NextGate}}).
			Sharing("model.layers.*.linear_attn.in_proj_ba.", names.Grouped(func(s *model.Spec) int { return s.Delta.KeyHeads }, model.DeltaB, model.DeltaA))
)

// qwen3NextMixed returns the stored row of row r of DeltaIn. For each key head, Qwen3-Next stores
// its queries, keys, values and gates, those of as many value heads as it has.
func qwen3NextMixed(s *model.Spec, _, r int) int {
	d := s.Delta
	keys, values := d.KeyHeads*d.KeyDim, d.Values()/d.KeyHeads
	group := 2*d.KeyDim + 2*values
	if r < 2*keys {
		return r%keys/d.KeyDim*group + r/keys*d.KeyDim + r%d.KeyDim
	}
	r -= 2 * keys
	return r/values*group + 2*d.KeyDim + r%values
}

// qwen3NextGate returns the stored row of row r of DeltaGate.
func qwen3NextGate(s *model.Spec, _, r int) int {
	d := s.Delta
	values := d.Values() / d.KeyHeads
	return r/values*(2*d.KeyDim+2*values) + 2*d.KeyDim + values + r%values
}
