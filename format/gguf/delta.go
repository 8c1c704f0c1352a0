package gguf

import (
	"math"
	"slices"

	"thimble/format/gguf/ggml"
	"thimble/format/gguf/order"
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A deltaForm says how an architecture has the blocks with the gated delta rule (llama.cpp,
// delta-net-base.cpp).
type deltaForm struct {
	tiled    bool // value head h has the query and key of head h mod KeyHeads; the file's heads are in that order
	joined   bool // what makes the two gates of a head is one tensor
	sections bool // a key divides the rotated dimensions among the positions of images
}

// deltas lists architectures with the delta rule. qwen3next computes what qwen35moe does: only
// files of other programs have it.
var deltas = []architecture{
	{name: "qwen35", partial: true, names: normAfterAttention, graph: deltaGraph, delta: &deltaForm{tiled: true, sections: true}},
	{name: "qwen35moe", partial: true, names: normAfterAttention, graph: deltaGraph, delta: &deltaForm{tiled: true, sections: true},
		experts: &expertForm{width: true, normalized: true, shared: sharedFull, gate: true}},
	{name: "qwen3next", partial: true, names: normAfterAttention, graph: deltaGraph, delta: &deltaForm{joined: true},
		experts: &expertForm{width: true, normalized: true, shared: sharedFull, gate: true}},
}

// deltaGraph sets the features of these architectures. The norm of queries and keys of the
// delta rule adds NormEps to the sum of squares, where the model adds 1e-6.
func deltaGraph(s *model.Spec) {
	s.QKNorm, s.AttnGate, s.NormEps = model.QKGain, true, 1e-6
}

// keys maps the sizes of the delta rule, and the blocks that have it.
func (f *deltaForm) keys(w *mapper, s *model.Spec) {
	m, d := w.m, &s.Delta
	length, inner := 0, d.ValueHeads*d.KeyDim // the loader takes ValueDim for KeyDim
	for _, a := range s.Attention {
		length = max(length, a.Delta)
	}
	w.count(&m.deltaConv, &length, 0)
	w.count(&m.deltaGroups, &d.KeyHeads, 0)
	w.count(&m.deltaHeads, &d.ValueHeads, 0)
	w.count(&m.deltaState, &d.KeyDim, 0)
	w.count(&m.deltaInner, &inner, 0)
	if w.reading {
		d.ValueDim = d.KeyDim
	}
	if f.sections {
		mapSections(w, s)
	}
	if s.Blocks >= 1 && s.Blocks <= model.MaxBlocks {
		mapDeltaBlocks(w, s, length)
	}
}

// mapDeltaBlocks maps which blocks have the delta rule: all except every deltaPeriod-th, or those
// of deltaBlocks, which older versions of llama.cpp do not read.
func mapDeltaBlocks(w *mapper, s *model.Spec, length int) {
	m := w.m
	if !w.reading {
		m.deltaBlocks = make([]bool, s.Blocks)
		for b := range s.Blocks {
			m.deltaBlocks[b] = s.AttentionOf(b).Delta > 0
		}
		if period := slices.Index(m.deltaBlocks, false) + 1; slices.Equal(m.deltaBlocks, periodic(s.Blocks, period)) {
			m.deltaPeriod = ptr(uint32(period))
		}
		return
	}
	pattern := m.deltaBlocks
	if m.nextBlocks != nil && len(pattern) == int(*m.blocks) {
		pattern = pattern[:s.Blocks]
	}
	if pattern == nil {
		period := 4
		if m.deltaPeriod != nil {
			period = int(*m.deltaPeriod)
		}
		pattern = periodic(s.Blocks, period)
	}
	if len(pattern) != s.Blocks {
		w.fail(&m.deltaBlocks, "%d entries for %d blocks", len(pattern), s.Blocks)
		return
	}
	s.Attention = make([]model.Attention, s.Blocks)
	for b, recurs := range pattern {
		if recurs {
			s.Attention[b] = model.Attention{Delta: length, Rope: model.NoRope}
		}
	}
	if !slices.Contains(pattern, true) {
		s.Delta = model.Delta{}
	}
}

// mapSections maps how many of the rotated pairs of dimensions follow each of the three
// positions of a part of an image. Pair i follows position i mod 3. The positions of a token of
// text are equal, so any division will do that leaves no pair to the fourth position, which is 0.
func mapSections(w *mapper, s *model.Spec) {
	pairs := ropeDims(s) / 2
	if !w.reading {
		w.m.ropeSections = []int32{int32((pairs + 2) / 3), int32((pairs + 1) / 3), int32(pairs / 3), 0}
		return
	}
	n := w.m.ropeSections
	fits := len(n) == 4 && pairs <= model.MaxWidth
	for i := 0; fits && i < pairs; i++ {
		fits = i < 3*int(n[i%3])
	}
	if !fits {
		w.fail(&w.m.ropeSections, "%d for %d pairs of rotated dimensions", n, pairs)
	}
}

// tiledHeads returns the order of the rows and columns of a tensor of the delta rule in a file
// whose value heads 0, KeyHeads, 2 KeyHeads, ... have the first query and key.
func tiledHeads(kind string, slot model.Slot, d *model.Delta) (rows, cols order.Swap) {
	tiled := func(skip, unit int) order.Swap {
		return order.Swap{Skip: skip, Outer: d.KeyHeads, Inner: d.ValueHeads / d.KeyHeads, Unit: unit}
	}
	keys := 2 * d.KeyHeads * d.KeyDim
	switch kind {
	case model.DeltaIn:
		rows = tiled(keys, d.ValueDim)
	case model.DeltaConv:
		length := slot.Cols / d.Mixed()
		rows = tiled(keys*length, d.ValueDim*length)
	case model.DeltaGate:
		rows = tiled(0, d.ValueDim)
	case model.DeltaA, model.DeltaB, model.DeltaDecay, model.DeltaDT:
		rows = tiled(0, 1)
	case model.DeltaOut:
		cols = tiled(0, d.ValueDim)
	}
	return rows, cols
}

// isDecay reports whether a kind is the decay of the delta rule or of a state space, of which files
// have minus the exponential.
func isDecay(kind string) bool { return kind == model.DeltaDecay || kind == model.ScanDecay }

// rawDecay returns m, unless it is a decay, of which the file has minus the
// exponential.
func rawDecay(slot model.Slot, m *qtensor.Matrix) *qtensor.Matrix {
	if !isDecay(slot.Kind()) {
		return m
	}
	out := &qtensor.Matrix{Scheme: ggml.F32.Scheme, Rows: 1, Cols: m.Cols}
	values := make([]float32, m.Cols)
	new(qtensor.Reader).Row(values, m, 0)
	for _, x := range values {
		out.Codes = le.AppendUint32(out.Codes, math.Float32bits(float32(kernel.Log64(-float64(x)))))
	}
	return out
}
