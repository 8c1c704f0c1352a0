package gguf

import (
	"fmt"
	"math"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/model"
)

// An architecture is one of llama.cpp's: what its loader reads and its graph
// computes (src/models/NAME.cpp). Writer and reader use the same entry: a Spec
// can be said where what the keys say back is that Spec.
type architecture struct {
	name string
	// fixes sets the features that the graph has whatever the file says. May be nil.
	fixes  func(s *model.Spec)
	biases model.Bias // those that a file may have or not
	// pairs: dimension 2i of a head turns with 2i+1, so that rows of queries and
	// keys that turn by halves stand in another order in the file.
	pairs   bool
	square  bool // a head is hidden/heads wide, no key says otherwise
	partial bool // part of a head may turn
	factors bool // a tensor may divide the rotary frequencies, as Llama 3.1 wants
	longest int  // positions up to which the graph computes the Spec; 0 is any
	// own moves the features that only this architecture has keys for. May be nil.
	own func(w *walk, s *model.Spec)
}

// architectures is tried in order: the first that can say a Spec is written.
var architectures = []architecture{
	{name: "qwen2", square: true, fixes: func(s *model.Spec) { s.Bias.QKV = true }},
	{name: "llama", pairs: true, factors: true, biases: model.Bias{QKV: true, O: true, FFN: true}},
	{name: "qwen3", biases: model.Bias{QKV: true}, fixes: func(s *model.Spec) { s.QKNorm = model.QKGain }},
	{name: "phi2", square: true, partial: true, biases: model.Bias{QKV: true}, fixes: phiFixes},
	{name: "gemma3", biases: model.Bias{QKV: true}, fixes: gemmaFixes, own: gemmaWindows},
	{name: "llama4", pairs: true, factors: true, biases: model.Bias{QKV: true}, longest: 8191,
		fixes: func(s *model.Spec) { s.QKNorm = model.QKBare }, own: llama4Blocks},
}

// maxSteps is how many blocks llama.cpp runs (llama-hparams.h, LLAMA_MAX_LAYERS).
const maxSteps = 512

func architectureNamed(name string) (*architecture, bool) {
	i := slices.IndexFunc(architectures, func(a architecture) bool { return a.name == name })
	if i < 0 {
		return nil, false
	}
	return &architectures[i], true
}

// choose returns the first architecture that says everything s uses, or an
// error that names what is missing from the one that comes closest.
func choose(path string, s *model.Spec) (*architecture, error) {
	if n := len(s.Schedule); n > maxSteps {
		return nil, defect.Unsupported(path, "%d steps in GGUF, only %d,", n, maxSteps)
	}
	var closest *architecture
	var missing []string
	for i := range architectures {
		a := &architectures[i]
		unsaid := a.unsaid(s)
		if len(unsaid) == 0 {
			return a, nil
		}
		if closest == nil || len(unsaid) < len(missing) {
			closest, missing = a, unsaid
		}
	}
	err := defect.Unsupported(path, "%s in GGUF's architecture %s", model.NoteOf(s, missing[0]), closest.name)
	if n := shorter(s); n > 0 {
		err = fmt.Errorf("%w; with --context %d the file is for texts of up to %d tokens, which do not notice", err, n, n)
	}
	return nil, err
}

// sayable reports whether some architecture says all of s.
func sayable(s *model.Spec) bool {
	return slices.ContainsFunc(architectures, func(a architecture) bool { return len(a.unsaid(s)) == 0 })
}

// shorter returns the longest context in which what no architecture says of s
// goes unnoticed, or 0 where there is none or nothing is lacking.
func shorter(s *model.Spec) int {
	if sayable(s) {
		return 0
	}
	best := 0
	consider := func(n int) {
		t := *s
		if t.Context = n; n > best && n < s.Context && sayable(&t) {
			best = n
		}
	}
	for _, a := range s.Attention {
		consider(a.Window)
		consider(a.Chunk)
	}
	for i := range architectures {
		consider(architectures[i].longest)
	}
	return best
}

// unsaid names the features of s that a file of this architecture would not say.
func (a *architecture) unsaid(s *model.Spec) []string {
	want := a.said(s)
	tensors := make(map[string]bool)
	for _, slot := range want.Slots() {
		if name, ok := foreign(slot.Name); ok {
			tensors[name] = true
		}
	}
	got, err := a.spec(a.describe(&want), func(name string) bool { return tensors[name] })
	if err != nil {
		return []string{err.Error()}
	}
	var missing []string
	for _, f := range model.Differences(&want, &got) {
		missing = append(missing, f.Name)
	}
	if a.longest > 0 && s.Context > a.longest {
		missing = append(missing, "context")
	}
	return missing
}

