package convert

import "thimble/internal/model"

func init() { register("llama", architecture{llamaSpec, llamaNames}) }

// llamaSpec reads the config of Llama 2 and 3, and of other models with the same
// computation.
func llamaSpec(c *config) model.Spec {
	s := decoderSpec(c)
	attention := c.Bool("attention_bias", false)
	s.Bias = model.Bias{QKV: attention, O: attention, FFN: c.Bool("mlp_bias", false)}
	share(c, &s)
	c.Must("rope_interleaved", false)
	c.Must("use_sliding_window", false)
	c.Absent("sliding_window", "layer_types")
	return s
}

// decoderSpec reads the features that Llama and its relatives share: RMSNorm before
// attention and before the feed-forward layer, rotary embedding in the half-split layout,
// grouped queries, SwiGLU. Defaults are those of transformers' LlamaConfig.
func decoderSpec(c *config) model.Spec {
	s := sizes(c)
	s.NormEps = c.Float("rms_norm_eps")
	rope, inner := rotary(c, 10000)
	if inner != nil {
		inner.Must("partial_rotary_factor", 1.0)
	}
	s.Rope = rope
	c.Must("hidden_act", "silu")
	return s
}

// sizes reads the keys that have the same name in every config.
func sizes(c *config) model.Spec {
	s := model.Spec{
		Hidden:  c.Int("hidden_size", model.MaxWidth),
		Heads:   c.Int("num_attention_heads", model.MaxHeads),
		FFN:     c.Int("intermediate_size", model.MaxWidth),
		Vocab:   c.Int("vocab_size", model.MaxVocab),
		Context: c.Int("max_position_embeddings", model.MaxLength),
		Blocks:  c.Int("num_hidden_layers", model.MaxBlocks),
		Tied:    c.Bool("tie_word_embeddings", false),
		BOS:     -1,
		EOS:     c.IDs("eos_token_id"),
	}
	s.KVHeads = c.Int("num_key_value_heads", model.MaxHeads, s.Heads)
	if heads := max(s.Heads, 1); !c.Has("head_dim") && s.Hidden%heads != 0 {
		c.Fail("hidden_size", "%d is not divisible by num_attention_heads %d, and there is no head_dim", s.Hidden, heads)
	} else {
		s.HeadDim = c.Int("head_dim", model.MaxWidth, s.Hidden/heads)
	}
	switch bos := c.IDs("bos_token_id"); len(bos) {
	case 0:
	case 1:
		s.BOS = bos[0]
	default:
		c.Fail("bos_token_id", "%d ids, want one", len(bos))
	}
	s.Schedule = model.InOrder(s.Blocks, 1)
	c.shared.scaling = quantization(c)
	return s
}

// rotary reads rope_parameters, which transformers 5 writes, or rope_theta and
// rope_scaling, which transformers 4 wrote. base is the default of rope_theta. rotary
// also returns the object that it read, or nil.
func rotary(c *config, base float64) (model.Rope, *config) {
	base = c.Float("rope_theta", base)
	p := c.Object("rope_parameters")
	if p == nil {
		p = c.Object("rope_scaling")
	} else {
		if inner := p.Float("rope_theta", base); c.Has("rope_theta") && inner != base {
			c.Fail("rope_theta", "%g, but rope_parameters has %g; keep one", base, inner)
		} else {
			base = inner
		}
		if c.Has("rope_scaling") {
			c.Fail("rope_scaling", "given together with rope_parameters; keep one, --set rope_scaling=null drops this one")
		}
	}
	if p == nil {
		return model.Rope{Base: base}, nil
	}
	return scaledRope(p, base), p
}

// scaledRope reads a rope_type and its parameters.
func scaledRope(p *config, base float64) model.Rope {
	r := model.Rope{Base: base}
	kind := p.String("rope_type", p.String("type", ""))
	if old := p.String("type", kind); old != kind {
		p.Fail("type", "%q, but rope_type is %q", old, kind)
	}
	switch kind {
	case "default":
	case "linear":
		r.Scaling, r.Factor = model.RopeLinear, p.Float("factor")
	case "llama3":
		r = model.Rope{
			Base: base, Scaling: model.RopeLlama3, Factor: p.Float("factor"),
			LowFreq: p.Float("low_freq_factor"), HighFreq: p.Float("high_freq_factor"),
			Original: p.Int("original_max_position_embeddings", model.MaxLength),
		}
	case "":
		p.missing("rope_type")
	default:
		p.Unsupported("rope_type", "%s (want default, linear or llama3)", show(kind))
	}
	return r
}

var llamaNames = names{
	stored: map[string]string{
		"embed":              "model.embed_tokens.weight",
		"blocks.*.attn_norm": "model.layers.*.input_layernorm.weight",
		"blocks.*.q":         "model.layers.*.self_attn.q_proj.weight",
		"blocks.*.q.bias":    "model.layers.*.self_attn.q_proj.bias",
		"blocks.*.k":         "model.layers.*.self_attn.k_proj.weight",
		"blocks.*.k.bias":    "model.layers.*.self_attn.k_proj.bias",
		"blocks.*.v":         "model.layers.*.self_attn.v_proj.weight",
		"blocks.*.v.bias":    "model.layers.*.self_attn.v_proj.bias",
		"blocks.*.o":         "model.layers.*.self_attn.o_proj.weight",
		"blocks.*.o.bias":    "model.layers.*.self_attn.o_proj.bias",
		"blocks.*.ffn_norm":  "model.layers.*.post_attention_layernorm.weight",
		"blocks.*.gate":      "model.layers.*.mlp.gate_proj.weight",
		"blocks.*.gate.bias": "model.layers.*.mlp.gate_proj.bias",
		"blocks.*.up":        "model.layers.*.mlp.up_proj.weight",
		"blocks.*.up.bias":   "model.layers.*.mlp.up_proj.bias",
		"blocks.*.down":      "model.layers.*.mlp.down_proj.weight",
		"blocks.*.down.bias": "model.layers.*.mlp.down_proj.bias",
		"norm":               "model.norm.weight",
		"head":               "lm_head.weight",
	},
	ignored: []string{"model.layers.*.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"},
}
