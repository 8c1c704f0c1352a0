package gguf

import (
	"strings"

	"thimble/internal/model"
)

// modelNames and blockNames pair Thimble's names of tensors outside and inside blocks with
// GGUF's, which end in ".weight" or ".bias" and are the same in every architecture
// (gguf-py, constants.py, TENSOR_NAMES).
var (
	modelNames = [][2]string{{model.Embed, "token_embd"}, {model.Norm, "output_norm"}, {model.Head, "output"}}
	blockNames = [][2]string{
		{model.AttnNorm, "attn_norm"}, {model.Q, "attn_q"}, {model.K, "attn_k"}, {model.V, "attn_v"}, {model.O, "attn_output"},
		{model.QNorm, "attn_q_norm"}, {model.KNorm, "attn_k_norm"}, {model.AttnPost, "post_attention_norm"}, {model.FFNPost, "post_ffw_norm"},
		{model.FFNNorm, "ffn_norm"}, {model.Gate, "ffn_gate"}, {model.Up, "ffn_up"}, {model.Down, "ffn_down"},
	}
)

// ropeFreqs is the name of the tensor with the divisors of the rotary frequencies,
// (HeadDim/2).
const ropeFreqs = "rope_freqs.weight"

// nameInGGUF returns GGUF's name for a tensor of the model.
func nameInGGUF(name string) (string, bool) {
	base, bias := strings.CutSuffix(name, model.BiasSuffix)
	name, ok := translate(base, "blocks.", "blk.", 0)
	if bias {
		return name + ".bias", ok
	}
	return name + ".weight", ok
}

// nameInModel returns the model's name for a tensor in GGUF. Its rows may be in a
// different order: see interleave.
func nameInModel(name string) (string, bool) {
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

// translate looks up name in column from of the tables and returns the entry of the other
// column.
func translate(name, prefix, newPrefix string, from int) (string, bool) {
	table, kind, into := modelNames, name, ""
	if rest, ok := strings.CutPrefix(name, prefix); ok {
		block, k, _ := strings.Cut(rest, ".")
		table, kind, into = blockNames, k, newPrefix+block+"."
	}
	for _, pair := range table {
		if pair[from] == kind {
			return into + pair[1-from], true
		}
	}
	return "", false
}

// interleave returns the number of rows of a head if GGUF interleaves the heads of the
// model's tensor name, otherwise 0. A model that rotates dimension i with i+HeadDim/2
// needs its rows in a different order for a graph that rotates 2i with 2i+1: row 2i+j of a
// head in the file is row i+j*HeadDim/2 of the model (llama.py, permute).
func (a *architecture) interleave(name string, s *model.Spec) int {
	if !a.pairs || s.Rope.Pairs {
		return 0
	}
	_, kind, _ := model.SplitName(strings.TrimSuffix(name, model.BiasSuffix))
	if kind != model.Q && kind != model.K {
		return 0
	}
	return s.HeadDim
}
