package gguf

import (
	"fmt"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/model"
)

// An architecture describes the loader and the graph of an architecture of llama.cpp
// (src/models/NAME.cpp). Writer and reader use the same entry: an architecture represents
// a Spec if its keys, read back, give that Spec.
type architecture struct {
	name string
	// graph sets the features that the graph always computes, whatever the file's keys.
	// May be nil.
	graph        func(s *model.Spec)
	optionalBias model.Bias // biases that a file may or may not have
	// pairs is true if the graph rotates dimension 2i of a head with 2i+1. The file then
	// has the rows of queries and keys interleaved if the model rotates dimension i with
	// i+dim/2.
	pairs        bool
	square       bool // a head is hidden/heads wide and no key changes that
	partial      bool // a file may rotate part of a head
	factors      bool // a tensor may divide the rotary frequencies, as Llama 3.1 needs
	needsFactors bool // the tensor must be there
	betas        bool // keys may change the rotations between which YaRN interpolates
	yarnLog      bool // a key may divide YaRN's scale
	joinsQKV     bool // queries, keys and values are one tensor
	joinsGate    bool // the gate and up are one tensor
	fillsKeys    bool // the loader wants keys and values of blocks that do not use them
	twoFactors   bool // the divisors are in two tensors, for long and for short texts
	tanh         bool // the graph approximates GELU by tanh, so that a model with GELU differs a little
	maxPosition  int  // number of positions for which the graph computes the Spec; 0 means any
	// names returns the names of tensors that are not the usual ones, by kind. May be nil.
	names func(s *model.Spec) map[string]string
	// present sets the features that follow from the names of the file's tensors. May be nil.
	present func(s *model.Spec, has func(tensor string) bool)
	// lists returns the keys that hold a number of each block which the model has as tensors, by
	// their kind. May be nil.
	lists   func(m *metadata) map[string]*[]float32
	experts *expertForm // nil without experts
	delta   *deltaForm  // nil without the delta rule
	// extra maps the features that only this architecture has keys for. May be nil.
	extra func(w *mapper, s *model.Spec)
}

// architectures is in order of preference: the writer uses the first that represents the
// Spec.
var architectures = append([]architecture{
	{name: "qwen2", square: true, graph: func(s *model.Spec) { s.Bias.QKV = true }},
	{name: "llama", pairs: true, factors: true, optionalBias: model.Bias{QKV: true, O: true, FFN: true}, experts: &expertForm{optional: true, normalized: true}},
	{name: "qwen3", optionalBias: model.Bias{QKV: true}, graph: func(s *model.Spec) { s.QKNorm = model.QKGain }},
	{name: "phi2", square: true, partial: true, optionalBias: model.Bias{QKV: true}, graph: phiGraph},
	{name: "gemma3", optionalBias: model.Bias{QKV: true}, graph: gemmaGraph, extra: gemmaWindows},
	{name: "llama4", pairs: true, factors: true, optionalBias: model.Bias{QKV: true}, maxPosition: 8191,
		graph: func(s *model.Spec) { s.QKNorm = model.QKBare }, extra: llama4Blocks},
	{name: "gemma4", factors: true, needsFactors: true, optionalBias: model.Bias{QKV: true}, graph: gemma4Graph, extra: gemma4Keys, present: gemma4Tensors},
	{name: "gemma3n", fillsKeys: true, optionalBias: model.Bias{QKV: true}, graph: gemma3nGraph, extra: gemma3nKeys},
}, slices.Concat(kin, gpts, mixtures, deltas, hybrids)...)

// maxSteps is the maximum number of blocks in llama.cpp (llama-hparams.h,
// LLAMA_MAX_LAYERS).
const maxSteps = 512

func architectureNamed(name string) (*architecture, bool) {
	i := slices.IndexFunc(architectures, func(a architecture) bool { return a.name == name })
	if i < 0 {
		return nil, false
	}
	return &architectures[i], true
}