// said returns s in the words of a file: blocks in the order of steps, gains
// that count from 1 with 1 added, rows that turn by pairs where the graph does,
// the scale of scores in the gains of the queries. edit makes the tensors follow.
func (a *architecture) said(s *model.Spec) model.Spec {
	t := *s
	t.Blocks, t.Schedule, t.Attention = len(s.Schedule), model.InOrder(len(s.Schedule), 1), nil
	if len(s.Attention) > 0 {
		for _, b := range s.Schedule {
			t.Attention = append(t.Attention, s.Attention[b])
		}
	}
	if t.Norm == model.NormRMS1 {
		t.Norm = model.NormRMS
	}
	t.Rope.Pairs = t.Rope.Pairs && !a.pairs
	if t.QKNorm == model.QKGain {
		t.AttnScale = a.scale(&t)
	}
	return t
}

// scale is what the graph multiplies scores by, as AttnScale says it.
func (a *architecture) scale(s *model.Spec) float64 {
	t := *s
	if t.AttnScale = 0; a.fixes != nil {
		a.fixes(&t)
	}
	return t.AttnScale
}

// phiFixes: attention and two matrices side by side after one LayerNorm; only the
// biases of query, key and value may be missing.
func phiFixes(s *model.Spec) {
	s.Norm, s.Parallel, s.Ungated, s.Activation = model.NormLayer, true, true, model.GELUTanh
	s.Bias.O, s.Bias.FFN, s.Bias.Head, s.Tied = true, true, true, false
}

// gemmaFixes: 62 blocks are Gemma 3 27B, whose scores are divided by the root of
// hidden/heads in whole numbers.
func gemmaFixes(s *model.Spec) {
	s.QKNorm, s.PostNorm, s.Activation = model.QKGain, true, model.GELUTanh
	s.EmbedScale = math.Sqrt(float64(s.Hidden))
	if s.Blocks == 62 {
		s.AttnScale = 1 / math.Sqrt(float64(s.Hidden/max(s.Heads, 1)))
	}
}

// gemmaWindows: blocks with a window turn by a rope of their own, the others see
// everything.
func gemmaWindows(w *walk, s *model.Spec) {
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
	m.window, m.nearBase = ptr(uint32(window)), ptr(float32(base))
	if every := slices.Index(pattern, false) + 1; slices.Equal(pattern, everyOther(s.Blocks, every)) {
		m.windowEvery = ptr(uint32(every))
	} else {
		m.windowPattern = pattern
	}
}

// everyOther returns which of n blocks have a window where every block whose
// number divides by every, counting from 1, has none; 0 gives all of them one.
func everyOther(n, every int) []bool {
	pattern := make([]bool, n)
	for b := range pattern {
		pattern[b] = every == 0 || (b+1)%every != 0
	}
	return pattern
}

func (w *walk) readWindows(s *model.Spec) {
	m := w.m
	if m.window == nil || *m.window == 0 {
		return
	}
	pattern := m.windowPattern
	if pattern == nil {
		every := 6
		if m.windowEvery != nil {
			every = int(*m.windowEvery)
		}
		if s.Blocks < 1 || s.Blocks > model.MaxBlocks {
			return // Spec.Check says it better
		}
		pattern = everyOther(s.Blocks, every)
	}
	if len(pattern) != s.Blocks {
		w.fail(&m.windowPattern, "%d of them for %d blocks", len(pattern), s.Blocks)
		return
	}
	near := model.Rope{Base: 10000}
	if m.nearBase != nil {
		near.Base = widen(*m.nearBase)
	}
	s.Ropes, s.Attention = []model.Rope{near}, make([]model.Attention, s.Blocks)
	for b := range pattern {
		if pattern[b] {
			s.Attention[b] = model.Attention{Window: int(*m.window), Rope: 1}
		}
	}
}

// llama4Blocks: every fourth block does not turn. llama.cpp's loader wants at least one
// expert, and no block to have it. In its graph the blocks that turn see chunks
// of 8192 positions, and those that do not change their temperature at position
// 8191: longest keeps out of both.
func llama4Blocks(w *walk, s *model.Spec) {
	m := w.m
	if !w.reading {
		m.experts, m.expertsUsed, m.expertEvery, m.expertFFN = ptr(uint32(1)), ptr(uint32(1)), ptr(uint32(0)), ptr(uint32(s.FFN))
		return
	}
	if m.expertEvery == nil || *m.expertEvery != 0 {
		w.fail(&m.expertEvery, "blocks with experts")
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
