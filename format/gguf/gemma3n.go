package gguf

import (
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// What llama.cpp's graph of gemma3n computes whatever the keys say (src/models/gemma3n.cpp and
// llama-hparams.h): the blocks from gemma3nKV on have the keys of the last two before, and the
// first gemma3nSparse cut off a share of their gates.
const (
	gemma3nKV, gemma3nSparse = 20, 10
	gemma3nShare             = 0.95
)

// gemma3nGraph sets the features of gemma3n.
func gemma3nGraph(s *model.Spec) {
	s.QKNorm, s.VNorm, s.PostNorm, s.Activation = model.QKGain, true, true, model.GELUTanh
	s.EmbedScale, s.AttnScale, s.LogitCap = math.Sqrt(float64(s.Hidden)), 1, 30
	s.AltUp, s.Laurel, s.Layer.Width = model.AltUp{Streams: 4, Scaled: true}, 64, 256
}

// gemma3nKeys maps the blocks of gemma3n. Keys of which the graph knows one value are compared
// with those of the resulting Spec, see unused.
func gemma3nKeys(w *mapper, s *model.Spec) {
	m := w.m
	if s.Blocks < 1 || s.Blocks > model.MaxBlocks {
		return // Spec.Check returns a better error
	}
	active := 0
	w.float(&m.logitCap, &s.LogitCap, 30)
	w.count(&m.layerWidth, &s.Layer.Width, 256)
	w.count(&m.altUpStreams, &s.AltUp.Streams, 4)
	if w.count(&m.altUpActive, &active, 1); active != 0 && m.altUpActive != nil {
		w.fail(&m.altUpActive, "%d", active)
	}
	if w.reading && m.windowPattern == nil && m.windowPeriod == nil {
		m.windowPeriod = ptr(uint32(5)) // load_swa_pattern
	}
	gemmaWindows(w, s)
	if w.reading {
		w.readGemma3n(s)
		return
	}
	m.sharedKV = ptr(uint32(max(s.Blocks-gemma3nKV, 0)))
	for _, share := range gemma3nSparsity(s.Blocks) {
		m.sparsity = append(m.sparsity, cutoff(share))
	}
}

// gemma3nSparsity returns the Sparsity that the graph computes.
func gemma3nSparsity(blocks int) []float64 {
	return slices.Concat(slices.Repeat([]float64{gemma3nShare}, min(blocks, gemma3nSparse)), make([]float64, max(blocks-gemma3nSparse, 0)))
}

// cutoff returns how many deviations above their mean gates are cut off for a share to be: none
// are below minus infinity.
func cutoff(share float64) float32 {
	if share == 0 {
		return float32(math.Inf(-1))
	}
	return float32(kernel.NormalQuantile(share))
}

// readGemma3n reads which blocks cut off gates, and which have no keys of their own.
func (w *mapper) readGemma3n(s *model.Spec) {
	if s.Attention == nil {
		s.Attention = make([]model.Attention, s.Blocks)
	}
	if shared := max(s.Blocks-gemma3nKV, 0); w.m.sharedKV == nil || int64(*w.m.sharedKV) == int64(shared) {
		w.readSharedKV(s, shared)
	} else {
		w.fail(&w.m.sharedKV, "%d of %d blocks (want %d)", *w.m.sharedKV, s.Blocks, shared)
	}
	s.Sparsity = gemma3nSparsity(s.Blocks)
	if n := len(w.m.sparsity); n != 0 && n != s.Blocks {
		w.fail(&w.m.sparsity, "%d entries for %d blocks", n, s.Blocks)
		return
	}
	for b, x := range w.m.sparsity { // programs compute the quantile in float32
		if want := cutoff(s.Sparsity[b]); x != want && !(math.Abs(float64(x-want)) < 1e-5) {
			w.fail(&w.m.sparsity, "%g in block %d (want %g)", x, b, want)
		}
	}
}

// streamsOf returns the place of a matrix of one stream in the tensor that has those of all, or
// one without a name.
func streamsOf(s *model.Spec, kind string) (p place) {
	for i := 1; i < s.AltUp.Streams; i++ {
		switch kind {
		case model.AltUpIn(i):
			p.name = "altup_proj.weight"
		case model.AltUpOut(i):
			p.name = "altup_unembd_proj.weight"
		default:
			continue
		}
		n := s.AltUp.Streams - 1
		p.first, p.rows = (i-1)*s.Hidden, n*s.Hidden
		p.dims = []uint64{uint64(s.Hidden), uint64(s.Hidden), uint64(n)}
	}
	return p
}
