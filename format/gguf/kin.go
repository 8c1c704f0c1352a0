package gguf

import (
	"cmp"
	"math"
	"slices"

	"thimble/internal/model"
)

// kin lists architectures that are close to llama. Those after the blank line compute nothing
// that llama does not: only files of other programs have them.
var kin = []architecture{
	{name: "smollm3", pairs: true, optionalBias: model.Bias{QKV: true, O: true, FFN: true}, extra: everyFourthUnrotated},
	{name: "gemma", graph: gemma1Graph, optionalBias: model.Bias{QKV: true}},
	{name: "gemma2", graph: gemma2Graph, optionalBias: model.Bias{QKV: true}, extra: gemma2Keys},
	{name: "granite", pairs: true, factors: true, optionalBias: model.Bias{QKV: true, O: true, FFN: true}, extra: graniteKeys},
	{name: "olmo2", square: true, optionalBias: model.Bias{QKV: true}, extra: windowForm{period: 4, plain: true}.keys,
		graph: func(s *model.Spec) {
			s.PostNorm, s.NoPreNorm, s.QKNorm, s.Tied = true, true, model.QKWide, false
		}},
	{name: "exaone4", square: true, factors: true, optionalBias: model.Bias{QKV: true}, extra: exaone4Keys,
		graph: func(s *model.Spec) { s.PostNorm, s.NoPreNorm, s.QKNorm = true, true, model.QKGain }},
	{name: "hunyuan-dense", optionalBias: model.Bias{QKV: true}, graph: func(s *model.Spec) { s.QKNorm, s.QKRotated = model.QKGain, true }},
	{name: "command-r", pairs: true, square: true, optionalBias: model.Bias{QKV: true}, graph: commandGraph, extra: logitScale},
	{name: "cohere2", pairs: true, square: true, factors: true, optionalBias: model.Bias{QKV: true}, graph: cohereGraph, extra: cohere2Keys},
	{name: "arcee", pairs: true, factors: true, optionalBias: model.Bias{QKV: true}, graph: func(s *model.Spec) { s.Ungated, s.Activation = true, model.ReLU2 }},
	{name: "jais2", optionalBias: model.Bias{QKV: true}, graph: func(s *model.Spec) {
		s.Norm, s.Ungated, s.Activation, s.Bias.O, s.Bias.FFN = model.NormLayer, true, model.ReLU2, true, true
	}},
	{name: "nemotron", square: true, partial: true, optionalBias: model.Bias{QKV: true, O: true, FFN: true},
		graph: func(s *model.Spec) {
			s.Norm, s.Ungated, s.Activation, s.Tied = model.NormLayer, true, model.ReLU2, false
		}},
	{name: "apertus", factors: true, optionalBias: model.Bias{QKV: true, O: true}, lists: xieluKeys, graph: func(s *model.Spec) {
		s.Ungated, s.Activation, s.QKNorm, s.Tied = true, model.XIELU, model.QKGain, false
	}},
	{name: "mistral3", pairs: true, factors: true, betas: true, yarnLog: true, optionalBias: model.Bias{QKV: true, O: true, FFN: true}, extra: temperature},

	{name: "ernie4_5", pairs: true, optionalBias: model.Bias{QKV: true, O: true}},
	{name: "exaone", factors: true},
}

// option copies a float32 whose key may be absent, which means 0 in a Spec. So does a key of
// none.
func (w *mapper) option(key **float32, v *float64, none float32) {
	switch {
	case !w.reading && *v != 0:
		*key = ptr(float32(*v))
	case w.reading && *key != nil && **key != none:
		*v = shortest(**key)
	}
}

func gemma1Graph(s *model.Spec) {
	s.Activation, s.EmbedScale, s.Tied = model.GELUTanh, math.Sqrt(float64(s.Hidden)), true
}

// gemma2Graph sets the features of gemma2. As in gemma3, the graph knows the largest model,
// of 46 blocks, by their number.
func gemma2Graph(s *model.Spec) {
	gemma1Graph(s)
	s.PostNorm = true
	if s.Blocks == 46 {
		s.AttnScale = 1 / math.Sqrt(float64(s.Hidden/max(s.Heads, 1)))
	}
}

// gemma2Keys maps the window of every other block, and the caps, which the graph always has.
func gemma2Keys(w *mapper, s *model.Spec) {
	windowForm{period: 2, window: 4096}.keys(w, s)
	for _, c := range []struct {
		key **float32
		cap *float64
		def float64
	}{{&w.m.attnCap, &s.AttnCap, 50}, {&w.m.logitCap, &s.LogitCap, 30}} {
		if w.reading {
			*c.cap = c.def
		}
		w.option(c.key, c.cap, 0)
	}
}

