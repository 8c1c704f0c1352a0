package gguf

import "thimble/internal/model"

// gpts lists architectures with LayerNorm, with joined tensors, or with layers that are not
// attention.
var gpts = []architecture{
	{name: "gpt2", square: true, joinsQKV: true, tanh: true, extra: positions, graph: func(s *model.Spec) {
		s.Bias = model.Bias{QKV: true, O: true, FFN: true}
		gptGraph(s)
	}},
	{name: "starcoder", square: true, joinsQKV: true, tanh: true, extra: positions, graph: func(s *model.Spec) {
		s.Bias = model.Bias{QKV: true, O: true, FFN: true}
		gptGraph(s)
	}},
	{name: "starcoder2", square: true, tanh: true, optionalBias: model.Bias{QKV: true}, graph: func(s *model.Spec) {
		s.Bias.O, s.Bias.FFN = true, true
		gptGraph(s)
	}},
	{name: "gptneox", square: true, partial: true, joinsQKV: true, tanh: true, extra: parallelResidual, graph: func(s *model.Spec) {
		s.Bias, s.Tied = model.Bias{QKV: true, O: true, FFN: true}, false
		gptGraph(s)
	}},
	{name: "bloom", square: true, joinsQKV: true, tanh: true, extra: noRotation, graph: func(s *model.Spec) {
		s.Bias = model.Bias{QKV: true, O: true, FFN: true}
		s.EmbedNorm, s.Alibi = true, 8
		gptGraph(s)
	}},
	{name: "mpt", square: true, joinsQKV: true, tanh: true, extra: mptKeys, graph: func(s *model.Spec) {
		gptGraph(s)
		s.Norm = model.NormGain
	}},
	{name: "falcon", square: true, joinsQKV: true, tanh: true, names: falconNames, graph: func(s *model.Spec) {
		s.Parallel = true
		gptGraph(s)
	}, present: func(s *model.Spec, has func(string) bool) { s.TwoNorms = has("blk.0.attn_norm_2.weight") }},
	{name: "stablelm", square: true, partial: true, optionalBias: model.Bias{QKV: true}, present: stableLMTensors, graph: func(s *model.Spec) {
		s.Norm, s.Tied = model.NormLayer, false
	}},
	{name: "phi3", square: true, partial: true, factors: true, twoFactors: true, joinsGate: true},
	{name: "glm4", pairs: true, partial: true, joinsGate: true, optionalBias: model.Bias{QKV: true}, graph: func(s *model.Spec) { s.PostNorm = true }},
	{name: "chatglm", square: true, pairs: true, partial: true, joinsGate: true, optionalBias: model.Bias{QKV: true}},
	{name: "lfm2", square: true, extra: shortConvolutions, names: lfm2Names, graph: func(s *model.Spec) { s.QKNorm = model.QKGain }},
}

func gptGraph(s *model.Spec) {
	s.Norm, s.Ungated, s.Activation = model.NormLayer, true, model.GELUTanh
}

// noRotation sets that no block has a rotary embedding.
func noRotation(w *mapper, s *model.Spec) {
	if !w.reading || s.Blocks < 1 || s.Blocks > model.MaxBlocks {
		return
	}
	s.Attention = make([]model.Attention, s.Blocks)
	for b := range s.Attention {
		s.Attention[b].Rope = model.NoRope
	}
}

// positions sets the learned positions of gpt2, of which there are as many as the context.
func positions(w *mapper, s *model.Spec) {
	noRotation(w, s)
	if w.reading {
		s.Positions = s.Context
	}
}

func mptKeys(w *mapper, s *model.Spec) {
	noRotation(w, s)
	w.option(&w.m.alibi, &s.Alibi, 0)
}

// parallelResidual maps the choice of gptneox.
func parallelResidual(w *mapper, s *model.Spec) {
	if !w.reading {
		w.m.parallel = ptr(s.Parallel)
		return
	}
	s.Parallel = w.m.parallel == nil || *w.m.parallel
	s.TwoNorms = s.Parallel
}

// falconNames has attention's norm as the second one of blocks that have two.
func falconNames(s *model.Spec) map[string]string {
	if !s.TwoNorms {
		return nil
	}
	return map[string]string{model.AttnNorm: "attn_norm_2", model.FFNNorm: "attn_norm"}
}

// stableLMTensors sets what only the tensors of stablelm say.
func stableLMTensors(s *model.Spec, has func(tensor string) bool) {
	s.Parallel = !has("blk.0.ffn_norm.weight")
	if has("blk.0.attn_q_norm.weight") {
		s.QKNorm = model.QKHead
	}
}

// lfm2Names has the last norm under the name of one of embeddings (llama-arch.cpp).
func lfm2Names(*model.Spec) map[string]string {
	return map[string]string{model.Norm: "token_embd_norm"}
}

// shortConvolutions maps the blocks with a convolution, which have no key heads.
func shortConvolutions(w *mapper, s *model.Spec) {
	length := 0
	for _, a := range s.Attention {
		length = max(length, a.Conv)
	}
	w.count(&w.m.convLength, &length, 0)
	keysOfBlocks(w, s, model.Attention{Conv: length, Rope: model.NoRope})
}

// keysOfBlocks maps the key heads of each block, of which those without attention have none, and
// other instead.
func keysOfBlocks(w *mapper, s *model.Spec, other model.Attention) {
	m := w.m
	if s.Blocks < 1 || s.Blocks > model.MaxBlocks {
		return
	}
	if !w.reading {
		m.kvHeads = nil
		for b := range s.Blocks {
			heads := s.KVHeads
			if !s.AttentionOf(b).Attends() {
				heads = 0
			}
			m.kvOfBlocks = append(m.kvOfBlocks, int32(heads))
		}
		return
	}
	if len(m.kvOfBlocks) != s.Blocks {
		return // every block has attention
	}
	s.KVHeads, s.Attention = 0, make([]model.Attention, s.Blocks)
	for b, n := range m.kvOfBlocks {
		switch {
		case n == 0:
			s.Attention[b] = other
		case s.KVHeads != 0 && s.KVHeads != int(n):
			w.fail(&m.kvOfBlocks, "%d and %d key heads", s.KVHeads, n)
		default:
			s.KVHeads = int(n)
		}
	}
}
