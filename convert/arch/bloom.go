package arch

import (
	"strconv"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
	"thimble/internal/strictjson"
)

func init() {
	register("bloom", Architecture{bloomSpec, bloomNames})
	register("mpt", Architecture{mptSpec, mptNames})
	register("falcon", Architecture{falconSpec, falconNames})
	register("opt", Architecture{optSpec, optNames})
	register("biogpt", Architecture{bioGPTSpec, bioGPTNames})
}

// bloomSpec reads the config of BLOOM (arXiv 2211.05100): ALiBi, and a norm of the
// embeddings.
func bloomSpec(c *config.Config) model.Spec {
	c.Renamed("n_embed", "hidden_size", "n_head", "num_attention_heads", "n_layer", "num_hidden_layers")
	c.Values["max_position_embeddings"] = strictjson.Number(strconv.Itoa(c.Int("seq_length", model.MaxLength, 2048)))
	fourfold(c, "intermediate_size")
	s := sizes(c)
	s.Tied = c.Bool("tie_word_embeddings")
	s.Norm, s.NormEps = model.NormLayer, c.Epsilon("layer_norm_epsilon")
	s.Ungated, s.Activation = true, model.GELUTanh
	s.Rope = model.Rope{Base: 10000}
	s.EmbedNorm, s.Bias = true, model.Bias{QKV: true, O: true, FFN: true}
	s.Alibi = 8
	unrotated(c, &s)
	c.Must("apply_residual_connection_post_layernorm", false)
	c.Inert("slow_but_exact", "hidden_dropout", "classifier_dropout", "seq_length") // the order of sums, if pretraining_tp is not 1
	return s
}

// mptSpec reads the config of MPT: ALiBi, and no biases, not even of norms.
func mptSpec(c *config.Config) model.Spec {
	c.Renamed("d_model", "hidden_size", "n_heads", "num_attention_heads", "n_layers", "num_hidden_layers", "max_seq_len", "max_position_embeddings")
	c.Must("expansion_ratio", 4.0) // transformers does not read it
	fourfold(c, "intermediate_size")
	s := sizes(c)
	s.Tied = c.Bool("tie_word_embeddings")
	s.Norm, s.NormEps = model.NormGain, c.Epsilon("layer_norm_epsilon")
	s.Ungated, s.Activation = true, model.GELU
	s.Rope = model.Rope{Base: 10000}
	unrotated(c, &s)
	s.Alibi = 8
	if a := c.Object("attn_config"); a != nil {
		a.Adopt() // it is saved as a config of its own
		a.Must("alibi", true)
		s.Alibi = float64(a.Int("alibi_bias_max", 64, 8))
		a.Must("attn_type", "multihead_attention")
		a.Must("prefix_lm", false)
		a.Must("qk_ln", false)
		a.Absent("clip_qkv")
		if a.Has("softmax_scale") {
			s.AttnScale = a.Float("softmax_scale")
		}
		a.Inert("attn_impl", "attn_pdrop", "attn_uses_sequence_id", "model_type")
	}
	c.Inert("attn_pdrop", "clip_qkv", "softmax_scale", "qk_ln", "classifier_dropout", "hidden_dropout") // of attn_config, and dropout
	c.Must("no_bias", true)
	c.Absent("logit_scale")
	c.Inert("emb_pdrop", "embedding_fraction", "init_device", "learned_pos_emb", "norm_type", "resid_pdrop")
	return s
}

// falconSpec reads the config of Falcon (arXiv 2311.16867). The first models share one key
// and value, or have one for each head; the later ones have groups, and two norms.
func falconSpec(c *config.Config) model.Spec {
	c.Renamed("n_embed", "hidden_size", "n_head", "num_attention_heads", "n_layer", "num_hidden_layers", "n_head_kv", "num_kv_heads")
	fourfold(c, "ffn_hidden_size")
	s := layerNormSpec(c, "layer_norm_epsilon", "activation")
	wholeRotary(c, &s)
	c.Must("alibi", false)
	grouped := c.Bool("new_decoder_architecture")
	switch {
	case grouped:
		s.KVHeads = c.Int("num_kv_heads", model.MaxHeads, s.Heads)
	case c.Bool("multi_query"):
		s.KVHeads = 1
	}
	c.Inert("num_kv_heads", "multi_query", "hidden_dropout", "classifier_dropout", "num_key_value_heads", "_is_quantized")
	s.Parallel = grouped || c.Bool("parallel_attn")
	c.Inert("parallel_attn")
	if norms := c.Int("num_ln_in_parallel_attn", 2, 2); grouped && norms == 2 {
		s.TwoNorms = true
	}
	bias := c.Bool("bias")
	s.Bias = model.Bias{QKV: bias, O: bias, FFN: bias}
	return s
}

