package arch

import (
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
)

func init() { register("phi", Architecture{phiSpec, phiNames}) }

// phiSpec reads the config of Phi-1, 1.5 and 2 (arXiv 2309.05463): attention and a
// feed-forward layer of two matrices in parallel after one LayerNorm, a rotary
// embedding of part of each head, biases everywhere.
func phiSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Norm, s.NormEps = model.NormLayer, c.Float("layer_norm_eps")
	s.Parallel, s.Ungated, s.Activation = true, true, activation(c, "hidden_act", "gelu_new")
	s.Bias = model.Bias{QKV: true, O: true, FFN: true, Head: true}

	partialRotary(c, &s, 0.5, nil)
	windowless(c, &s)
	c.Must("qk_layernorm", false)
	c.Inert("embd_pdrop", "resid_pdrop")
	return s
}

var phiNames = names.Table{
	Stored: map[string]string{
		"embed":                   "model.embed_tokens.weight",
		"blocks.*.attn_norm":      "model.layers.*.input_layernorm.weight",
		"blocks.*.attn_norm.bias": "model.layers.*.input_layernorm.bias",
		"blocks.*.q":              "model.layers.*.self_attn.q_proj.weight",
		"blocks.*.q.bias":         "model.layers.*.self_attn.q_proj.bias",
		"blocks.*.k":              "model.layers.*.self_attn.k_proj.weight",
		"blocks.*.k.bias":         "model.layers.*.self_attn.k_proj.bias",
		"blocks.*.v":              "model.layers.*.self_attn.v_proj.weight",
		"blocks.*.v.bias":         "model.layers.*.self_attn.v_proj.bias",
		"blocks.*.o":              "model.layers.*.self_attn.dense.weight",
		"blocks.*.o.bias":         "model.layers.*.self_attn.dense.bias",
		"blocks.*.up":             "model.layers.*.mlp.fc1.weight",
		"blocks.*.up.bias":        "model.layers.*.mlp.fc1.bias",
		"blocks.*.down":           "model.layers.*.mlp.fc2.weight",
		"blocks.*.down.bias":      "model.layers.*.mlp.fc2.bias",
		"norm":                    "model.final_layernorm.weight",
		"norm.bias":               "model.final_layernorm.bias",
		"head":                    "lm_head.weight",
		"head.bias":               "lm_head.bias",
	},
}
