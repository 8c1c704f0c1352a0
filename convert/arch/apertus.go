package arch

import (
	"thimble/convert/config"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() { register("apertus", Architecture{apertusSpec, apertusNames}) }

// apertusSpec reads the config of Apertus (arXiv 2509.14233): Llama with normalized queries
// and keys, and a feed-forward layer of two matrices whose activation each block has learned.
func apertusSpec(c *config.Config) model.Spec {
	c.Default("rope_parameters", apertusRope)
	s := sizes(c)
	s.NormEps = c.Epsilon("rms_norm_eps")
	wholeRotary(c, &s)
	s.QKNorm, s.Ungated = model.QKGain, true
	if s.Activation = model.XIELU; c.String("hidden_act", "xielu") != "xielu" {
		s.Activation = activation(c, "hidden_act", "xielu")
	}
	attentionBias(c, &s, false)
	windowless(c, &s)
	return s
}

// apertusRope is transformers' default of Apertus' rope_parameters.
const apertusRope = `{"rope_type":"llama3","rope_theta":12000000.0,"factor":8.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
	"original_max_position_embeddings":8192}`

var apertusNames = llamaNames.With(hf.HeadNorms).With(map[string]string{
	"blocks.*.attn_norm":    "model.layers.*.attention_layernorm.weight",
	"blocks.*.ffn_norm":     "model.layers.*.feedforward_layernorm.weight",
	"blocks.*.xielu_above":  "model.layers.*.mlp.act_fn.alpha_p",
	"blocks.*.xielu_below":  "model.layers.*.mlp.act_fn.alpha_n",
	"blocks.*.xielu_linear": "model.layers.*.mlp.act_fn.beta",
	"blocks.*.xielu_last":   "model.layers.*.mlp.act_fn.eps",
})
