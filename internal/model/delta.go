package model

import (
	"fmt"

	"thimble/internal/defect"
)

// Kinds of the tensors of a block with the gated delta rule in place of attention (Gated
// DeltaNet, arXiv 2412.06464). Each value head h keeps a state S, (ValueDim, KeyDim), and has
// the query and key of head h/(ValueHeads/KeyHeads). At each position
//
//	q, k, v = SiLU(conv(DeltaIn x)), q and k of each head normalized to length 1
//	S = exp(-exp(DeltaDecay) softplus(DeltaA x + DeltaDT)) S
//	S = S + sigmoid(DeltaB x) (v - S k) k^T
//	y = DeltaOut (RMSNorm(S q / sqrt(KeyDim)) * DeltaNorm * SiLU(DeltaGate x))
const (
	DeltaIn    = "delta_in"    // (Delta.Mixed(), Hidden): queries, keys and values
	DeltaGate  = "delta_gate"  // (ValueHeads*ValueDim, Hidden)
	DeltaA     = "delta_a"     // (ValueHeads, Hidden)
	DeltaB     = "delta_b"     // (ValueHeads, Hidden)
	DeltaConv  = "delta_conv"  // (1, Delta.Mixed()*Attention.Delta): for each channel the factors of the inputs, the earliest first
	DeltaDecay = "delta_decay" // (1, ValueHeads)
	DeltaDT    = "delta_dt"    // (1, ValueHeads)
	DeltaNorm  = "delta_norm"  // (1, ValueDim)
	DeltaOut   = "delta_out"   // (Hidden, ValueHeads*ValueDim)

	// AttnGate, (Heads*HeadDim, Hidden), makes the gate of each output of attention, of which
	// AttnGated is the product with sigmoid(gate); if Spec.AttnGate.
	AttnGate  = "attn_gate"
	AttnGated = "attn_gated" // (Heads*HeadDim), the input of O

	DeltaMixed = "delta" // (ValueHeads*ValueDim), the input of DeltaOut
)

// Delta has the sizes of the blocks with the gated delta rule.
type Delta struct {
	KeyHeads   int `cbor:"keyheads" json:"keyheads"`     // of queries and keys; divides ValueHeads
	ValueHeads int `cbor:"valueheads" json:"valueheads"` // of values, gates and states
	KeyDim     int `cbor:"keydim" json:"keydim"`
	ValueDim   int `cbor:"valuedim" json:"valuedim"`
}

// Mixed returns the number of channels of the convolution: those of queries, keys and values.
func (d Delta) Mixed() int { return 2*d.KeyHeads*d.KeyDim + d.Values() }

// Values returns the width of the values of all heads.
func (d Delta) Values() int { return d.ValueHeads * d.ValueDim }

// Inputs returns what later positions need of one: the channels of the convolution before it,
// and DeltaA and DeltaB.
func (d Delta) Inputs() int { return d.Mixed() + 2*d.ValueHeads }

// Attends reports whether the block has attention, rather than a convolution, the delta rule, only
// a state space or only a feed-forward layer.
func (a Attention) Attends() bool {
	return a.Conv == 0 && a.Delta == 0 && (a.Scan == 0 || a.Beside) && !a.Absent
}

// deltaSlots calls vector and linear for the tensors of a block with the delta rule.
func (s *Spec) deltaSlots(length int, vector func(kind string, n int), linear func(kind string, rows, cols int)) {
	d := s.Delta
	linear(DeltaIn, d.Mixed(), s.Hidden)
	linear(DeltaGate, d.Values(), s.Hidden)
	linear(DeltaA, d.ValueHeads, s.Hidden)
	linear(DeltaB, d.ValueHeads, s.Hidden)
	vector(DeltaConv, d.Mixed()*length)
	vector(DeltaDecay, d.ValueHeads)
	vector(DeltaDT, d.ValueHeads)
	vector(DeltaNorm, d.ValueDim)
	linear(DeltaOut, s.Hidden, d.Values())
}

// checkDelta checks the sizes of the delta rule, which must be 0 in a model without it.
func (s *Spec) checkDelta() error {
	d, used := s.Delta, false
	for b, a := range s.Attention {
		switch {
		case a.Delta < 0 || a.Delta > MaxConv:
			return fmt.Errorf("delta rule of block %d has a convolution of %d positions, want 0 to %d", b, a.Delta, MaxConv)
		case a.Delta > 0 && a.Conv > 0:
			return fmt.Errorf("block %d has a convolution and the delta rule, want one of them", b)
		case a.Delta > 0 && (s.Parallel || s.PostNorm):
			return defect.Unsupported("delta", "the combination with parallel or postnorm")
		}
		used = used || a.Delta > 0
	}
	if !used {
		if d != (Delta{}) {
			return fmt.Errorf("no block has the delta rule, but there are sizes of it")
		}
		return nil
	}
	if err := within(" of the delta rule", []bounded{{"key heads", d.KeyHeads, MaxHeads}, {"value heads", d.ValueHeads, MaxHeads}, {"key dim", d.KeyDim, MaxDelta}, {"value dim", d.ValueDim, MaxDelta}}); err != nil {
		return err
	}
	switch {
	case d.ValueHeads%d.KeyHeads != 0:
		return fmt.Errorf("%d value heads of the delta rule are not divisible by %d key heads", d.ValueHeads, d.KeyHeads)
	case d.Mixed() > MaxWidth:
		return fmt.Errorf("the delta rule is wider than %d", MaxWidth)
	}
	return nil
}

// MaxDelta is the largest KeyDim and ValueDim.
const MaxDelta = 1 << 10

func deltas(s *Spec) string {
	return blockRange(s, "gated delta rule with a convolution", func(a Attention) int { return a.Delta })
}
