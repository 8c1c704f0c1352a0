package model

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Canonical names of the tensors outside the blocks.
const (
	Embed = "embed" // (Vocab, Hidden)

	Positions = "positions"  // (Positions, Hidden), unless Positions is 0
	EmbedNorm = "embed_norm" // (1, Hidden), if EmbedNorm

	Norm = "norm" // (1, Hidden), before the head
	Head = "head" // (Vocab, Hidden), absent if Tied; a tied model may still have the head's bias
)

// Kinds of the tensors inside a block; a tensor's name is Name(block, kind).
const (
	AttnNorm = "attn_norm" // (1, Hidden), absent if NoPreNorm
	Q        = "q"         // (Heads*HeadDim, Hidden)
	K        = "k"         // (KVHeads*HeadDim, Hidden)
	V        = "v"         // (KVHeads*HeadDim, Hidden)
	QNorm    = "q_norm"    // (1, HeadDim) if QKNorm is QKGain or QKLayer, (1, Heads*HeadDim) if it is QKHead or QKWide
	KNorm    = "k_norm"    // (1, HeadDim) or (1, KVHeads*HeadDim) likewise
	Sinks    = "sinks"     // (1, Heads), if Spec.Sinks
	O        = "o"         // (Hidden, Heads*HeadDim)
	AttnPost = "attn_post" // (1, Hidden), if PostNorm
	FFNNorm  = "ffn_norm"  // (1, Hidden), absent if NoPreNorm, or Parallel without TwoNorms
	Gate     = "gate"      // (FFN, Hidden), absent if Ungated
	Up       = "up"        // (FFN, Hidden)
	Down     = "down"      // (Hidden, FFN)
	FFNPost  = "ffn_post"  // (1, Hidden), if PostNorm

	// With Spec.Latent, Q, K, V and O have other sizes, see there.

	// BiasSuffix is appended to the kind of a linear layer to name its bias,
	// (1, rows), and to the name of a norm to name its bias, (1, Hidden).
	BiasSuffix = ".bias"
)

// LinearKinds lists the kinds of a block's linear layers in the order of their use.
var LinearKinds = []string{Q, K, V, O, Gate, Up, Down}

// Names of activations that are not the output of one tensor. Every other activation
// has the name of the tensor that produces it.
const (
	VNorm        = "v_norm"        // (KVHeads*HeadDim), normalized values, if Spec.VNorm
	QRope        = "q_rope"        // (Heads*HeadDim), rotated queries
	KRope        = "k_rope"        // (KVHeads*HeadDim), rotated keys
	Attended     = "attention"     // (Heads*ValueDim), the input of O
	AttnResidual = "attn_residual" // (Hidden), the residual stream after attention
	Activated    = "act"           // (FFN), the input of Down
	FFNResidual  = "ffn_residual"  // (Hidden), the residual stream after a step, or before the first step
)

// Name returns the canonical name of a block's tensor: "blocks.7.q".
func Name(block int, kind string) string { return fmt.Sprintf("blocks.%d.%s", block, kind) }

// SplitName returns the block and the kind of a tensor inside a block, the inverse of
// Name. ok is false for any other name.
func SplitName(name string) (block int, kind string, ok bool) {
	rest, ok := strings.CutPrefix(name, "blocks.")
	number, kind, dot := strings.Cut(rest, ".")
	block, err := strconv.Atoi(number)
	if !ok || !dot || err != nil || block < 0 || Name(block, kind) != name {
		return 0, "", false
	}
	return block, kind, true
}

// Unrolled returns s with a block of its own for each step of its schedule. StoredName
// finds the tensors of such a model.
func (s *Spec) Unrolled() Spec {
	t := *s
	t.Blocks, t.Schedule, t.Attention, t.FFNs, t.Sparsity = len(s.Schedule), InOrder(len(s.Schedule), 1), nil, nil, nil
	t.Experts.Dense = nil
	for step, b := range s.Schedule {
		if s.Experts.Count > 0 && !s.HasExperts(b) {
			t.Experts.Dense = append(t.Experts.Dense, step)
		}
	}
	for _, b := range s.Schedule {
		if len(s.FFNs) > 0 {
			t.FFNs = append(t.FFNs, s.FFNs[b])
		}
		if len(s.Sparsity) > 0 {
			t.Sparsity = append(t.Sparsity, s.Sparsity[b])
		}
	}
	if len(s.Attention) > 0 {
		for _, b := range s.Schedule {
			t.Attention = append(t.Attention, s.Attention[b])
		}
	}
	return t
}

