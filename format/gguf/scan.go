package gguf

import (
	"thimble/internal/model"
)

// hybrids lists architectures with state spaces (llama.cpp, mamba-base.cpp).
var hybrids = []architecture{
	{name: "granitehybrid", pairs: true, factors: true, optionalBias: model.Bias{QKV: true, O: true, FFN: true}, extra: graniteHybridKeys,
		experts: &expertForm{optional: true, normalized: true, shared: sharedWidth}},
}

// graniteHybridKeys maps the sizes of the state spaces and the blocks that have one. The graph
// bounds no step, adds a bias to the convolution, normalizes gated outputs, and rotates in all
// blocks with attention or in none. The loader wants twice the width of the stream.
func graniteHybridKeys(w *mapper, s *model.Spec) {
	graniteKeys(w, s)
	m, c, length := w.m, &s.Scan, 0
	for _, a := range s.Attention {
		length = max(length, a.Scan)
	}
	inner := c.Values()
	w.count(&m.deltaConv, &length, 0)
	w.count(&m.deltaGroups, &c.Groups, 0)
	w.count(&m.deltaHeads, &c.Heads, 0)
	w.count(&m.deltaState, &c.State, 0)
	w.count(&m.deltaInner, &inner, 0)
	if inner != 2*s.Hidden || c.Heads < 1 {
		w.fail(&m.deltaInner, "%d in %d heads, with a stream %d wide", inner, c.Heads, s.Hidden)
		return
	}
	if w.reading {
		c.HeadDim, c.ConvBias = inner/c.Heads, true
	}
	keysOfBlocks(w, s, model.Attention{Scan: length, Rope: model.NoRope})
	mapRotates(w, s)
}

// mapRotates maps whether the blocks with attention have a rotary embedding.
func mapRotates(w *mapper, s *model.Spec) {
	if !w.reading {
		for b := range s.Blocks {
			if a := s.AttentionOf(b); a.Attends() {
				w.m.rotates = ptr(a.Rope != model.NoRope)
			}
		}
		return
	}
	for b := range s.Attention {
		if w.m.rotates != nil && !*w.m.rotates {
			s.Attention[b].Rope = model.NoRope
		}
	}
}
