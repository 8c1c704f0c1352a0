package gguf

import "thimble/internal/model"

// An expertForm says which keys and defaults an architecture has for a mixture of experts
// (llama.cpp, build_moe_ffn).
type expertForm struct {
	optional   bool // without the keys there are no experts
	width      bool // a key has the width of an expert; otherwise it is that of the feed-forward layer
	repeated   bool // a key repeats that width
	sigmoid    bool // a key names the scores, and a bias may choose among them
	normalized bool // the weights of the chosen experts are divided by their sum; see norm
	norm       bool // a key says whether they are
	scale      bool // a key multiplies them
	dense      bool // a key has the number of leading blocks without experts
	shared     sharedForm
	gate       bool // the shared expert has a gate
	softmax    bool // without a key for the scores, they are a softmax, not sigmoids
}

// A sharedForm says how the width of the shared expert is given.
type sharedForm int

const (
	noShared    sharedForm = iota
	sharedWidth            // by a key; none without it
	sharedFull             // by a key; without it, it is that of the feed-forward layer
	sharedCount            // as a multiple of an expert's
)

// Values of the key of scores (llama-hparams.h, llama_expert_gating_func_type).
const (
	gatingSoftmax = 1
	gatingSigmoid = 2
)

// keys maps the experts of s.
func (f *expertForm) keys(w *mapper, s *model.Spec) {
	m, e := w.m, &s.Experts
	if f.optional && (w.reading && (m.experts == nil || *m.experts == 0) || !w.reading && e.Count == 0) {
		return
	}
	w.count(&m.experts, &e.Count, 0)
	w.count(&m.expertsUsed, &e.Used, 0)
	if w.reading && e.Count == 0 {
		w.fail(&m.experts, "0")
	}
	switch {
	case f.width:
		w.count(&m.expertFFN, &e.FFN, max(s.FFN/max(e.Used, 1), 1))
	case w.reading:
		e.FFN = s.FFN
	case f.repeated:
		m.expertFFN = ptr(uint32(e.FFN))
	}
	f.mapShared(w, s)
	if f.scale {
		w.option(&m.expertScale, &e.Scale, 1)
	}
	f.mapScores(w, e)
	if f.dense {
		f.mapDense(w, s)
	}
}

// mapScores maps how the scores of experts become weights.
func (f *expertForm) mapScores(w *mapper, e *model.Experts) {
	m := w.m
	if f.norm {
		if w.reading {
			e.Normalized = m.expertNorm != nil && *m.expertNorm
		} else {
			m.expertNorm = ptr(e.Normalized)
		}
	} else if w.reading {
		e.Normalized = f.normalized
	}
	if !f.sigmoid {
		return
	}
	gating := gatingSoftmax
	if e.Sigmoid {
		gating = gatingSigmoid
	}
	def := gatingSigmoid
	if f.softmax {
		def = gatingSoftmax
	}
	if w.count(&m.expertGating, &gating, def); gating != gatingSoftmax && gating != gatingSigmoid {
		w.fail(&m.expertGating, "%d", gating)
	}
	e.Sigmoid = gating == gatingSigmoid
}

// mapShared maps the expert that computes at all positions.
func (f *expertForm) mapShared(w *mapper, s *model.Spec) {
	m, e := w.m, &s.Experts
	switch f.shared {
	case sharedWidth:
		if w.reading && m.sharedFFN != nil || !w.reading && e.Shared > 0 {
			w.count(&m.sharedFFN, &e.Shared, 0)
		}
	case sharedFull:
		if w.count(&m.sharedFFN, &e.Shared, s.FFN); w.reading && e.Shared == 0 {
			e.Shared = s.FFN
		}
	case sharedCount:
		n := e.Shared / max(e.FFN, 1)
		w.count(&m.sharedCount, &n, 0)
		if w.reading && n <= model.MaxWidth && e.FFN <= model.MaxWidth {
			e.Shared = n * e.FFN
		}
	}
	if w.reading {
		e.SharedGate = f.gate && e.Shared > 0
	}
}

// mapDense maps the blocks without experts, which are the first ones.
func (f *expertForm) mapDense(w *mapper, s *model.Spec) {
	e, n := &s.Experts, 0
	for n < len(e.Dense) && e.Dense[n] == n {
		n++
	}
	if !w.reading {
		w.m.denseBlocks = ptr(uint32(n))
		return
	}
	if w.m.denseBlocks == nil {
		return
	}
	if n = int(*w.m.denseBlocks); n > min(s.Blocks, model.MaxBlocks) {
		w.fail(&w.m.denseBlocks, "%d of %d blocks", n, s.Blocks)
		return
	}
	for b := range n {
		e.Dense = append(e.Dense, b)
	}
}

// mixtures lists architectures of mixtures of experts.
var mixtures = []architecture{
	{name: "qwen2moe", square: true, optionalBias: model.Bias{QKV: true}, experts: &expertForm{width: true, shared: sharedFull, gate: true},
		graph: func(s *model.Spec) { s.Tied = false }},
	{name: "qwen3moe", experts: &expertForm{width: true, normalized: true}, optionalBias: model.Bias{QKV: true},
		graph: func(s *model.Spec) { s.QKNorm = model.QKGain }},
	{name: "olmoe", square: true, extra: allHeads, experts: &expertForm{}, graph: func(s *model.Spec) { s.QKNorm, s.Tied = model.QKWide, false }},
	{name: "granitemoe", pairs: true, factors: true, optionalBias: model.Bias{QKV: true, O: true}, extra: graniteKeys,
		experts: &expertForm{optional: true, normalized: true, shared: sharedWidth}},
	{name: "dots1", extra: allHeads, experts: &expertForm{width: true, sigmoid: true, softmax: true, norm: true, scale: true, dense: true, shared: sharedCount},
		graph: func(s *model.Spec) { s.QKNorm, s.Tied = model.QKGain, false }},
	{name: "hunyuan-moe", optionalBias: model.Bias{QKV: true}, experts: &expertForm{repeated: true, normalized: true, shared: sharedFull},
		graph: func(s *model.Spec) { s.QKNorm, s.QKRotated = model.QKGain, true }},
	{name: "glm4moe", partial: true, optionalBias: model.Bias{QKV: true}, present: headNorms, names: normAfterAttention,
		experts: &expertForm{width: true, sigmoid: true, norm: true, scale: true, dense: true, shared: sharedCount}},
	{name: "lfm2moe", square: true, extra: shortConvolutions, names: lfm2Names, graph: func(s *model.Spec) { s.QKNorm = model.QKGain },
		experts: &expertForm{width: true, sigmoid: true, normalized: true, dense: true}},
}

// allHeads sets that there are as many key heads as query heads, as in the loaders of dots1 and olmoe.
func allHeads(w *mapper, s *model.Spec) {
	if w.reading {
		s.KVHeads = s.Heads
	}
}

// headNorms sets the norms of queries and keys if a file has them.
func headNorms(s *model.Spec, has func(tensor string) bool) {
	if has("blk.0.attn_q_norm.weight") {
		s.QKNorm = model.QKGain
	}
}

// normAfterAttention has the norm of the feed-forward layer under the name of one after attention.
func normAfterAttention(*model.Spec) map[string]string {
	return map[string]string{model.FFNNorm: "post_attention_norm"}
}
