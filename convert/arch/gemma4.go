package arch

import (
	"math"
	"slices"
	"strconv"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() { register("gemma4_text", Architecture{gemma4Spec, gemma4Names}) }

// gemma4Spec reads the config of Gemma 4's text models: the norms of Gemma 3, with gains
// stored as they are; wider heads in global blocks, of which a part rotates; normalized values;
// an input of each layer; and last blocks that attend to the keys and values of earlier ones.
func gemma4Spec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Tied = c.Bool("tie_word_embeddings", true)
	s.NormEps = c.Epsilon("rms_norm_eps")
	s.EmbedScale, s.AttnScale = rootOf(s.Hidden), 1
	attentionBias(c, &s, false)
	s.QKNorm, s.VNorm, s.PostNorm, s.OutScale = model.QKGain, true, true, true
	s.Activation = activation(c, "hidden_activation", "gelu_pytorch_tanh")
	s.LogitCap = c.Float("final_logit_softcapping", 0)
	if v := c.Given("use_bidirectional_attention"); v != nil && v != "vision" { // which texts do not have
		c.Unsupported("use_bidirectional_attention", "%s", config.Show(v))
	}
	c.Must("enable_moe_block", false)
	c.Inert("num_experts", "top_k_experts", "moe_intermediate_size", "standardize") // without enable_moe_block or images

	isLocal := layerTypes(c, s.Blocks, "sliding_attention", func(b int) bool { return (b+1)%6 != 0 })
	local := func(b int) bool { return b < s.Blocks-1 && isLocal(b) } // transformers takes the last for a global one
	setWindow(&s, slidingWindow(c), local)
	if s.Attention == nil {
		s.Attention = make([]model.Attention, s.Blocks)
	}
	gemma4Heads(c, &s, local)
	shareKeys(c, &s, local)
	doubleWidths(c, &s)
	gemma4Ropes(c, &s, local)
	layerInput(c, &s)
	return s
}

// layerInput reads the sizes of the input of each layer.
func layerInput(c *config.Config, s *model.Spec) {
	if s.Layer.Width = zeroOr(c, "hidden_size_per_layer_input", model.MaxWidth); s.Layer.Width > 0 {
		if n := c.Int("vocab_size_per_layer_input", model.MaxVocab, s.Vocab); n != s.Vocab {
			s.Layer.Vocab = n
		}
	}
	c.Inert("vocab_size_per_layer_input")
}

// zeroOr reads a whole number that may be 0, or null for 0.
func zeroOr(c *config.Config, key string, most int) int {
	if v, present := c.Values[key]; present && v == nil {
		c.Inert(key)
		return 0
	}
	n := c.Float(key)
	if n < 0 || n > float64(most) || n != math.Trunc(n) {
		c.Fail(key, "want a whole number from 0 to %d, found %g", most, n)
		return 0
	}
	return int(n)
}

// gemma4Heads reads the sizes of the heads of global blocks: for each block by its number, or
// for all in keys of their own.
func gemma4Heads(c *config.Config, s *model.Spec, local func(b int) bool) {
	keysAreValues := c.Bool("attention_k_eq_v")
	dim, heads := c.Int("global_head_dim", model.MaxWidth, 512), 0
	if keysAreValues && c.Has("num_global_key_value_heads") {
		heads = c.Int("num_global_key_value_heads", model.MaxHeads)
	}
	c.Inert("num_global_key_value_heads")
	each := c.Object("per_layer_config")
	for b := range s.Attention {
		a := &s.Attention[b]
		a.KeyValues = keysAreValues && !local(b)
		switch {
		case each != nil:
			if one := each.Object(strconv.Itoa(b)); one != nil {
				a.HeadDim = one.Int("head_dim", model.MaxWidth, s.HeadDim)
				a.KVHeads = one.Int("num_key_value_heads", model.MaxHeads, s.KVHeads)
			}
		case !local(b):
			a.HeadDim, a.KVHeads = dim, heads
		}
		if a.HeadDim == s.HeadDim {
			a.HeadDim = 0
		}
		if a.KVHeads == s.KVHeads {
			a.KVHeads = 0
		}
	}
}

