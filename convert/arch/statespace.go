package arch

import (
	"math"
	"slices"
	"strings"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
)

func init() {
	register("granitemoehybrid", Architecture{graniteHybridSpec, graniteHybridNames})
	register("falcon_h1", Architecture{falconH1Spec, falconH1Names})
	register("bamba", Architecture{bambaSpec, falconH1Names})
	register("nemotron_h", Architecture{nemotronHSpec, nemotronHNames})
}

// stateSpace reads the sizes of state space layers (Mamba2, arXiv 2405.21060), whose outputs are
// so wide, and returns the length of their convolution.
func stateSpace(c *config.Config, s *model.Spec, width int) int {
	convolvesSiLU(c, s)
	s.Scan = model.Scan{
		Heads: c.Int("mamba_n_heads", model.MaxHeads), State: c.Int("mamba_d_state", model.MaxState), Groups: c.Int("mamba_n_groups", model.MaxHeads),
		ConvBias: c.Bool("mamba_conv_bias"),
	}
	heads := max(s.Scan.Heads, 1)
	if s.Scan.HeadDim = width / heads; c.Has("mamba_d_head") && c.Value("mamba_d_head") != "auto" {
		s.Scan.HeadDim = c.Int("mamba_d_head", model.MaxState)
	}
	if c.Err() == nil && s.Scan.HeadDim*heads != width {
		c.Fail("mamba_n_heads", "%d heads of %d, want %d together", heads, s.Scan.HeadDim, width)
	}
	steps(c, &s.Scan)
	c.Must("mamba_proj_bias", false)
	c.Inert("mamba_chunk_size") // how many positions a GPU computes together
	return c.Int("mamba_d_conv", model.MaxConv)
}

// steps reads the bounds of the steps of state spaces; the last may be infinite.
func steps(c *config.Config, s *model.Scan) {
	if !c.Has("time_step_limit") {
		return
	}
	limits := c.Bounds("time_step_limit")
	if c.Err() != nil {
		return
	}
	if s.MinStep = limits[0]; !math.IsInf(limits[1], 1) {
		s.MaxStep = limits[1]
	}
	if s.MaxStep == 0 && !math.IsInf(limits[1], 1) || s.MinStep < 0 {
		c.Fail("time_step_limit", "from %g to %g, want positive numbers", limits[0], limits[1])
	}
}

// setScans gives blocks a state space layer in place of attention.
func setScans(s *model.Spec, length int, scans func(block int) bool) {
	if !replaceAttention(s, model.Attention{Scan: length, Rope: model.NoRope}, scans) {
		s.Scan = model.Scan{}
	}
}

// replaceAttention gives some blocks another layer in place of attention, and reports whether there
// are any.
func replaceAttention(s *model.Spec, by model.Attention, in func(block int) bool) (some bool) {
	if len(s.Attention) == 0 {
		s.Attention = make([]model.Attention, s.Blocks)
	}
	for b := range s.Attention {
		if in(b) {
			s.Attention[b], some = by, true
		}
	}
	return some
}

// convolvesSiLU asserts the activation of the feed-forward layers, which a layer's convolution has,
// too.
func convolvesSiLU(c *config.Config, s *model.Spec) {
	if c.Err() == nil && s.Activation != model.SiLU {
		c.Unsupported("hidden_act", "other than silu")
	}
}

// mixers names the layers of Granite 4, as transformers 5 and 4 do: first two with a state space.
var mixers = []string{"linear_attention", "mamba", "full_attention", "attention"}

// graniteHybridSpec reads the config of Granite 4: Granite with state space layers in place of
// attention in most blocks. Small models have only the expert that computes at all positions.
func graniteHybridSpec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	attentionBias(c, &s, false)
	granite(c, &s)
	if n := c.Int("mamba_expand", model.MaxWidth); c.Err() == nil {
		length := stateSpace(c, &s, min(n*s.Hidden, model.MaxWidth))
		types := c.Strings("layer_types", s.Blocks)
		for _, t := range types {
			if !slices.Contains(mixers, t) {
				c.Unsupported("layer_types", "%s (want one of %s)", config.Show(t), strings.Join(mixers, ", "))
			}
		}
		setScans(&s, length, func(b int) bool { return types == nil || slices.Index(mixers, types[b]) < 2 })
	}
	switch kind := c.Value("position_embedding_type"); kind {
	case "rope":
	case nil, "nope":
		for b := range s.Blocks {
			withoutRope(&s, b)
		}
	default:
		c.Unsupported("position_embedding_type", "%s (want rope or nope)", config.Show(kind))
	}
	shared := c.Int("shared_intermediate_size", model.MaxWidth)
	if c.Has("num_local_experts") && c.Count("num_local_experts", model.MaxExperts) == 0 {
		s.FFN = shared
		c.Inert("intermediate_size", "num_experts_per_tok", "output_router_logits", "router_aux_loss_coef")
		return s
	}
	s.Experts = experts(c, "num_local_experts", "intermediate_size")
	s.Experts.Normalized, s.Experts.Shared = true, shared
	return s
}

