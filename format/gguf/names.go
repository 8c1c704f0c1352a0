package gguf

import (
	"strconv"
	"strings"

	"thimble/internal/model"
)

// modelNames and blockNames pair Thimble's names of tensors outside and inside blocks with
// GGUF's, which end in ".weight" or ".bias" and are the same in every architecture
// (gguf-py, constants.py, TENSOR_NAMES).
var (
	modelNames = [][2]string{
		{model.Embed, "token_embd"}, {model.Norm, "output_norm"}, {model.Head, "output"},
		{model.Positions, "position_embd"}, {model.EmbedNorm, "token_embd_norm"},
	}
	blockNames = [][2]string{
		{model.AttnNorm, "attn_norm"}, {model.Q, "attn_q"}, {model.K, "attn_k"}, {model.V, "attn_v"}, {model.O, "attn_output"},
		{model.QNorm, "attn_q_norm"}, {model.KNorm, "attn_k_norm"}, {model.AttnPost, "post_attention_norm"}, {model.FFNPost, "post_ffw_norm"},
		{model.FFNNorm, "ffn_norm"}, {model.Gate, "ffn_gate"}, {model.Up, "ffn_up"}, {model.Down, "ffn_down"},
		{model.Router, "ffn_gate_inp"}, {model.SharedGate, "ffn_gate_inp_shexp"}, {model.ConvIn, "shortconv.in_proj"}, {model.Conv, "shortconv.conv"},
		{model.ConvOut, "shortconv.out_proj"}, {model.Shared(model.Gate), "ffn_gate_shexp"}, {model.Shared(model.Up), "ffn_up_shexp"},
		{model.Shared(model.Down), "ffn_down_shexp"},
	}
)

// ropeFreqs is the name of the tensor with the divisors of the rotary frequencies, (Dims/2).
// An architecture may have one of another name for long texts and one for short ones.
const ropeFreqs = "rope_freqs.weight"

var longAndShort = []string{"rope_factors_long.weight", "rope_factors_short.weight"}

// probsBias is the name of the bias that chooses among a block's experts.
const probsBias = "exp_probs_b.bias"

// nameInGGUF returns the usual name of GGUF for a tensor of the model.
func nameInGGUF(name string) (string, bool) {
	if block, ok := strings.CutSuffix(name, "."+model.RouterBias); ok {
		return strings.Replace(block, "blocks.", "blk.", 1) + "." + probsBias, true
	}
	base, bias := strings.CutSuffix(name, model.BiasSuffix)
	name, ok := translate(base)
	if bias {
		return name + ".bias", ok
	}
	return name + ".weight", ok
}

// translate looks up the name of a tensor in the tables.
func translate(name string) (string, bool) {
	table, kind, into := modelNames, name, ""
	if block, k, ok := model.SplitName(name); ok {
		table, kind, into = blockNames, k, blockPrefix(block)
	}
	for _, pair := range table {
		if pair[0] == kind {
			return into + pair[1], true
		}
	}
	return "", false
}

func blockPrefix(block int) string { return "blk." + strconv.Itoa(block) + "." }

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