// choose returns the first architecture that represents s, or an error that names a
// feature that the closest one lacks.
func choose(path string, s *model.Spec) (*architecture, error) {
	if n := len(s.Schedule); n > maxSteps {
		return nil, defect.Unsupported(path, "%d steps in GGUF (want at most %d)", n, maxSteps)
	}
	var closest *architecture
	var fewest []string
	for i := range architectures {
		a := &architectures[i]
		missing := a.missing(s)
		if len(missing) == 0 {
			return a, nil
		}
		if missing[0] != unreadable && (closest == nil || topics(missing) < topics(fewest)) {
			closest, fewest = a, missing
		}
	}
	if closest == nil {
		return nil, defect.Unsupported(path, "a model that no architecture is close to, in GGUF")
	}
	err := defect.Unsupported(path, "%s in GGUF's architecture %s", model.NoteOf(s, fewest[0]), closest.name)
	if n := usableContext(s); n > 0 {
		err = fmt.Errorf("%w; with --context %d the file supports texts of up to %d tokens and computes them exactly", err, n, n)
	}
	return nil, err
}

// topics returns the number of parts of a Spec that the features belong to.
func topics(features []string) int {
	seen := map[string]bool{}
	for _, f := range features {
		part, _, _ := strings.Cut(f, ".")
		seen[part] = true
	}
	return len(seen)
}

// unreadable stands in the list of missing features for a file that its own architecture
// cannot have.
const unreadable = "keys"

// representable reports whether some architecture represents s.
func representable(s *model.Spec) bool {
	return slices.ContainsFunc(architectures, func(a architecture) bool { return len(a.missing(s)) == 0 })
}

// usableContext returns the longest context with which s becomes representable,
// or 0 if there is none or s is representable as it is.
func usableContext(s *model.Spec) int {
	if representable(s) {
		return 0
	}
	best := 0
	consider := func(n int) {
		t := *s
		if t.Context = n; n > best && n < s.Context && representable(&t) {
			best = n
		}
	}
	for _, a := range s.Attention {
		consider(a.Window)
		consider(a.Chunk)
	}
	for i := range architectures {
		consider(architectures[i].maxPosition)
	}
	return best
}

// missing returns the names of the features of s that a file of this architecture cannot
// represent.
func (a *architecture) missing(s *model.Spec) []string {
	want := a.asGGUF(s)
	tensors := make(map[string]bool)
	for _, slot := range want.Slots() {
		if p, ok := a.place(&want, slot); ok {
			tensors[p.name] = true
		}
	}
	got, err := a.spec(a.describe(&want), func(name string) bool { return tensors[name] })
	if err != nil {
		return []string{unreadable}
	}
	var missing []string
	for _, f := range model.Differences(&want, &got) {
		missing = append(missing, f.Name)
	}
	if a.maxPosition > 0 && s.Context > a.maxPosition {
		missing = append(missing, "context")
	}
	return missing
}

// asGGUF returns s as a file represents it: one block for each step, gains with the 1
// included that some norms add to them, rows of queries and keys interleaved if the graph
// rotates pairs, the scale of scores moved into the gains of the queries. edit adjusts the
// tensors' values accordingly.
func (a *architecture) asGGUF(s *model.Spec) model.Spec {
	t := s.Unrolled()
	switch t.Norm {
	case model.NormRMS1:
		t.Norm = model.NormRMS
	case model.NormLayer1:
		t.Norm = model.NormLayer
	}
	if t.Activation == model.GELU && a.tanh {
		t.Activation = model.GELUTanh
	}
	if t.Positions > t.Context {
		t.Positions = t.Context // the file has the rows that its texts need
	}
	if t.Layer.Vocab < t.Vocab {
		t.Layer.Vocab = 0 // the file repeats the first row, see writeRows
	}
	if t.Experts.Count > 0 && !t.HasFFN() && a.experts != nil && !a.experts.width {
		t.FFN = t.Experts.FFN // nothing is as wide as FFN
	}
	t.Rope = a.inGGUF(t.Rope, ropeDims(&t))
	t.Rope.Pairs = t.Rope.Pairs && !a.pairs
	if t.QKNorm == model.QKGain {
		t.AttnScale = a.scale(&t)
	}
	return t
}

// scale returns the graph's factor for attention scores, in the form of Spec.AttnScale.
func (a *architecture) scale(s *model.Spec) float64 {
	t := *s
	if t.AttnScale = 0; a.graph != nil {
		a.graph(&t)
	}
	return t.AttnScale
}
