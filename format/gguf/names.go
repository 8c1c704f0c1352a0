package gguf

import (
	"strconv"
	"strings"

	"thimble/internal/model"
)

// outside and inside map our names of tensors to GGUF's, which carry ".weight"
// or ".bias" after them and are the same in every architecture (gguf-py,
// constants.py, TENSOR_NAMES).
var (
	outside = [][2]string{{model.Embed, "token_embd"}, {model.Norm, "output_norm"}, {model.Head, "output"}}
	inside  = [][2]string{
		{model.AttnNorm, "attn_norm"}, {model.Q, "attn_q"}, {model.K, "attn_k"}, {model.V, "attn_v"}, {model.O, "attn_output"},
		{model.QNorm, "attn_q_norm"}, {model.KNorm, "attn_k_norm"}, {model.AttnPost, "post_attention_norm"}, {model.FFNPost, "post_ffw_norm"},
		{model.FFNNorm, "ffn_norm"}, {model.Gate, "ffn_gate"}, {model.Up, "ffn_up"}, {model.Down, "ffn_down"},
	}
)

// ropeFreqs holds, (HeadDim/2), what each rotary frequency is divided by.
const ropeFreqs = "rope_freqs.weight"

// foreign returns GGUF's name of one of our tensors.
func foreign(name string) (string, bool) {
	base, bias := strings.CutSuffix(name, model.BiasSuffix)
	name, ok := translate(base, "blocks.", "blk.", 0)
	if bias {
		return name + ".bias", ok
	}
	return name + ".weight", ok
}

// native returns our name of a tensor in GGUF. A file may name it and hold it
// all the same in another order of rows, see turned.
func native(name string) (string, bool) {
	base, bias := strings.CutSuffix(name, ".bias")
	if !bias {
		var weight bool
		if base, weight = strings.CutSuffix(name, ".weight"); !weight {
			return "", false
		}
	}
	name, ok := translate(base, "blk.", "blocks.", 1)
	if bias {
		name += model.BiasSuffix
	}
	return name, ok
}

// translate looks name up in column from of the tables and answers from the other.
func translate(name, prefix, newPrefix string, from int) (string, bool) {
	table, kind, into := outside, name, ""
	if rest, ok := strings.CutPrefix(name, prefix); ok {
		block, k, _ := strings.Cut(rest, ".")
		table, kind, into = inside, k, newPrefix+block+"."
	}
	for _, pair := range table {
		if pair[from] == kind {
			return into + pair[1-from], true
		}
	}
	return "", false
}

// turned returns the width of the heads whose rows GGUF keeps in another order,
// or 0. Rotary dimension i of s turns with i+HeadDim/2 and is its neighbour in
// architectures that turn pairs: row 2i+j of a head there is our row
// i+j*HeadDim/2 (llama.py, permute).
func (a *architecture) turned(name string, s *model.Spec) int {
	if !a.pairs || s.Rope.Pairs {
		return 0
	}
	kind := strings.TrimSuffix(name, model.BiasSuffix)
	if i := strings.LastIndexByte(kind, '.'); i >= 0 && strings.HasPrefix(kind, "blocks.") {
		if kind = kind[i+1:]; kind == model.Q || kind == model.K {
			return s.HeadDim
		}
	}
	return 0
}

// sourceOf returns the name in the model of a tensor that is called name where
// each step has a block of its own.
func sourceOf(name string, schedule []int) string {
	rest, ok := strings.CutPrefix(name, "blocks.")
	if !ok {
		return name
	}
	step, kind, _ := strings.Cut(rest, ".")
	n, _ := strconv.Atoi(step)
	return model.Name(schedule[n], kind)
}
