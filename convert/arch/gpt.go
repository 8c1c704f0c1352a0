package arch

import (
	"strconv"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
	"thimble/internal/strictjson"
)

func init() {
	register("gpt2", Architecture{gpt2Spec, gpt2Names})
	register("gpt_bigcode", Architecture{gptBigCodeSpec, gptBigCodeNames})
	register("gpt_neo", Architecture{gptNeoSpec, gptNeoNames})
	register("gptj", Architecture{gptJSpec, gptJNames})
	register("codegen", Architecture{codeGenSpec, codeGenNames})
	register("gpt_neox", Architecture{gptNeoXSpec, gptNeoXNames})
}

// fourfold sets the width of the feed-forward layer to that of key, or four times the
// width of the stream.
func fourfold(c *config.Config, key string) {
	n := c.Int(key, model.MaxWidth, 4*c.Int("hidden_size", model.MaxWidth/4))
	c.Values["intermediate_size"] = strictjson.Number(strconv.Itoa(n))
}

// gptSizes reads the sizes of a GPT.
func gptSizes(c *config.Config) model.Spec {
	c.Renamed("n_embd", "hidden_size", "n_head", "num_attention_heads", "n_layer", "num_hidden_layers", "n_positions", "max_position_embeddings")
	fourfold(c, "n_inner")
	s := layerNormSpec(c, "layer_norm_epsilon", "activation_function")
	c.Inert("embd_pdrop", "resid_pdrop", "attn_pdrop")
	c.Inert("hidden_dropout", "classifier_dropout", "summary_last_dropout") // dropout, and heads for other tasks
	c.Must("add_cross_attention", false)
	return s
}

// layerNormSpec reads the sizes of a decoder that has LayerNorm and a feed-forward layer
// of two matrices.
func layerNormSpec(c *config.Config, eps, act string) model.Spec {
	s := sizes(c)
	if !c.Has("tie_word_embeddings") {
		s.Tied = c.Bool("tie_word_embeddings")
	}
	s.Norm, s.NormEps = model.NormLayer, c.Epsilon(eps)
	s.Ungated, s.Activation = true, activation(c, act, "gelu")
	s.Rope = model.Rope{Base: 10000}
	return s
}

// learnedPositions replaces the rotary embedding by a learned one of positions.
func learnedPositions(c *config.Config, s *model.Spec) {
	s.Positions = s.Context
	unrotated(c, s)
}

// ropeKeys are keys that transformers' base class reads for all models.
var ropeKeys = []string{"rope_parameters", "rope_theta", "rope_scaling", "partial_rotary_factor", "original_max_position_embeddings"}

// unrotated removes the rotary embedding from all blocks.
func unrotated(c *config.Config, s *model.Spec) {
	c.Inert(ropeKeys...)
	if s.Attention == nil {
		s.Attention = make([]model.Attention, s.Blocks)
	}
	for b := range s.Attention {
		s.Attention[b].Rope = model.NoRope
	}
}

// gpt2Spec reads the config of GPT-2.
func gpt2Spec(c *config.Config) model.Spec {
	s := gptSizes(c)
	learnedPositions(c, &s)
	s.Bias = model.Bias{QKV: true, O: true, FFN: true}
	if !c.Bool("scale_attn_weights") {
		s.AttnScale = 1
	}
	c.Must("scale_attn_by_inverse_layer_idx", false)
	c.Inert("reorder_and_upcast_attn") // the order of two products
	c.Inert("summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj")
	return s
}

// gptBigCodeSpec reads the config of SantaCoder and StarCoder (arXiv 2305.06161): GPT-2
// whose heads share one key and one value.
func gptBigCodeSpec(c *config.Config) model.Spec {
	s := gptSizes(c)
	learnedPositions(c, &s)
	s.Bias = model.Bias{QKV: true, O: true, FFN: true}
	if c.Bool("multi_query") {
		s.KVHeads = 1
	}
	if !c.Bool("scale_attn_weights") {
		s.AttnScale = 1
	}
	c.Inert("attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", "num_key_value_heads")
	return s
}

// gptNeoSpec reads the config of GPT-Neo: scores are not scaled, and blocks with a window
// alternate with others.
func gptNeoSpec(c *config.Config) model.Spec {
	c.Renamed("num_heads", "num_attention_heads", "num_layers", "num_hidden_layers")
	fourfold(c, "intermediate_size")
	s := layerNormSpec(c, "layer_norm_epsilon", "activation_function")
	s.AttnScale, s.Bias = 1, model.Bias{O: true, FFN: true}
	kinds := neoKinds(c, s.Blocks)
	window := c.Int("window_size", model.MaxLength)
	setWindow(&s, window, func(b int) bool { return kinds[b] == "local" })
	learnedPositions(c, &s)
	c.Inert("resid_dropout", "embed_dropout", "classifier_dropout", "attention_layers", "_is_quantized")
	return s
}

// neoKinds reads attention_types, such as [[["global", "local"], 12]], and returns the kind
// of each block.
func neoKinds(c *config.Config, blocks int) []string {
	kinds := make([]string, blocks)
	groups, _ := c.Value("attention_types").([]any)
	at := 0
	for _, g := range groups {
		pair, _ := g.([]any)
		if len(pair) != 2 {
			break
		}
		names, _ := pair[0].([]any)
		times, _ := config.Whole(pair[1])
		for i := 0; i < times*len(names) && at < blocks; i++ {
			kinds[at], _ = names[i%len(names)].(string)
			at++
		}
	}
	for b, kind := range kinds {
		switch {
		case groups == nil:
			kinds[b] = []string{"global", "local"}[b%2]
		case kind != "global" && kind != "local":
			c.Fail("attention_types", "want global or local for each of %d blocks", blocks)
			return kinds
		}
	}
	return kinds
}

