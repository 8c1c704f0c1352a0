package gguf

import (
	"strings"

	"thimble/internal/model"
)

// outside and inside map our names of tensors to GGUF's, which carry ".weight"
// or ".bias" after them (gguf-py, constants.py, TENSOR_NAMES).
var (
	outside = [][2]string{{model.Embed, "token_embd"}, {model.Norm, "output_norm"}, {model.Head, "output"}}
	inside  = [][2]string{
		{model.AttnNorm, "attn_norm"}, {model.Q, "attn_q"}, {model.K, "attn_k"}, {model.V, "attn_v"}, {model.O, "attn_output"},
		{model.FFNNorm, "ffn_norm"}, {model.Gate, "ffn_gate"}, {model.Up, "ffn_up"}, {model.Down, "ffn_down"},
	}
)

// ropeFreqs holds, (HeadDim/2), what each rotary frequency is divided by.
const ropeFreqs = "rope_freqs.weight"

// foreign returns GGUF's name of one of our tensors.
func foreign(name string) (string, bool) {
	suffix := ".weight"
	base, bias := strings.CutSuffix(name, model.BiasSuffix)
	if bias {
		suffix = ".bias"
	}
	table, prefix, kind := outside, "", base
	if rest, ok := strings.CutPrefix(base, "blocks."); ok {
		block, k, _ := strings.Cut(rest, ".")
		table, prefix, kind = inside, "blk."+block+".", k
	}
	for _, pair := range table {
		if pair[0] == kind {
			return prefix + pair[1] + suffix, true
		}
	}
	return "", false
}

// turned returns the width of the heads whose rows GGUF keeps in another order,
// or 0. Rotary dimension i turns with i+HeadDim/2 here and is its neighbour
// there: row 2i+j of a head is our row i+j*HeadDim/2 (llama.py, permute).
func turned(name string, s *model.Spec) int {
	kind := strings.TrimSuffix(name, model.BiasSuffix)
	if i := strings.LastIndexByte(kind, '.'); i >= 0 && strings.HasPrefix(kind, "blocks.") {
		if kind = kind[i+1:]; kind == model.Q || kind == model.K {
			return s.HeadDim
		}
	}
	return 0
}

// inBlock is the name, in another block, of what is called name in block 0.
func inBlock(name string, block int) string {
	return model.Name(block, strings.TrimPrefix(name, "blocks.0."))
}
