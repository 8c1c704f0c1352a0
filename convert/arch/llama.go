package arch

import (
	"slices"
	"strings"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() { register("llama", Architecture{llamaSpec, llamaNames}) }

// llamaSpec reads the config of Llama 2 and 3, and of other models with the same
// computation.
func llamaSpec(c *config.Config) model.Spec {
	s := decoderSpec(c)
	biases(c, &s, false)
	share(c, &s)
	windowless(c, &s)
	return s
}

// biases reads which layers have biases; def is the default of both keys.
func biases(c *config.Config, s *model.Spec, def bool) {
	attentionBias(c, s, def)
	s.Bias.FFN = c.Bool("mlp_bias", def)
}

// attentionBias reads whether the layers of attention have biases.
func attentionBias(c *config.Config, s *model.Spec, def bool) {
	s.Bias.QKV = c.Bool("attention_bias", def)
	s.Bias.O = s.Bias.QKV
}

// windowless reads the keys by which transformers' cache, but no model of this kind,
// forgets the tokens outside a window: they change nothing unless the window is shorter
// than the context.
func windowless(c *config.Config, s *model.Spec) {
	wholeWindow(c, s)
	sameLayers(c, s.Blocks, "full_attention")
}

// wholeWindow asserts that sliding_window is no shorter than the context.
func wholeWindow(c *config.Config, s *model.Spec) {
	zeroWindow(c)
	if w := c.Int("sliding_window", model.MaxLength, s.Context); w < s.Context {
		c.Unsupported("sliding_window", "%d, in a context of %d,", w, s.Context)
	}
}

// zeroWindow takes a window of 0, which transformers 5 writes for none, for an absent one.
func zeroWindow(c *config.Config) {
	if n, ok := config.Whole(c.Values["sliding_window"]); ok && n == 0 {
		c.Values["sliding_window"] = nil
	}
}

// sameLayers asserts that layer_types, if it is present, names one of kinds for all blocks.
func sameLayers(c *config.Config, blocks int, kinds ...string) {
	for i, t := range c.Strings("layer_types", blocks) {
		if i == 0 && slices.Contains(kinds, t) {
			kinds = []string{t}
		} else if kinds[0] != t {
			c.Unsupported("layer_types", "%s (want %s in all)", config.Show(t), strings.Join(kinds, " or "))
			return
		}
	}
}

// decoderSpec reads the features that Llama and its relatives share: RMSNorm before
// attention and before the feed-forward layer, rotary embedding in the half-split layout,
// grouped queries, SwiGLU. Defaults are those of transformers' LlamaConfig.
func decoderSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.NormEps = c.Epsilon("rms_norm_eps")
	wholeRotary(c, &s)
	s.Activation = activation(c, "hidden_act", "silu")
	return s
}

// activations lists transformers' names of functions (activations.py, ACT2CLS). Those of
// each function differ by rounding only.
var activations = map[string]model.Activation{
	"silu": model.SiLU, "swish": model.SiLU,
	"gelu_pytorch_tanh": model.GELUTanh, "gelu_new": model.GELUTanh, "gelu_fast": model.GELUTanh,
	"gelu_accurate": model.GELUTanh, "gelu_python_tanh": model.GELUTanh,
	"gelu": model.GELU, "gelu_python": model.GELU, "relu": model.ReLU, "relu2": model.ReLU2,
}

// activation reads the name of the function in the feed-forward layer. def is the name for
// a model_type that transformers does not have.
func activation(c *config.Config, key, def string) model.Activation {
	name := c.String(key, def)
	a, ok := activations[name]
	if !ok && c.Err() == nil {
		c.Unsupported(key, "%s (want %s)", config.Show(name), def)
	}
	return a
}

// headDim returns head_dim, or else the share of a head in the width. divides is false if
// the heads do not share the width equally.
func headDim(c *config.Config, s *model.Spec) (dim int, divides bool) {
	if dim := c.Int("head_dim", model.MaxWidth, 0); dim != 0 {
		return dim, true
	}
	heads := max(s.Heads, 1)
	if s.Hidden%heads != 0 {
		return 0, false
	}
	return s.Hidden / heads, true
}

// sizes reads the keys that have the same name in every config.
func sizes(c *config.Config) model.Spec {
	s := model.Spec{
		Hidden:  c.Int("hidden_size", model.MaxWidth),
		Heads:   c.Int("num_attention_heads", model.MaxHeads),
		FFN:     c.Int("intermediate_size", model.MaxWidth),
		Vocab:   c.Int("vocab_size", model.MaxVocab),
		Context: c.Int("max_position_embeddings", model.MaxLength),
		Blocks:  c.Int("num_hidden_layers", model.MaxBlocks),
		Tied:    c.Bool("tie_word_embeddings", false),
		BOS:     -1,
	}
	s.EOS = c.TokenIDs("eos_token_id", s.Vocab)
	if _, present := c.Values["num_key_value_heads"]; present && !c.Has("num_key_value_heads") {
		s.KVHeads = s.Heads
	} else {
		s.KVHeads = c.Int("num_key_value_heads", model.MaxHeads, s.Heads)
	}
	var divides bool
	if s.HeadDim, divides = headDim(c, &s); !divides {
		c.Fail("hidden_size", "%d is not divisible by num_attention_heads %d, and there is no head_dim", s.Hidden, s.Heads)
	}
	c.Must("is_causal", true)
	switch bos := c.TokenIDs("bos_token_id", s.Vocab); len(bos) {
	case 0:
	case 1:
		s.BOS = bos[0]
	default:
		c.Fail("bos_token_id", "%d ids, want one", len(bos))
	}
	s.Schedule = model.InOrder(s.Blocks, 1)
	c.Quantization()
	return s
}

var llamaNames = names.Table{
	Stored:  hf.Llama,
	Ignored: []string{"model.layers.*.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"},
}