// falconH1Spec reads the config of Falcon-H1 (arXiv 2507.22448): attention and a state space layer
// side by side in each block, and factors of what most matrices make. Those of what attention reads
// are factors of its scores and of its output.
func falconH1Spec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	biases(c, &s, false)
	width := 0
	if c.Has("mamba_d_ssm") {
		width = c.Int("mamba_d_ssm", model.MaxWidth)
	} else {
		width = min(c.Int("mamba_expand", model.MaxWidth, 2)*s.Hidden, model.MaxWidth)
	}
	c.Inert("mamba_expand", "num_logits_to_keep", "layers_block_type")
	length := stateSpace(c, &s, width)
	switch {
	case !c.Bool("mamba_rms_norm"):
		s.Scan.Norm = model.ScanUnnormed
		c.Inert("mamba_norm_before_gate")
	case c.Bool("mamba_norm_before_gate"):
		s.Scan.Norm = model.ScanNormed
	}
	c.Must("projectors_bias", false)
	s.Attention = slices.Repeat([]model.Attention{{Scan: length, Beside: true}}, s.Blocks)

	s.EmbedScale, s.LogitScale = multiplier(c, "embedding_multiplier"), multiplier(c, "lm_head_multiplier")
	product := func(factors ...float64) float64 {
		x := 1.0
		for _, f := range factors {
			if f != 0 {
				x *= f
			}
		}
		if x == 1 {
			return 0
		}
		return x
	}
	in, keys := multiplier(c, "attention_in_multiplier"), multiplier(c, "key_multiplier")
	if in != 0 && s.Bias.QKV {
		c.Unsupported("attention_in_multiplier", "%g, with attention_bias", in)
	}
	if scores := product(in, in, keys); scores != 0 {
		s.AttnScale = s.ScoreScale() * scores
	}
	s.Scales.O = product(in, multiplier(c, "attention_out_multiplier"))
	mlp, ssm := multipliers(c, "mlp_multipliers", 2), multipliers(c, "ssm_multipliers", 5)
	s.Scales.Gate, s.Scales.Down = product(mlp[0]), product(mlp[1])
	in = multiplier(c, "ssm_in_multiplier")
	s.Scales.ScanGate, s.Scales.ScanX, s.Scales.ScanB = product(in, ssm[0]), product(in, ssm[1]), product(in, ssm[2])
	s.Scales.ScanC, s.Scales.ScanStep = product(in, ssm[3]), product(in, ssm[4])
	s.Scales.ScanOut = multiplier(c, "ssm_out_multiplier")
	return s
}

// multipliers reads a list of n factors, which are 1 if the key is absent.
func multipliers(c *config.Config, key string, n int) []float64 {
	all := slices.Repeat([]float64{1}, n)
	if !c.Has(key) {
		return all
	}
	got := c.Floats(key)
	if c.Err() == nil && (len(got) != n || slices.ContainsFunc(got, func(x float64) bool { return !(x > 0) })) {
		c.Fail(key, "want %d positive numbers, found %v", n, got)
	}
	copy(all, got)
	return all
}

// bambaSpec reads the config of Bamba: Llama with state space layers in place of attention in most
// blocks, and a rotary embedding of half of each head in the others.
func bambaSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.NormEps, s.Activation = c.Epsilon("rms_norm_eps"), activation(c, "hidden_act", "silu")
	partialRotary(c, &s, 0.5, nil)
	biases(c, &s, false)
	length := stateSpace(c, &s, min(c.Int("mamba_expand", model.MaxWidth)*s.Hidden, model.MaxWidth))
	attends := c.Counts("attn_layer_indices", "numbers of blocks")
	setScans(&s, length, func(b int) bool { return !slices.Contains(attends, b) })
	c.Inert("num_logits_to_keep", "z_loss_coefficient", "layers_block_type") // the last says what the indices say
	return s
}

// scanNames names the tensors of state space layers below a module of each block.
func scanNames(module string) map[string]string {
	return map[string]string{
		"blocks.*." + model.ScanConv:                    module + "conv1d.weight",
		"blocks.*." + model.ScanConv + model.BiasSuffix: module + "conv1d.bias",
		"blocks.*." + model.ScanDecay:                   module + "A_log",
		"blocks.*." + model.ScanSkip:                    module + "D",
		"blocks.*." + model.ScanDT:                      module + "dt_bias",
		"blocks.*." + model.ScanNorm:                    module + "norm.weight",
		"blocks.*." + model.ScanOut:                     module + "out_proj.weight",
	}
}

var (
	scanParts = names.InOrder(model.ScanGate, model.ScanIn, model.ScanStep)

	graniteHybridNames = graniteMoeSharedNames.With(scanNames("model.layers.*.mamba.")).With(map[string]string{"blocks.*.down": "model.layers.*.shared_mlp.output_linear.weight"}).
				Sharing("model.layers.*.shared_mlp.input_linear.", names.InOrder(model.Gate, model.Up)).
				Sharing("model.layers.*.mamba.in_proj.", scanParts)
	falconH1Names = llamaNames.With(scanNames("model.layers.*.mamba.")).With(map[string]string{
		"blocks.*.ffn_norm":  "model.layers.*.pre_ff_layernorm.weight",
		"blocks.*.gate":      "model.layers.*.feed_forward.gate_proj.weight",
		"blocks.*.up":        "model.layers.*.feed_forward.up_proj.weight",
		"blocks.*.down":      "model.layers.*.feed_forward.down_proj.weight",
		"blocks.*.gate.bias": "model.layers.*.feed_forward.gate_proj.bias",
		"blocks.*.up.bias":   "model.layers.*.feed_forward.up_proj.bias",
		"blocks.*.down.bias": "model.layers.*.feed_forward.down_proj.bias",
		"norm":               "model.final_layernorm.weight",
	}).Sharing("model.layers.*.mamba.in_proj.", scanParts)
)
