package arch

import (
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() {
	register("qwen3_5_text", Architecture{qwen35Spec, qwen35Names})
}

// qwen35Spec reads the config of Qwen3.5's text model: Qwen3 with gated outputs of attention in
// every fourth block, of which a quarter of each head is rotated, and the gated delta rule in
// the others.
func qwen35Spec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Norm, s.NormEps = model.NormRMS1, c.Float("rms_norm_eps")
	if inner := partialRotary(c, &s, 0.25, nil); inner != nil {
		inner.Inert("mrope_section", "mrope_interleaved") // of images: the three positions of a text token are equal
	}
	s.Activation = activation(c, "hidden_act", "silu")
	if c.Err() == nil && s.Activation != model.SiLU {
		c.Unsupported("hidden_act", "other than silu") // the convolution has it, too
	}
	attentionBias(c, &s, false)
	s.QKNorm, s.AttnGate = model.QKGain, true
	s.Delta = model.Delta{
		KeyHeads: c.Int("linear_num_key_heads", model.MaxHeads), ValueHeads: c.Int("linear_num_value_heads", model.MaxHeads),
		KeyDim: c.Int("linear_key_head_dim", model.MaxDelta), ValueDim: c.Int("linear_value_head_dim", model.MaxDelta),
	}
	length, interval := c.Int("linear_conv_kernel_dim", model.MaxConv), c.Int("full_attention_interval", model.MaxBlocks, 4)
	recurs := layerTypes(c, s.Blocks, "linear_attention", func(b int) bool { return (b+1)%max(interval, 1) != 0 })
	s.Attention = make([]model.Attention, s.Blocks)
	any := false
	for b := range s.Attention {
		if recurs(b) {
			s.Attention[b], any = model.Attention{Delta: length, Rope: model.NoRope}, true
		}
	}
	if !any {
		s.Delta = model.Delta{}
	}
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