// StoredName returns the name of the tensor that a model of s.Unrolled() calls name.
func (s *Spec) StoredName(name string) string {
	if step, kind, ok := SplitName(name); ok {
		return Name(s.Schedule[step], kind)
	}
	return name
}

// A Role is the function of a tensor, which determines how it may be quantized.
type Role int

const (
	Vector    Role = iota // norm gains and biases, (1, n), the embedding of positions, routers and coefficients of streams: never quantized
	Linear                // y = W x inside a block
	Embedding             // one row for each token; also the head if Tied
	Output                // the untied head
)

func (r Role) String() string { return [...]string{"vector", "linear", "embedding", "output"}[r] }

// A Slot is one tensor that a Spec requires.
type Slot struct {
	Name       string
	Rows, Cols int // a linear layer maps Cols inputs to Rows outputs
	Role       Role
}

// Kind returns the tensor's name without its block.
func (s Slot) Kind() string {
	if _, kind, ok := SplitName(s.Name); ok {
		return kind
	}
	return s.Name
}

// Fixed reports whether tuning leaves the tensor as it is: the embedding of positions, the
// numbers of an activation, and the scale of a block's output.
func (s Slot) Fixed() bool {
	_, kind, _ := SplitName(s.Name)
	return s.Name == Positions || kind == OutScale || slices.Contains(XIELUKinds, kind)
}

// Slots lists every tensor of a model with Spec s once, in the order of first use.
// s must have passed Check.
func (s *Spec) Slots() []Slot {
	slots := []Slot{{Embed, s.Vocab, s.Hidden, Embedding}}
	norm := func(name string) {
		slots = append(slots, Slot{name, 1, s.Hidden, Vector})
		if s.Norm.Biased() {
			slots = append(slots, Slot{name + BiasSuffix, 1, s.Hidden, Vector})
		}
	}
	if s.Positions > 0 {
		slots = append(slots, Slot{Positions, s.Positions, s.Hidden, Vector})
	}
	if s.EmbedNorm {
		norm(EmbedNorm)
	}
	if s.Layer.Width > 0 {
		slots = append(slots, Slot{LayerEmbed, s.LayerVocab(), s.Blocks * s.Layer.Width, Embedding}, Slot{LayerInNorm, 1, s.Layer.Width, Vector})
	}
	for b := range s.Blocks {
		slots = s.Of(b).blockSlots(slots, b)
	}
	norm(Norm)
	if !s.Tied {
		slots = append(slots, Slot{Head, s.Vocab, s.Hidden, Output})
	}
	if s.Biased(Head) {
		slots = append(slots, Slot{Head + BiasSuffix, 1, s.Vocab, Vector})
	}
	return slots
}

// blockSlots adds the tensors of block b, whose sizes s has.
func (s Spec) blockSlots(slots []Slot, b int) []Slot {
	norm := func(kind string) {
		slots = append(slots, Slot{Name(b, kind), 1, s.Hidden, Vector})
		if s.Norm.Biased() {
			slots = append(slots, Slot{Name(b, kind) + BiasSuffix, 1, s.Hidden, Vector})
		}
	}
	vector := func(kind string, n int) {
		slots = append(slots, Slot{Name(b, kind), 1, n, Vector})
	}
	linear := func(kind string, rows, cols int) {
		slots = append(slots, Slot{Name(b, kind), rows, cols, Linear})
		if s.Biased(kind) {
			vector(kind+BiasSuffix, rows)
		}
	}
	matrix := func(kind string, rows, cols int) {
		slots = append(slots, Slot{Name(b, kind), rows, cols, Vector})
	}
	s.altUpSlots(b, vector, matrix, linear)
	a := s.AttentionOf(b)
	if !s.NoPreNorm && !a.Absent {
		norm(AttnNorm)
	}
	s.mixerSlots(a, vector, linear)
	if s.PostNorm {
		norm(AttnPost)
	}
	if s.Laurel > 0 {
		linear(LaurelLeft, s.Laurel, s.Hidden)
		linear(LaurelRight, s.Hidden, s.Laurel)
		norm(LaurelNorm)
	}
	if s.HasFFNNorm() && !a.Alone {
		norm(FFNNorm)
	}
	if s.HasExperts(b) {
		s.expertSlots(func(kind string, rows, cols int, role Role) {
			slots = append(slots, Slot{Name(b, kind), rows, cols, role})
		})
	} else if !a.Alone {
		s.ffnSlots(vector, linear)
	}
	if s.PostNorm {
		norm(FFNPost)
	}
	if w := s.Layer.Width; w > 0 {
		linear(LayerIn, w, s.Hidden)
		linear(LayerGate, w, s.Hidden)
		linear(LayerOut, s.Hidden, w)
		norm(LayerPost)
	}
	if s.OutScale {
		vector(OutScale, 1)
	}
	return slots
}

