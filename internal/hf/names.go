// Package hf has the names of the tensors in checkpoints of Hugging Face transformers. The
// readers of checkpoints and the writers share them, so that there is one table for both.
package hf

// Llama maps canonical tensor names to those of Llama. In a pattern, * stands for the number
// of a block.
var Llama = map[string]string{
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
}

// HeadNorms adds the norms of queries and keys to Llama.
var HeadNorms = map[string]string{
	"blocks.*.q_norm": "model.layers.*.self_attn.q_norm.weight",
	"blocks.*.k_norm": "model.layers.*.self_attn.k_norm.weight",
}

// Sandwich replaces the norms of Llama by those of Gemma 2 and 3, before and after both layers.
var Sandwich = map[string]string{
	"blocks.*.attn_post": "model.layers.*.post_attention_layernorm.weight",
	"blocks.*.ffn_norm":  "model.layers.*.pre_feedforward_layernorm.weight",
	"blocks.*.ffn_post":  "model.layers.*.post_feedforward_layernorm.weight",
}

// PostNorms replaces the norms of Llama by those of OLMo 2, after both layers only. An empty
// name leaves a tensor out.
var PostNorms = map[string]string{
	"blocks.*.attn_norm": "",
	"blocks.*.ffn_norm":  "",
	"blocks.*.attn_post": "model.layers.*.post_attention_layernorm.weight",
	"blocks.*.ffn_post":  "model.layers.*.post_feedforward_layernorm.weight",
}

// Phi maps canonical tensor names to those of Phi-1, 1.5 and 2.
var Phi = map[string]string{
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
}
