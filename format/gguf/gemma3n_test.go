package gguf

import (
	"math"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
)

// gemma3n22 is a gemma3n whose last two blocks have the keys and values of the two before, and
// whose embedding of the layers has fewer rows than tokens.
func gemma3n22() model.Spec {
	s := deltaSpecs()["gemma3n"]
	const blocks = 22
	s.Blocks, s.Schedule, s.Layer.Vocab = blocks, model.InOrder(blocks, 1), 5
	s.Attention, s.Sparsity = make([]model.Attention, blocks), gemma3nSparsity(blocks)
	for b := range s.Attention {
		if b != 19 && b != 21 {
			s.Attention[b] = model.Attention{Window: 8, Rope: 1}
		}
	}
	s.Attention[20].Back, s.Attention[21].Back = 2, 2
	return s
}

// llama.cpp's loader wants keys and values of all blocks, and a row of the embedding of the layers
// for each token.
func TestGemma3n(t *testing.T) {
	s := gemma3n22()
	m := filled(t, s)
	_, data := write(t, m)
	f := parse(t, data)
	for name, dims := range map[string][]uint64{
		"blk.20.attn_k.weight": {64, 32}, "blk.21.attn_v.weight": {64, 32}, "blk.20.attn_k_norm.weight": {16},
		"altup_proj.weight": {64, 64, 3}, "altup_unembd_proj.weight": {64, 64, 3}, "blk.1.altup_predict_coef.weight": {4, 16},
		"per_layer_token_embd.weight": {22 * 256, 9}, "per_layer_model_proj.weight": {64, 22 * 256},
	} {
		if x, ok := f.tensors[name]; !ok || !slices.Equal(x.dims, dims) {
			t.Errorf("%s has the dimensions %v, want %v", name, x.dims, dims)
		}
	}
	compare(t, "stream 2 before the first block", f.tensors["altup_proj.weight"].values()[64*64:2*64*64], values(m.Tensors["blocks.0.altup_in2"]))
	compare(t, "stream 3 after the last block", f.tensors["altup_unembd_proj.weight"].values()[2*64*64:], values(m.Tensors["blocks.21.altup_out3"]))
	rows := values(m.Tensors[model.LayerEmbed])
	compare(t, "rows of all tokens", f.tensors["per_layer_token_embd.weight"].values(), slices.Concat(rows, rows[:22*256], rows[:22*256], rows[:22*256], rows[:22*256]))
	got := opened(t, data)
	s.Layer.Vocab = 0
	if d := model.Differences(&s, &got.Spec); d != nil {
		t.Errorf("%s is %q, want %q", d[0].Name, d[0].Value(&got.Spec, 0), d[0].Value(&s, 0))
	}
}

// Files of other programs have quantiles in float32, and lists of equal widths. What the graph
// computes otherwise is refused.
func TestGemma3nKeysOfOthers(t *testing.T) {
	a, _ := architectureNamed("gemma3n")
	s := gemma3n22()
	asGGUF := a.asGGUF(&s)
	for want, change := range map[string]func(m *metadata){
		"":                         func(m *metadata) { m.sparsity[3] = 1.6448533535003662 },
		"no cutoffs":               func(m *metadata) { m.sparsity = nil },
		"no stream":                func(m *metadata) { m.altUpStreams, m.altUpActive = nil, nil },
		"no number of shared keys": func(m *metadata) { m.sharedKV = nil },
		"gemma3n.altup.active_idx: 1 is not supported":                                           func(m *metadata) { m.altUpActive = ptr(uint32(1)) },
		"gemma3n.altup.num_inputs: 3 in architecture gemma3n is not supported":                   func(m *metadata) { m.altUpStreams = ptr(uint32(3)) },
		"gemma3n.attention.shared_kv_layers: 3 of 22 blocks (want 2) is not supported":           func(m *metadata) { m.sharedKV = ptr(uint32(3)) },
		"gemma3n.activation_sparsity_scale: 1 in block 3 (want 1.6448536) is not supported":      func(m *metadata) { m.sparsity[3] = 1 },
		"gemma3n.activation_sparsity_scale: 0 in block 10 (want -Inf) is not supported":          func(m *metadata) { m.sparsity[10] = 0 },
		"gemma3n.activation_sparsity_scale: NaN in block 0 (want 1.6448536) is not supported":    func(m *metadata) { m.sparsity[0] = float32(math.NaN()) },
		"gemma3n.activation_sparsity_scale: 21 entries for 22 blocks is not supported":           func(m *metadata) { m.sparsity = m.sparsity[:21] },
		"gemma3n.final_logit_softcapping: 20 in architecture gemma3n is not supported":           func(m *metadata) { m.logitCap = ptr(float32(20)) },
		"gemma3n.embedding_length_per_layer_input: 128 in architecture gemma3n is not supported": func(m *metadata) { m.layerWidth = ptr(uint32(128)) },
	} {
		m := a.describe(&asGGUF)
		change(m)
		got, err := a.spec(m, func(string) bool { return false })
		if err == nil {
			err = a.unused(m, &got)
		}
		if refused := strings.Contains(want, ":"); refused && (err == nil || err.Error() != want) || !refused && err != nil {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
