package model

import (
	"fmt"
	"slices"

	"thimble/internal/defect"
)

// Limits of a Spec. They are far above any model that runs on a phone, and small
// enough that no product of sizes overflows an int64.
const (
	MaxBlocks = 1024
	MaxSteps  = 4096
	MaxWidth  = 1 << 20 // hidden and feed-forward width
	MaxHeads  = 4096
	MaxVocab  = 1 << 22
	MaxLength = 1 << 24 // positions

	maxAlibi = 64
)

// Check returns an error if s is inconsistent, unsupported or beyond the limits. The
// memory it allocates does not depend on s.
func (s *Spec) Check() error {
	for _, check := range []func() error{
		s.checkSizes, s.checkTokens, s.checkSchedule, s.checkAttention, s.checkDelta, s.checkLatent, s.checkScan, s.checkScaled, s.checkBlocks, s.checkLayer, s.checkAltUp, s.checkLaurel, s.checkSparsity, s.checkKinds, s.checkScales, s.checkRopes, s.checkExperts,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// A bounded is a number of a Spec that is at least 1 and at most max.
type bounded struct {
	name   string
	v, max int
}

// within returns an error for the first size out of range. of follows its name.
func within(of string, sizes []bounded) error {
	for _, f := range sizes {
		if f.v < 1 || f.v > f.max {
			return fmt.Errorf("%s%s is %d, want 1 to %d", f.name, of, f.v, f.max)
		}
	}
	return nil
}

func (s *Spec) checkSizes() error {
	err := within("", []bounded{
		{"hidden", s.Hidden, MaxWidth}, {"heads", s.Heads, MaxHeads}, {"kv heads", s.KVHeads, MaxHeads},
		{"head dim", s.HeadDim, MaxWidth}, {"ffn", s.FFN, MaxWidth}, {"vocab", s.Vocab, MaxVocab},
		{"context", s.Context, MaxLength}, {"blocks", s.Blocks, MaxBlocks}, {"steps", len(s.Schedule), MaxSteps},
	})
	if err != nil {
		return err
	}
	if err := s.checkHeads(); err != nil {
		return err
	}
	if !(s.NormEps >= 0 && s.NormEps < 1) {
		return fmt.Errorf("norm epsilon is %g, want 0 to 1", s.NormEps)
	}
	return nil
}

// checkHeads returns an error for heads that attention does not compute.
func (s *Spec) checkHeads() error {
	switch {
	case s.KVHeads > MaxHeads || s.HeadDim > MaxWidth:
		return fmt.Errorf("%d kv heads, %d wide", s.KVHeads, s.HeadDim)
	case s.Heads%s.KVHeads != 0:
		return fmt.Errorf("%d heads are not divisible by %d kv heads", s.Heads, s.KVHeads)
	case s.HeadDim%2 != 0:
		return fmt.Errorf("head dim %d is odd, rotary embedding needs pairs", s.HeadDim)
	case s.Heads*s.HeadDim > MaxWidth:
		return fmt.Errorf("%d heads of %d are wider than %d", s.Heads, s.HeadDim, MaxWidth)
	}
	return nil
}

func (s *Spec) checkTokens() error {
	if s.BOS < -1 || s.BOS >= s.Vocab {
		return fmt.Errorf("bos id %d is outside the vocabulary of %d", s.BOS, s.Vocab)
	}
	for _, id := range s.EOS {
		if id < 0 || id >= s.Vocab {
			return fmt.Errorf("eos id %d is outside the vocabulary of %d", id, s.Vocab)
		}
	}
	return nil
}

// checkKinds returns an error for a kind or a combination that the forward pass lacks.
func (s *Spec) checkKinds() error {
	switch {
	case !slices.Contains([]NormKind{NormRMS, NormRMS1, NormLayer, NormLayer1, NormGain}, s.Norm):
		return defect.Unsupported("norm", "%q", string(s.Norm))
	case !slices.Contains([]QKNorm{QKNone, QKGain, QKBare, QKHead, QKWide, QKLayer}, s.QKNorm):
		return defect.Unsupported("qknorm", "%q", string(s.QKNorm))
	case s.QKGains() && s.Norm.Biased() && s.QKNorm != QKHead && s.QKNorm != QKLayer:
		return defect.Unsupported("qknorm", "%q with norm %q", string(s.QKNorm), string(s.Norm))
	case s.QKRotated && s.QKNorm == QKNone:
		return defect.Unsupported("qkrotated", "without qknorm")
	case !slices.Contains([]Activation{SiLU, GELUTanh, GELU, ReLU, ReLU2, Clamped, XIELU}, s.Activation) || s.Activation == XIELU && !s.Ungated || s.Activation == Clamped && s.Ungated:
		return defect.Unsupported("activation", "%q", string(s.Activation))
	case s.Activation == Clamped && (len(s.Sparsity) > 0 || s.Layer.Width > 0):
		return defect.Unsupported("activation", "%q with sparse gates or an input of each layer", string(s.Activation))
	case s.PostNorm && s.Parallel:
		return defect.Unsupported("postnorm", "the combination with parallel")
	case s.NoPreNorm && s.Parallel:
		return defect.Unsupported("noprenorm", "the combination with parallel")
	case s.OutScale && s.Parallel:
		return defect.Unsupported("outscale", "the combination with parallel")
	case s.TwoNorms && !s.Parallel:
		return defect.Unsupported("twonorms", "true without parallel")
	}
	return nil
}

func (s *Spec) checkScales() error {
	atLeast0 := func(x float64) bool { return x >= 0 && x < 1e30 }
	t := s.Temperature
	switch {
	case !atLeast0(s.EmbedScale) || !atLeast0(s.AttnScale):
		return fmt.Errorf("scales of embedding and attention are %g and %g, want positive numbers", s.EmbedScale, s.AttnScale)
	case !atLeast0(s.ResidScale) || !atLeast0(s.LogitScale):
		return fmt.Errorf("scales of layers and logits are %g and %g, want positive numbers", s.ResidScale, s.LogitScale)
	case !atLeast0(s.AttnCap) || !atLeast0(s.LogitCap):
		return fmt.Errorf("caps of attention scores and logits are %g and %g, want positive numbers", s.AttnCap, s.LogitCap)
	case s.Activation == Clamped && !(s.Clamp.Limit > 0 && s.Clamp.Limit < 1e30 && s.Clamp.Alpha > 0 && s.Clamp.Alpha < 1e30):
		return fmt.Errorf("the activation is clamped with limit %g and factor %g, want positive numbers", s.Clamp.Limit, s.Clamp.Alpha)
	case s.Activation != Clamped && s.Clamp != Clamp{}:
		return fmt.Errorf("the activation is not clamped, but there are numbers for it")
	case !(s.Alibi >= 0 && s.Alibi <= maxAlibi):
		return fmt.Errorf("alibi is %g, want 0 to %d", s.Alibi, maxAlibi)
	case s.Positions != 0 && (s.Positions < s.Context || s.Positions > MaxLength):
		return fmt.Errorf("%d positions have an embedding, want one for each of a context of %d", s.Positions, s.Context)
	case t == Temperature{}:
		return nil
	case t.Length < 1 || t.Length > MaxLength || t.Shift < 0 || t.Shift > 1 || !atLeast0(t.Beta):
		return fmt.Errorf("attention temperature has beta %g, length %d and shift %d, want a positive number, 1 to %d, and 0 or 1", t.Beta, t.Length, t.Shift, MaxLength)
	}
	return nil
}

// checkSchedule returns an error unless every stored block runs, and the blocks run
// for the first time in the order in which they are stored.
func (s *Spec) checkSchedule() error {
	next := 0
	for step, b := range s.Schedule {
		switch {
		case b < 0 || b > next || b >= s.Blocks:
			return fmt.Errorf("step %d runs block %d, want at most %d", step, b, min(next, s.Blocks-1))
		case b == next:
			next++
		}
	}
	if next != s.Blocks {
		return fmt.Errorf("schedule runs %d of %d blocks", next, s.Blocks)
	}
	return nil
}

func (s *Spec) checkAttention() error {
	if n := len(s.Attention); n != 0 && n != s.Blocks {
		return fmt.Errorf("attention is given for %d of %d blocks", n, s.Blocks)
	}
	for b, a := range s.Attention {
		if a.Window < 0 || a.Window > MaxLength {
			return fmt.Errorf("window of block %d is %d, want 0 to %d", b, a.Window, MaxLength)
		}
		if a.Chunk < 0 || a.Chunk > MaxLength {
			return fmt.Errorf("chunk of block %d is %d, want 0 to %d", b, a.Chunk, MaxLength)
		}
		if a.Conv < 0 || a.Conv > MaxConv {
			return fmt.Errorf("convolution of block %d has %d positions, want 0 to %d", b, a.Conv, MaxConv)
		}
		if a.Conv > 0 && (s.Parallel || s.PostNorm) {
			return defect.Unsupported("conv", "the combination with parallel or postnorm")
		}
		if (a.Alone || a.Absent) && (s.Parallel || s.PostNorm || s.NoPreNorm || s.OutScale || s.Laurel > 0 || s.AltUp.Streams > 0 || s.Layer.Width > 0 || s.Experts.Count > 0) {
			return defect.Unsupported("alone", "a block with one layer, in combination with experts, several streams or other norms,")
		}
		if a.Absent && a != (Attention{Absent: true, Rope: a.Rope}) {
			return fmt.Errorf("block %d has only a feed-forward layer, but a description of its attention", b)
		}
		if a.Rope < NoRope || a.Rope > len(s.Ropes) {
			return fmt.Errorf("block %d uses rope %d, want -1 to %d", b, a.Rope, len(s.Ropes))
		}
	}
	return nil
}