// graniteKeys maps the multipliers. The file has the divisor of the logits.
func graniteKeys(w *mapper, s *model.Spec) {
	m := w.m
	w.option(&m.embedScale, &s.EmbedScale, 1)
	w.option(&m.residScale, &s.ResidScale, 1)
	w.option(&m.attnScale, &s.AttnScale, 0)
	divisor := 1 / cmp.Or(s.LogitScale, 1)
	w.float(&m.logitScale, &divisor, 0)
	if s.LogitScale = 1 / divisor; w.reading && s.LogitScale == 1 {
		s.LogitScale = 0
	}
}

func logitScale(w *mapper, s *model.Spec) {
	scale := cmp.Or(s.LogitScale, 1)
	if w.float(&w.m.logitScale, &scale, 1); w.reading && scale != 1 {
		s.LogitScale = scale
	}
}

func cohereGraph(s *model.Spec) { s.Norm, s.Parallel, s.Tied = model.NormGain, true, true }

// commandGraph sets the features of command-r. The graph knows Command R+, which normalizes
// queries and keys, by its number of blocks.
func commandGraph(s *model.Spec) {
	cohereGraph(s)
	if s.Blocks >= 64 {
		s.QKNorm = model.QKHead
	}
}

func cohere2Keys(w *mapper, s *model.Spec) {
	windowForm{period: 4, unrotated: true, always: true}.keys(w, s)
	logitScale(w, s)
}

// exaone4Keys maps the window and the unrotated blocks of the model of 64 blocks.
func exaone4Keys(w *mapper, s *model.Spec) {
	if s.Blocks == 64 {
		windowForm{period: 4, window: 4096, unrotated: true, always: true}.keys(w, s)
	}
}

// everyFourthUnrotated sets the blocks of smollm3 without a rotary embedding.
func everyFourthUnrotated(w *mapper, s *model.Spec) {
	if !w.reading || s.Blocks < 4 || s.Blocks > model.MaxBlocks {
		return
	}
	s.Attention = make([]model.Attention, s.Blocks)
	for b := 3; b < s.Blocks; b += 4 {
		s.Attention[b].Rope = model.NoRope
	}
}

// temperature maps the attention temperature of mistral3, whose length is the original
// context of the rotary embedding.
func temperature(w *mapper, s *model.Spec) {
	t := &s.Temperature
	w.option(&w.m.attnTemperature, &t.Beta, 0)
	if t.Beta != 0 {
		w.count(&w.m.ropeOriginal, &t.Length, s.Context)
	}
}

// A windowForm describes the attention windows of an architecture.
type windowForm struct {
	period    int  // without a key, every period-th block has no window
	window    int  // without a key; 0 is none
	always    bool // the graph always has local blocks
	plain     bool // the rotary embedding of local blocks is not scaled
	unrotated bool // global blocks have no rotary embedding
}

// keys maps the windows.
func (f windowForm) keys(w *mapper, s *model.Spec) {
	if s.Blocks < 1 || s.Blocks > model.MaxBlocks {
		return // Spec.Check returns a better error
	}
	if w.reading {
		f.read(w, s)
		return
	}
	window, local, pattern := 0, 0, make([]bool, s.Blocks)
	for b, a := range s.Attention {
		if pattern[b] = a.Window > 0 || a.Rope > 0 || f.unrotated && a.Rope == 0; pattern[b] {
			local++
		}
		window = max(window, a.Window)
	}
	if local == 0 && !f.always && f.window == 0 {
		return
	}
	w.m.window = ptr(uint32(cmp.Or(window, s.Context)))
	if period := slices.Index(pattern, false) + 1; slices.Equal(pattern, periodic(s.Blocks, period)) {
		w.m.windowPeriod = ptr(uint32(period))
	} else {
		w.m.windowPattern = pattern
	}
}

func (f windowForm) read(w *mapper, s *model.Spec) {
	m, window, period := w.m, f.window, f.period
	if m.window != nil {
		window = int(*m.window)
	}
	if window == 0 {
		return
	}
	if m.windowPeriod != nil {
		period = int(*m.windowPeriod)
	}
	pattern := m.windowPattern
	if pattern == nil {
		pattern = periodic(s.Blocks, period)
	}
	if len(pattern) != s.Blocks {
		w.fail(&m.windowPattern, "%d entries for %d blocks", len(pattern), s.Blocks)
		return
	}
	s.Attention = make([]model.Attention, s.Blocks)
	if f.plain {
		s.Ropes = []model.Rope{{Base: s.Rope.Base}}
	}
	for b, local := range pattern {
		switch {
		case local && f.plain:
			s.Attention[b] = model.Attention{Window: window, Rope: 1}
		case local:
			s.Attention[b].Window = window
		case f.unrotated:
			s.Attention[b].Rope = model.NoRope
		}
	}
}
