package model

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Canonical names of the tensors outside the blocks.
const (
	Embed = "embed" // (Vocab, Hidden)
	Norm  = "norm"  // (1, Hidden), before the head
	Head  = "head"  // (Vocab, Hidden), absent when tied; its bias may be there all the same
)

// Kinds of the tensors inside a block; a tensor's name is Name(block, kind).
const (
	AttnNorm = "attn_norm" // (1, Hidden)
	Q        = "q"         // (Heads*HeadDim, Hidden)
	K        = "k"         // (KVHeads*HeadDim, Hidden)
	V        = "v"         // (KVHeads*HeadDim, Hidden)
	QNorm    = "q_norm"    // (1, HeadDim), if QKNorm is QKGain
	KNorm    = "k_norm"    // (1, HeadDim), likewise
	O        = "o"         // (Hidden, Heads*HeadDim)
	AttnPost = "attn_post" // (1, Hidden), if PostNorm
	FFNNorm  = "ffn_norm"  // (1, Hidden), absent when Parallel
	Gate     = "gate"      // (FFN, Hidden), absent when Ungated
	Up       = "up"        // (FFN, Hidden)
	Down     = "down"      // (Hidden, FFN)
	FFNPost  = "ffn_post"  // (1, Hidden), if PostNorm

	// BiasSuffix after a linear layer's kind names its bias, (1, rows); after a
	// NormLayer's, its bias, (1, Hidden).
	BiasSuffix = ".bias"
)

// LinearKinds are the kinds of a block's linear layers, in the order of their use.
var LinearKinds = []string{Q, K, V, O, Gate, Up, Down}

// Activations that no tensor produces. The others go by the tensor that produces
// them.
const (
	QRope        = "q_rope"        // (Heads*HeadDim), rotated queries
	KRope        = "k_rope"        // (KVHeads*HeadDim), rotated keys
	Attended     = "attention"     // (Heads*HeadDim), what O reads
	AttnResidual = "attn_residual" // (Hidden), the residual stream after attention
	Activated    = "act"           // (FFN), what Down reads
	FFNResidual  = "ffn_residual"  // (Hidden), the residual stream after a step, and before the first
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
	t.Blocks, t.Schedule, t.Attention = len(s.Schedule), InOrder(len(s.Schedule), 1), nil
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

// A Role is the part a tensor plays, which decides how it may be quantized.
type Role int

const (
	Vector    Role = iota // norm gains and biases: (1, n), never quantized
	Linear                // y = W x inside a block
	Embedding             // rows looked up by token; also the head when tied
	Output                // the untied head
)

func (r Role) String() string { return [...]string{"vector", "linear", "embedding", "output"}[r] }

// A Slot is one tensor that a Spec requires.
type Slot struct {
	Name       string
	Rows, Cols int // a linear layer maps Cols inputs to Rows outputs
	Role       Role
}

// Slots lists every tensor of a model with Spec s exactly once, in the order in
// which they are first used. s must have passed Check.
func (s *Spec) Slots() []Slot {
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	slots := []Slot{{Embed, s.Vocab, s.Hidden, Embedding}}
	norm := func(name string) {
		slots = append(slots, Slot{name, 1, s.Hidden, Vector})
		if s.Norm == NormLayer {
			slots = append(slots, Slot{name + BiasSuffix, 1, s.Hidden, Vector})
		}
	}
	for b := range s.Blocks {
		vector := func(kind string, n int) {
			slots = append(slots, Slot{Name(b, kind), 1, n, Vector})
		}
		linear := func(kind string, rows, cols int) {
			slots = append(slots, Slot{Name(b, kind), rows, cols, Linear})
			if s.Biased(kind) {
				vector(kind+BiasSuffix, rows)
			}
		}
		norm(Name(b, AttnNorm))
		linear(Q, q, s.Hidden)
		linear(K, kv, s.Hidden)
		linear(V, kv, s.Hidden)
		if s.QKNorm == QKGain {
			vector(QNorm, s.HeadDim)
			vector(KNorm, s.HeadDim)
		}
		linear(O, s.Hidden, q)
		if s.PostNorm {
			norm(Name(b, AttnPost))
		}
		if !s.Parallel {
			norm(Name(b, FFNNorm))
		}
		if !s.Ungated {
			linear(Gate, s.FFN, s.Hidden)
		}
		linear(Up, s.FFN, s.Hidden)
		linear(Down, s.Hidden, s.FFN)
		if s.PostNorm {
			norm(Name(b, FFNPost))
		}
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

// Biased reports whether the linear layers of a kind, or the Head, add a bias.
func (s *Spec) Biased(kind string) bool {
	switch kind {
	case Q, K, V:
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

// Match reports whether a canonical name matches a recipe's pattern: dot by
// dot, each part by path.Match, so "blocks.*.down" is every down projection
// and "blocks.1?.q" the q of blocks 10 to 19. It errs on a malformed pattern.
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