// shareKeys reads how many of the last blocks attend to the keys and values of the last block of
// the same kind before them.
func shareKeys(c *config.Config, s *model.Spec, local func(b int) bool) {
	first := s.Blocks - zeroOr(c, "num_kv_shared_layers", s.Blocks)
	for b := first; b < s.Blocks; b++ {
		from := first - 1
		for from >= 0 && local(from) != local(b) {
			from--
		}
		if from < 0 {
			c.Fail("num_kv_shared_layers", "%d: block %d has no earlier block of its kind with keys", s.Blocks-first, b)
			return
		}
		s.Attention[b].Back, s.Attention[b].KeyValues = b-from, false
	}
}

// doubleWidths reads whether the feed-forward layers of blocks without keys are twice as wide.
func doubleWidths(c *config.Config, s *model.Spec) {
	without := func(a model.Attention) bool { return a.Back > 0 }
	if !c.Bool("use_double_wide_mlp") || !slices.ContainsFunc(s.Attention, without) {
		return
	}
	for _, a := range s.Attention {
		width := s.FFN
		if without(a) {
			width *= 2
		}
		s.FFNs = append(s.FFNs, width)
	}
}

// gemma4Ropes reads the rotary embeddings of global and of local blocks.
func gemma4Ropes(c *config.Config, s *model.Spec, local func(b int) bool) {
	c.Default("rope_parameters", gemma4Rope)
	c.Absent("rope_scaling") // it could contradict rope_parameters
	c.Inert("rope_theta", "partial_rotary_factor", "original_max_position_embeddings")
	p := c.Object("rope_parameters")
	if p == nil {
		return
	}
	p.OnlyReads("full_attention", "sliding_attention")
	read := func(key string, base float64, head int) model.Rope {
		inner := p.Object(key)
		if inner == nil || !inner.Has("rope_theta") {
			c.Assumed("rope_parameters."+key+".rope_theta", base)
		}
		if inner == nil {
			return model.Rope{Base: base}
		}
		t := *s
		t.HeadDim = head
		r := scaledRope(c, inner, &t, inner.Float("rope_theta", base), nil)
		if r.Scaling != model.RopeFactors {
			inner.Must("partial_rotary_factor", 1.0)
		}
		return r
	}
	global := s.HeadDim
	for b := range s.Attention {
		if local(b) {
			s.Attention[b].Rope = 1
		} else {
			global = s.Of(b).HeadDim
		}
	}
	s.Rope = read("full_attention", 1e6, global)
	s.Ropes = []model.Rope{read("sliding_attention", 1e4, s.HeadDim)}
}

// gemma4Rope is transformers' default of Gemma 4's rope_parameters.
const gemma4Rope = `{"sliding_attention":{"rope_type":"default","rope_theta":10000.0},
	"full_attention":{"rope_type":"proportional","partial_rotary_factor":0.25,"rope_theta":1000000.0}}`

// gemma4Names has one matrix with the LayerIn of all blocks. Files have keys and values of
// blocks that do not use them.
var gemma4Names = llamaNames.With(hf.Sandwich).With(hf.HeadNorms).With(map[string]string{
	"layer_embed":         "model.embed_tokens_per_layer.weight",
	"layer_in_norm":       "model.per_layer_projection_norm.weight",
	"blocks.*.layer_in":   "model.per_layer_model_projection.weight",
	"blocks.*.layer_gate": "model.layers.*.per_layer_input_gate.weight",
	"blocks.*.layer_out":  "model.layers.*.per_layer_projection.weight",
	"blocks.*.layer_post": "model.layers.*.post_per_layer_input_norm.weight",
	"blocks.*.out_scale":  "model.layers.*.layer_scalar",
}).WithParts(map[string]names.Part{
	"blocks.*.layer_in": {Row: func(s *model.Spec, block, r int) int { return block*s.Layer.Width + r }},
}).Ignoring("model.layers.*.self_attn.k_proj.weight", "model.layers.*.self_attn.v_proj.weight",
	"model.layers.*.self_attn.k_norm.weight", "model.layers.*.self_attn.v_norm.weight")