// ffnSlots calls vector and linear for the tensors of a feed-forward layer.
func (s *Spec) ffnSlots(vector func(kind string, n int), linear func(kind string, rows, cols int)) {
	if !s.Ungated {
		linear(Gate, s.FFN, s.Hidden)
	}
	linear(Up, s.FFN, s.Hidden)
	if s.Activation == XIELU {
		for _, kind := range XIELUKinds {
			vector(kind, 1)
		}
	}
	linear(Down, s.Hidden, s.FFN)
}

// mixerSlots calls vector and linear for the tensors of a block's attention, or of what it has
// instead.
func (s *Spec) mixerSlots(a Attention, vector func(kind string, n int), linear func(kind string, rows, cols int)) {
	switch {
	case a.Conv > 0:
		linear(ConvIn, 3*s.Hidden, s.Hidden)
		vector(Conv, s.Hidden*a.Conv)
		linear(ConvOut, s.Hidden, s.Hidden)
	case a.Delta > 0:
		s.deltaSlots(a.Delta, vector, linear)
	}
	if a.Attends() {
		s.attentionSlots(a, vector, linear)
	}
	if a.Scan > 0 {
		s.scanSlots(a.Scan, vector, linear)
	}
}

// attentionSlots calls vector and linear for the tensors of a block's attention.
func (s *Spec) attentionSlots(a Attention, vector func(kind string, n int), linear func(kind string, rows, cols int)) {
	if s.IsLatent() {
		s.latentSlots(vector, linear)
		linear(O, s.Hidden, s.Heads*s.ValueDim())
		return
	}
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	linear(Q, q, s.Hidden)
	if a.Back == 0 {
		linear(K, kv, s.Hidden)
		if !a.KeyValues {
			linear(V, kv, s.Hidden)
		}
	}
	if s.AttnGate {
		linear(AttnGate, q, s.Hidden)
	}
	keyVector := func(kind string, n int) {
		if a.Back == 0 {
			vector(kind, n)
		}
	}
	switch s.QKNorm {
	case QKGain:
		vector(QNorm, s.HeadDim)
		keyVector(KNorm, s.HeadDim)
	case QKLayer:
		vector(QNorm, s.HeadDim)
		vector(QNorm+BiasSuffix, s.HeadDim)
		keyVector(KNorm, s.HeadDim)
		keyVector(KNorm+BiasSuffix, s.HeadDim)
	case QKHead, QKWide:
		vector(QNorm, q)
		keyVector(KNorm, kv)
	}
	if s.Sinks {
		vector(Sinks, s.Heads)
	}
	linear(O, s.Hidden, q)
}

// HasFFNNorm reports whether the feed-forward layers have a norm of their own.
func (s *Spec) HasFFNNorm() bool { return !s.NoPreNorm && (!s.Parallel || s.TwoNorms) }

// Biased reports whether the linear layers of a kind add a bias. The kind may be Head.
func (s *Spec) Biased(kind string) bool {
	if _, of, ok := SplitExpert(kind); ok || kind == Router {
		return s.Experts.Biases && (!ok || slices.Contains([]string{Gate, Up, Down}, of))
	}
	switch kind {
	case Q, K, V, AttnGate:
		return s.Bias.QKV && !s.IsLatent()
	case LatentQ, LatentKV:
		return s.Bias.QKV
	case O:
		return s.Bias.O
	case Gate, Up, Down:
		return s.Bias.FFN
	case Head:
		return s.Bias.Head
	}
	return false
}

// Match reports whether a canonical name matches a recipe's pattern. It splits both at
// dots and compares the parts with path.Match: "blocks.*.down" matches every down
// projection, "blocks.1?.q" the q of blocks 10 to 19. A malformed pattern is an error.
func Match(pattern, name string) (bool, error) {
	ps, ns := strings.Split(pattern, "."), strings.Split(name, ".")
	all := len(ps) == len(ns)
	for i, p := range ps {
		part := ""
		if all {
			part = ns[i]
		}
		ok, err := path.Match(p, part)
		if err != nil {
			return false, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		all = all && ok
	}
	return all, nil
}
