package arch

import (
	"strconv"
	"strings"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
	"thimble/internal/strictjson"
)

// nemotronHSpec reads the config of Nemotron-H (arXiv 2504.03624): each block has one layer, which
// is attention without a rotary embedding, a state space or a feed-forward layer of two matrices.
func nemotronHSpec(c *config.Config) model.Spec {
	nemotronHInert(c)
	for _, names := range [][2]string{{"mamba_n_groups", "n_groups"}, {"mamba_d_conv", "conv_kernel"}, {"mamba_dt_min", "time_step_min"}, {"mamba_conv_bias", "use_conv_bias"}} {
		c.Alias(names[0], names[1])
	}
	layers := nemotronHLayers(c)
	if c.Err() == nil && !c.Has("num_hidden_layers") { // transformers 5 has the list instead
		c.Values["num_hidden_layers"] = strictjson.Number(strconv.Itoa(len(layers)))
	}
	s := sizes(c)
	s.NormEps, s.Ungated, s.Activation = c.Epsilon("layer_norm_epsilon"), true, activation(c, "mlp_hidden_act", "relu2")
	s.Bias.FFN = c.Bool("mlp_bias")
	s.Rope.Base = 10000 // of no block
	c.Must("mamba_hidden_act", "silu")
	c.Must("use_bias", false)
	wholeWindow(c, &s)
	s.Scan = model.Scan{
		Heads: c.Int("mamba_num_heads", model.MaxHeads), HeadDim: c.Int("mamba_head_dim", model.MaxState), State: c.Int("ssm_state_size", model.MaxState),
		Groups: c.Int("n_groups", model.MaxHeads), ConvBias: c.Bool("use_conv_bias"), MinStep: c.Float("time_step_min"),
	}
	length := c.Int("conv_kernel", model.MaxConv)
	if c.Err() == nil && len(layers) != s.Blocks {
		c.Fail("num_hidden_layers", "%d, but there are %d layers", s.Blocks, len(layers))
	}
	if c.Err() != nil {
		return s
	}
	s.Attention = make([]model.Attention, s.Blocks)
	any := false
	for b, kind := range layers {
		a := &s.Attention[b]
		switch a.Rope = model.NoRope; kind {
		case "linear_attention":
			a.Scan, a.Alone, any = length, true, true
		case "full_attention":
			a.Alone = true
		default:
			a.Absent = true
		}
	}
	if !any {
		s.Scan = model.Scan{}
	}
	return s
}

// nemotronHLayers reads the kinds of the layers: a list, or a letter for each.
func nemotronHLayers(c *config.Config) (layers []string) {
	key := "layers_block_type"
	list, _ := c.Given(key).([]any)
	if other, ok := c.Given("layer_types").([]any); ok && list == nil {
		key, list = "layer_types", other
	}
	for _, kind := range list {
		text, _ := kind.(string)
		layers = append(layers, text)
	}
	pattern := ""
	if c.Has("hybrid_override_pattern") {
		pattern = c.String("hybrid_override_pattern")
	}
	if list == nil {
		key, layers = "hybrid_override_pattern", strings.Split(pattern, "")
	}
	known := map[string]string{
		"M": "linear_attention", "linear_attention": "linear_attention", "mamba": "linear_attention",
		"*": "full_attention", "full_attention": "full_attention", "attention": "full_attention", "-": "mlp", "mlp": "mlp",
	}
	for i, kind := range layers {
		if layers[i] = known[kind]; layers[i] == "" && c.Err() == nil {
			c.Unsupported(key, "a layer %s (want M, * or -, or linear_attention, full_attention or mlp)", config.Show(kind))
		}
	}
	if len(layers) == 0 && c.Err() == nil {
		c.Missing("hybrid_override_pattern")
	}
	return layers
}

// nemotronHInert marks the keys of layers that no supported model has, of training, and of the
// programs that run it.
func nemotronHInert(c *config.Config) {
	c.Inert("attention_bias", "attention_head_dim", "chunk_size", "expand", "hidden_dropout", "mamba_proj_bias", "mamba_ssm_cache_dtype", "num_logits_to_keep",
		"rescale_prenorm_residual", "residual_in_fp32", "time_step_floor", "time_step_limit", "time_step_max", "time_step_rank", "use_mamba_kernels",
		"mamba_expand", "mamba_dt_max", "mamba_dt_limit", "mamba_dt_init_floor", "mamba_chunk_size",
		"rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "original_max_position_embeddings", "rms_norm_eps")
	c.Inert("n_routed_experts", "n_shared_experts", "moe_intermediate_size", "moe_shared_expert_intermediate_size", "moe_latent_size", "moe_shared_expert_overlap",
		"num_experts_per_tok", "routed_scaling_factor", "n_group", "topk_group", "norm_topk_prob", "output_router_logits", "num_local_experts", "router_aux_loss_coef")
	c.Inert("num_nextn_predict_layers", "mtp_layers_block_type", "mtp_hybrid_override_pattern")
}

// nemotronHNames has the norm of the only layer of a block under one name.
var nemotronHNames = names.Table{Stored: map[string]string{
	"embed":              "backbone.embeddings.weight",
	"blocks.*.attn_norm": "backbone.layers.*.norm.weight",
	"blocks.*.ffn_norm":  "backbone.layers.*.norm.weight",
	"blocks.*.q":         "backbone.layers.*.mixer.q_proj.weight",
	"blocks.*.k":         "backbone.layers.*.mixer.k_proj.weight",
	"blocks.*.v":         "backbone.layers.*.mixer.v_proj.weight",
	"blocks.*.o":         "backbone.layers.*.mixer.o_proj.weight",
	"blocks.*.up":        "backbone.layers.*.mixer.up_proj.weight",
	"blocks.*.up.bias":   "backbone.layers.*.mixer.up_proj.bias",
	"blocks.*.down":      "backbone.layers.*.mixer.down_proj.weight",
	"blocks.*.down.bias": "backbone.layers.*.mixer.down_proj.bias",
	"norm":               "backbone.norm_f.weight",
	"head":               "lm_head.weight",
}}.With(scanNames("backbone.layers.*.mixer.")).Sharing("backbone.layers.*.mixer.in_proj.", scanParts).LeavingOut("mtp.")
