package arch

import (
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/hf"
	"thimble/internal/model"
)

func init() { register("phi", Architecture{phiSpec, phiNames}) }

// phiSpec reads the config of Phi-1, 1.5 and 2 (arXiv 2309.05463): attention and a
// feed-forward layer of two matrices in parallel after one LayerNorm, a rotary
// embedding of part of each head, biases everywhere.
func phiSpec(c *config.Config) model.Spec {
	s := sizes(c)
	s.Norm, s.NormEps = model.NormLayer, c.Epsilon("layer_norm_eps")
	s.Parallel, s.Ungated, s.Activation = true, true, activation(c, "hidden_act", "gelu_new")
	s.Bias = model.Bias{QKV: true, O: true, FFN: true, Head: true}

	partialRotary(c, &s, 0.5, nil)
	windowless(c, &s)
	c.Must("qk_layernorm", false)
	c.Inert("embd_pdrop", "resid_pdrop")
	return s
}

var phiNames = names.Table{
	Stored: hf.Phi,
}
