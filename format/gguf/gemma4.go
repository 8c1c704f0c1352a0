package gguf

import (
	"cmp"
	"math"
	"slices"

	"thimble/format/gguf/names"
	"thimble/internal/model"
)

// gemma4Graph sets the features of gemma4.
func gemma4Graph(s *model.Spec) {
	s.QKNorm, s.VNorm, s.PostNorm, s.Activation = model.QKGain, true, true, model.GELUTanh
	s.EmbedScale, s.AttnScale = math.Sqrt(float64(s.Hidden)), 1
}

// gemma4Tensors sets what only the tensors of gemma4 say.
func gemma4Tensors(s *model.Spec, has func(tensor string) bool) {
	s.OutScale = has("blk.0.layer_output_scale.weight")
	for b := range s.Attention {
		if a := &s.Attention[b]; a.Back == 0 {
			a.KeyValues = !has(names.Block(b) + "attn_v.weight")
		}
	}
}

// gemma4Keys maps the blocks of gemma4: those with a window have heads and a rotary embedding of
// their own, and the last ones attend to the keys and values of earlier blocks.
func gemma4Keys(w *mapper, s *model.Spec) {
	if s.Blocks < 1 || s.Blocks > model.MaxBlocks {
		return // Spec.Check returns a better error
	}
	w.float(&w.m.logitCap, &s.LogitCap, 30) // without the key
	if w.count(&w.m.layerWidth, &s.Layer.Width, 0); w.reading {
		w.readGemma4(s)
		return
	}
	m := w.m
	global, local, window := *s, *s, 0
	m.windowPattern = make([]bool, s.Blocks)
	for b, a := range s.Attention {
		if m.windowPattern[b] = a.Window > 0 || a.Rope > 0; m.windowPattern[b] {
			local, window = s.Of(b), max(window, a.Window)
		} else {
			global = s.Of(b)
		}
	}
	m.window = ptr(uint32(cmp.Or(window, s.Context)))
	m.keyLength, m.valueLength = ptr(uint32(global.HeadDim)), ptr(uint32(global.HeadDim))
	m.localKeyLength, m.localValueLength = ptr(uint32(local.HeadDim)), ptr(uint32(local.HeadDim))
	m.ropeDims, m.localRopeDims = ptr(uint32(global.HeadDim)), ptr(uint32(local.HeadDim))
	if len(s.Ropes) > 0 {
		m.localBase = ptr(float32(s.Ropes[0].Base))
	}
	m.kvHeads, m.kvOfBlocks = listed(s, func(t *model.Spec) int { return t.KVHeads })
	m.ffn, m.ffnOfBlocks = listed(s, func(t *model.Spec) int { return t.FFN })
	shared := 0
	for _, a := range s.Attention {
		if a.Back > 0 {
			shared++
		}
	}
	m.sharedKV = ptr(uint32(shared))
}

// listed returns a size that all blocks have, or a list of each block's.
func listed(s *model.Spec, size func(s *model.Spec) int) (one *uint32, each []int32) {
	for b := range s.Blocks {
		t := s.Of(b)
		each = append(each, int32(size(&t)))
	}
	if len(slices.Compact(slices.Clone(each))) == 1 {
		return ptr(uint32(each[0])), nil
	}
	return nil, each
}

func (w *mapper) readGemma4(s *model.Spec) {
	m := w.m
	if len(m.windowPattern) != s.Blocks {
		w.fail(&m.windowPattern, "%d entries for %d blocks", len(m.windowPattern), s.Blocks)
		return
	}
	window, global, width, shared := 0, s.HeadDim, s.HeadDim, 0
	w.count(&m.window, &window, 0)
	w.count(&m.localKeyLength, &s.HeadDim, 0)
	if w.count(&m.localValueLength, &width, 0); width != s.HeadDim {
		w.fail(&m.localValueLength, "%d with keys of %d", width, s.HeadDim)
	}
	dims := s.HeadDim
	if w.count(&m.localRopeDims, &dims, global); dims != s.HeadDim {
		w.fail(&m.localRopeDims, "%d in heads of %d", dims, s.HeadDim)
	}
	base := s.Rope.Base
	w.float(&m.localBase, &base, base)
	s.Ropes, s.Attention = []model.Rope{{Base: base}}, make([]model.Attention, s.Blocks)
	for b, local := range m.windowPattern {
		if a := &s.Attention[b]; local {
			a.Window, a.Rope = window, 1
		} else if global != s.HeadDim {
			a.HeadDim = global
		}
	}
	w.readKVHeads(s)
	if m.sharedKV != nil {
		shared = int(min(*m.sharedKV, math.MaxInt32))
	}
	w.readSharedKV(s, shared)
}

// readKVHeads reads the key heads of each block. Spec's are those of the blocks with a window.
func (w *mapper) readKVHeads(s *model.Spec) {
	m := w.m
	if len(m.kvOfBlocks) == 0 {
		return
	}
	if len(m.kvOfBlocks) != s.Blocks {
		w.fail(&m.kvOfBlocks, "%d entries for %d blocks", len(m.kvOfBlocks), s.Blocks)
		return
	}
	s.KVHeads = int(m.kvOfBlocks[max(slices.Index(m.windowPattern, true), 0)])
	for b, n := range m.kvOfBlocks {
		if int(n) != s.KVHeads {
			s.Attention[b].KVHeads = int(n)
		}
	}
}

// readSharedKV sets the keys of the last blocks. llama.cpp gives them those of the last two
// blocks before, of which the first must have a window and the second none (llama-model.cpp).
func (w *mapper) readSharedKV(s *model.Spec, shared int) {
	if shared == 0 {
		return
	}
	first := s.Blocks - shared
	if first < 2 {
		w.fail(&w.m.sharedKV, "%d of %d blocks", shared, s.Blocks)
		return
	}
	for b := first; b < s.Blocks; b++ {
		from := first - 1
		if s.Attention[b].Rope > 0 { // with a window
			from--
		}
		s.Attention[b].Back = b - from
	}
}

// unusedKeys returns the names of keys and values in blocks that attend to those of others:
// checkpoints have them, and so may files.
func unusedKeys(s *model.Spec) (all []string) {
	for b, a := range s.Attention {
		if a.Back == 0 {
			continue
		}
		for _, kind := range []string{model.K, model.V, model.KNorm} {
			name, _ := names.Of(model.Name(b, kind))
			all = append(all, name)
		}
	}
	return all
}