// gptJSpec reads the config of GPT-J: attention and feed-forward in parallel, and a rotary
// embedding of adjacent dimensions of a part of each head.
func gptJSpec(c *config.Config) model.Spec {
	s := gptSizes(c)
	s.Parallel, s.Bias = true, model.Bias{FFN: true, Head: true}
	c.Inert(ropeKeys...)
	s.Rope = model.Rope{Base: 10000, Pairs: true, Dims: c.Int("rotary_dim", model.MaxWidth)}
	if s.Rope.Dims == s.HeadDim {
		s.Rope.Dims = 0
	}
	return s
}

// codeGenSpec reads the config of CodeGen (arXiv 2203.13474): GPT-J with one matrix for
// queries, values and keys.
func codeGenSpec(c *config.Config) model.Spec {
	s := gptJSpec(c)
	if s.Heads%codeGenGroups != 0 {
		c.Fail("n_head", "%d, want a multiple of %d", s.Heads, codeGenGroups)
	}
	c.Inert("n_ctx")
	return s
}

// codeGenGroups is the number of groups of heads in which the tensors of CodeGen are
// stored, because it was trained on that many cores.
const codeGenGroups = 4

// gptNeoXSpec reads the config of GPT-NeoX (arXiv 2204.06745) and Pythia.
func gptNeoXSpec(c *config.Config) model.Spec {
	s := layerNormSpec(c, "layer_norm_eps", "hidden_act")
	c.Renamed("rotary_emb_base", "rope_theta", "rotary_pct", "partial_rotary_factor")
	partialRotary(c, &s, 0.25, nil)
	if s.Parallel = c.Bool("use_parallel_residual"); s.Parallel {
		s.TwoNorms = true
	}
	bias := c.Bool("attention_bias")
	s.Bias = model.Bias{QKV: bias, O: bias, FFN: true}
	windowless(c, &s)
	c.Inert("hidden_dropout", "classifier_dropout")
	return s
}

// perHead are the parts of a matrix that has the queries, key and value of one key head
// after those of another.
var perHead = names.Grouped(func(s *model.Spec) int { return s.KVHeads }, model.Q, model.K, model.V)

var (
	gptOutside = map[string]string{
		model.Embed: "transformer.wte", model.Positions: "transformer.wpe", model.Norm: "transformer.ln_f", model.Head: "lm_head",
	}
	gptKinds = map[string]string{
		model.AttnNorm: "ln_1", model.O: "attn.c_proj", model.FFNNorm: "ln_2", model.Up: "mlp.c_fc", model.Down: "mlp.c_proj",
	}
	gpt2Names = names.Blocks("transformer.h.*.", gptKinds, gptOutside).
			Sharing("transformer.h.*.attn.c_attn.", names.Transposed(names.InOrder(model.Q, model.K, model.V))).
			Sharing("transformer.h.*.attn.c_proj.", map[string]names.Part{model.O: {Transposed: true}}).
			Sharing("transformer.h.*.mlp.c_fc.", map[string]names.Part{model.Up: {Transposed: true}}).
			Sharing("transformer.h.*.mlp.c_proj.", map[string]names.Part{model.Down: {Transposed: true}}).
			Ignoring("transformer.h.*.attn.bias")
	gptBigCodeNames = names.Blocks("transformer.h.*.", gptKinds, gptOutside).
			Sharing("transformer.h.*.attn.c_attn.", perHead).
			Ignoring("transformer.h.*.attn.bias")
	gptNeoNames = names.Blocks("transformer.h.*.", map[string]string{
		model.AttnNorm: "ln_1", model.Q: "attn.attention.q_proj", model.K: "attn.attention.k_proj", model.V: "attn.attention.v_proj",
		model.O: "attn.attention.out_proj", model.FFNNorm: "ln_2", model.Up: "mlp.c_fc", model.Down: "mlp.c_proj",
	}, gptOutside).Ignoring("transformer.h.*.attn.attention.bias")
	gptJKinds = map[string]string{
		model.AttnNorm: "ln_1", model.Q: "attn.q_proj", model.K: "attn.k_proj", model.V: "attn.v_proj", model.O: "attn.out_proj",
		model.Up: "mlp.fc_in", model.Down: "mlp.fc_out",
	}
	gptJNames    = names.Blocks("transformer.h.*.", gptJKinds, gptOutside).Ignoring("transformer.h.*.attn.bias")
	codeGenNames = gptJNames.Sharing("transformer.h.*.attn.qkv_proj.", names.Grouped(func(*model.Spec) int { return codeGenGroups }, model.Q, model.V, model.K)).
			Ignoring("transformer.h.*.attn.causal_mask")
	gptNeoXNames = names.Blocks("gpt_neox.layers.*.", map[string]string{
		model.AttnNorm: "input_layernorm", model.O: "attention.dense", model.FFNNorm: "post_attention_layernorm",
		model.Up: "mlp.dense_h_to_4h", model.Down: "mlp.dense_4h_to_h",
	}, map[string]string{model.Embed: "gpt_neox.embed_in", model.Norm: "gpt_neox.final_layer_norm", model.Head: "embed_out"}).
		Sharing("gpt_neox.layers.*.attention.query_key_value.", perHead).
		Ignoring("gpt_neox.layers.*.attention.bias")
)