// optSpec reads the config of OPT (arXiv 2205.01068): learned positions and ReLU.
func optSpec(c *config.Config) model.Spec {
	c.Renamed("ffn_dim", "intermediate_size")
	c.Values["layer_norm_eps"] = strictjson.Number("1e-5") // PyTorch's default
	s := layerNormSpec(c, "layer_norm_eps", "activation_function")
	learnedPositions(c, &s)
	bias := c.Bool("enable_bias")
	s.Bias = model.Bias{QKV: bias, O: bias, FFN: bias}
	c.Must("do_layer_norm_before", true)
	c.Must("_remove_final_layer_norm", false)
	c.Must("layer_norm_elementwise_affine", true)
	c.Must("word_embed_proj_dim", float64(s.Hidden))
	c.Inert("dropout", "init_std", "layerdrop")
	return s
}

// bioGPTSpec reads the config of BioGPT (doi 10.1093/bib/bbac409): OPT with scaled
// embeddings.
func bioGPTSpec(c *config.Config) model.Spec {
	s := layerNormSpec(c, "layer_norm_eps", "hidden_act")
	learnedPositions(c, &s)
	s.Bias = model.Bias{QKV: true, O: true, FFN: true}
	if c.Bool("scale_embedding") {
		s.EmbedScale = rootOf(s.Hidden)
	}
	c.Inert("hidden_dropout_prob", "attention_probs_dropout_prob", "layerdrop", "activation_dropout", "classifier_dropout")
	return s
}

var (
	bloomOutside = map[string]string{
		model.Embed: "transformer.word_embeddings", model.EmbedNorm: "transformer.word_embeddings_layernorm", model.Norm: "transformer.ln_f", model.Head: "lm_head",
	}
	bloomNames = names.Blocks("transformer.h.*.", map[string]string{
		model.AttnNorm: "input_layernorm", model.O: "self_attention.dense", model.FFNNorm: "post_attention_layernorm",
		model.Up: "mlp.dense_h_to_4h", model.Down: "mlp.dense_4h_to_h",
	}, bloomOutside).Sharing("transformer.h.*.self_attention.query_key_value.", perHead)
	falconNames = bloomNames.Renaming("transformer.h.*.ln_attn", "transformer.h.*.input_layernorm", "transformer.h.*.ln_mlp", "transformer.h.*.post_attention_layernorm")
	mptNames    = names.Blocks("transformer.blocks.*.", map[string]string{
		model.AttnNorm: "norm_1", model.O: "attn.out_proj", model.FFNNorm: "norm_2", model.Up: "ffn.up_proj", model.Down: "ffn.down_proj",
	}, map[string]string{model.Embed: "transformer.wte", model.Norm: "transformer.norm_f", model.Head: "lm_head"}).
		Sharing("transformer.blocks.*.attn.Wqkv.", names.InOrder(model.Q, model.K, model.V))
	optKinds = map[string]string{
		model.AttnNorm: "self_attn_layer_norm", model.Q: "self_attn.q_proj", model.K: "self_attn.k_proj", model.V: "self_attn.v_proj",
		model.O: "self_attn.out_proj", model.FFNNorm: "final_layer_norm", model.Up: "fc1", model.Down: "fc2",
	}
	optNames = names.Blocks("model.decoder.layers.*.", optKinds, map[string]string{
		model.Embed: "model.decoder.embed_tokens", model.Positions: "model.decoder.embed_positions", model.Norm: "model.decoder.final_layer_norm", model.Head: "lm_head",
	}).LaterPositions(2)
	bioGPTNames = names.Blocks("biogpt.layers.*.", optKinds, map[string]string{
		model.Embed: "biogpt.embed_tokens", model.Positions: "biogpt.embed_positions", model.Norm: "biogpt.layer_norm", model.Head: "output_projection",
	}).LaterPositions(2)
)
