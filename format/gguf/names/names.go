// Package names pairs Thimble's names of tensors with GGUF's.
package names

import (
	"strconv"
	"strings"

	"thimble/internal/model"
)

// modelNames and blockNames pair Thimble's names of tensors outside and inside blocks with
// GGUF's, which end in ".weight" or ".bias" and are the same in every architecture, except for
// endings (gguf-py, constants.py, TENSOR_NAMES).
var (
	modelNames = [][2]string{
		{model.Embed, "token_embd"}, {model.Norm, "output_norm"}, {model.Head, "output"},
		{model.Positions, "position_embd"}, {model.EmbedNorm, "token_embd_norm"},
		{model.LayerEmbed, "per_layer_token_embd"}, {model.LayerInNorm, "per_layer_proj_norm"},
	}
	blockNames = [][2]string{
		{model.AttnNorm, "attn_norm"}, {model.Q, "attn_q"}, {model.K, "attn_k"}, {model.V, "attn_v"}, {model.O, "attn_output"},
		{model.QNorm, "attn_q_norm"}, {model.KNorm, "attn_k_norm"}, {model.AttnPost, "post_attention_norm"}, {model.FFNPost, "post_ffw_norm"},
		{model.FFNNorm, "ffn_norm"}, {model.Gate, "ffn_gate"}, {model.Up, "ffn_up"}, {model.Down, "ffn_down"},
		{model.Router, "ffn_gate_inp"}, {model.SharedGate, "ffn_gate_inp_shexp"}, {model.ConvIn, "shortconv.in_proj"}, {model.Conv, "shortconv.conv"},
		{model.ConvOut, "shortconv.out_proj"}, {model.Shared(model.Gate), "ffn_gate_shexp"}, {model.Shared(model.Up), "ffn_up_shexp"},
		{model.Shared(model.Down), "ffn_down_shexp"}, {model.RouterBias, "exp_probs_b"},
		{model.DeltaIn, "attn_qkv"}, {model.DeltaGate, "attn_gate"}, {model.DeltaA, "ssm_alpha"}, {model.DeltaB, "ssm_beta"}, {model.DeltaConv, "ssm_conv1d"},
		{model.DeltaDecay, "ssm_a"}, {model.DeltaDT, "ssm_dt"}, {model.DeltaNorm, "ssm_norm"}, {model.DeltaOut, "ssm_out"},
		{model.ScanConv, "ssm_conv1d"}, {model.ScanDecay, "ssm_a"}, {model.ScanSkip, "ssm_d"}, {model.ScanDT, "ssm_dt"}, {model.ScanNorm, "ssm_norm"}, {model.ScanOut, "ssm_out"},
		{model.LayerGate, "inp_gate"}, {model.LayerOut, "proj"}, {model.LayerPost, "post_norm"}, {model.OutScale, "layer_output_scale"},
		{model.AltUpNorm, "altup_router_norm"}, {model.AltUpRouter, "altup_router"}, {model.AltUpPredict, "altup_predict_coef"},
		{model.AltUpCorrect, "altup_correct_coef"}, {model.AltUpScale, "altup_correct_scale"},
		{model.LaurelLeft, "laurel_l"}, {model.LaurelRight, "laurel_r"}, {model.LaurelNorm, "laurel_post_norm"},
	}
	// endings lists the kinds whose tensors do not end in ".weight".
	endings = map[string]string{model.RouterBias: ".bias", model.DeltaDT: ".bias", model.DeltaDecay: "", model.ScanDT: ".bias", model.ScanDecay: "", model.ScanSkip: ""}
)

// RopeFreqs is the name of the tensor with the divisors of the rotary frequencies, (Dims/2).
const RopeFreqs = "rope_freqs.weight"

// LongAndShort are the names of those for long texts and for short ones, which an architecture
// may have instead.
var LongAndShort = []string{"rope_factors_long.weight", "rope_factors_short.weight"}

// ProbsBias is the name of the bias that chooses among a block's experts.
const ProbsBias = "exp_probs_b.bias"

// Of returns the usual name of GGUF for a tensor of the model.
func Of(name string) (string, bool) {
	base, bias := strings.CutSuffix(name, model.BiasSuffix)
	name, ok := translate(base)
	_, kind, _ := model.SplitName(base)
	ending, own := endings[kind]
	switch {
	case bias:
		ending = ".bias"
	case !own:
		ending = ".weight"
	}
	return name + ending, ok
}

// translate looks up the name of a tensor in the tables.
func translate(name string) (string, bool) {
	table, kind, into := modelNames, name, ""
	if block, k, ok := model.SplitName(name); ok {
		table, kind, into = blockNames, k, Block(block)
	}
	for _, pair := range table {
		if pair[0] == kind {
			return into + pair[1], true
		}
	}
	return "", false
}

// Block returns the beginning of the names of a block's tensors.
func Block(block int) string { return "blk." + strconv.Itoa(block) + "." }
