package gguf

import (
	"math"
	"slices"

	"thimble/internal/model"
)

// phiGraph sets the features of phi2: attention and a feed-forward layer of two matrices
// both read one LayerNorm. Only the biases of queries, keys and values are optional.
func phiGraph(s *model.Spec) {
	s.Norm, s.Parallel, s.Ungated, s.Activation = model.NormLayer, true, true, model.GELUTanh
	s.Bias.O, s.Bias.FFN, s.Bias.Head, s.Tied = true, true, true, false
}

// gemmaGraph sets the features of gemma3. llama.cpp's graph treats a model of 62 blocks as
// Gemma 3 27B, whose scores it divides by the root of hidden/heads in integer division.
func gemmaGraph(s *model.Spec) {
	s.QKNorm, s.PostNorm, s.Activation = model.QKGain, true, model.GELUTanh
	s.EmbedScale = math.Sqrt(float64(s.Hidden))
	if s.Blocks == 62 {
		s.AttnScale = 1 / math.Sqrt(float64(s.Hidden/max(s.Heads, 1)))
	}
}

// gemmaWindows maps attention windows: blocks with a window have their own rotary
// embedding, the other blocks see every position.
func gemmaWindows(w *mapper, s *model.Spec) {
	m := w.m
	if w.reading {
		w.readWindows(s)
		return
	}
	window, base, local := 0, s.Rope.Base, 0
	pattern := make([]bool, s.Blocks)
	for b, a := range s.Attention {
		if pattern[b] = a.Window > 0 || a.Rope > 0; !pattern[b] {
			continue
		}
		local++
		window = max(window, a.Window)
		if a.Rope > 0 {
			base = s.Ropes[a.Rope-1].Base
		}
	}
	if local == 0 {
		return
	}
	if window == 0 {
		window = s.Context
	}
	m.window, m.localBase = ptr(uint32(window)), ptr(float32(base))
	if period := slices.Index(pattern, false) + 1; slices.Equal(pattern, periodic(s.Blocks, period)) {
		m.windowPeriod = ptr(uint32(period))
	} else {
		m.windowPattern = pattern
	}
}

// periodic reports for each of n blocks whether it has a window if every period-th block,
// counting from 1, has none; with a period of 0 all have one.
func periodic(n, period int) []bool {
	pattern := make([]bool, n)
	for b := range pattern {
		pattern[b] = period == 0 || (b+1)%period != 0
	}
	return pattern
}

func (w *mapper) readWindows(s *model.Spec) {
	m := w.m
	if m.window == nil || *m.window == 0 {
		return
	}
	pattern := m.windowPattern
	if pattern == nil {
		period := 6
		if m.windowPeriod != nil {
			period = int(*m.windowPeriod)
		}
		if s.Blocks < 1 || s.Blocks > model.MaxBlocks {
			return // Spec.Check returns a better error
		}
		pattern = periodic(s.Blocks, period)
	}
	if len(pattern) != s.Blocks {
		w.fail(&m.windowPattern, "%d entries for %d blocks", len(pattern), s.Blocks)
		return
	}
	local := model.Rope{Base: 10000}
	if m.localBase != nil {
		local.Base = shortest(*m.localBase)
	}
	s.Ropes, s.Attention = []model.Rope{local}, make([]model.Attention, s.Blocks)
	for b := range pattern {
		if pattern[b] {
			s.Attention[b] = model.Attention{Window: int(*m.window), Rope: 1}
		}
	}
}

// llama4Blocks maps the blocks of llama4, of which every fourth has no rotary embedding.
// llama.cpp's loader requires at least one expert, even if no block uses it. In its graph
// the blocks with a rotary embedding see chunks of 8192 positions, and the others change
// their attention temperature at position 8191: maxPosition avoids both.
func llama4Blocks(w *mapper, s *model.Spec) {
	m := w.m
	if !w.reading {
		m.experts, m.expertsUsed, m.expertPeriod, m.expertFFN = ptr(uint32(1)), ptr(uint32(1)), ptr(uint32(0)), ptr(uint32(s.FFN))
		return
	}
	if m.expertPeriod == nil || *m.expertPeriod != 0 {
		w.fail(&m.expertPeriod, "blocks with experts")
	}
	if m.window != nil {
		w.fail(&m.window, "in architecture llama4")
	}
	if s.Blocks < 1 || s.Blocks > model.MaxBlocks {
		return
	}
	s.Attention = make([]model.Attention, s.Blocks)
	for b := 3; b < s.Blocks; b += 4 {
		s.Attention[b].Rope = model.NoRope
	}
}
