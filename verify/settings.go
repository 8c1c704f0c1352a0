package verify

import (
	"cmp"
	"fmt"
	"strconv"

	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A setting is what a Spec says about an operation.
type setting struct{ name, value string }

// settingsOf lists what s says about an operation of a step, with what it leaves
// out put in, so that two ways to say the same are the same.
func settingsOf(s *model.Spec, step int, operation string) (all []setting) {
	say := func(name string, value any) { all = append(all, setting{name, fmt.Sprint(value)}) }
	block := noBlock
	if step >= 0 && step < len(s.Schedule) {
		block = s.Schedule[step]
		say("schedule", fmt.Sprintf("block %d in step %d", block, step))
	} else if step >= 0 {
		say("schedule", fmt.Sprintf("%d steps", len(s.Schedule)))
	}
	norm := func(kind model.NormKind) {
		say("norm", cmp.Or(string(kind), "rms"))
		say("eps", s.NormEps)
	}
	switch operation {
	case model.Embed:
		say("embedscale", figures(cmp.Or(s.EmbedScale, 1)))
	case model.AttnNorm, model.Norm:
		norm(s.Norm)
	case model.FFNNorm:
		say("parallel", s.Parallel)
		norm(s.Norm)
	case model.AttnPost, model.FFNPost:
		say("postnorm", s.PostNorm)
		norm(s.Norm)
	case model.QNorm, model.KNorm:
		say("qknorm", cmp.Or(string(s.QKNorm), "none"))
		norm(s.Norm)
	case transformer.QRope, transformer.KRope:
		if block == noBlock {
			break
		}
		r := s.RopeOf(block)
		say("headdim", s.HeadDim)
		say("rope", r != nil)
		if r != nil {
			say("rope.base", r.Base)
			say("rope.scaling", cmp.Or(string(r.Scaling), "none"))
			say("rope.dims", cmp.Or(r.Dims, s.HeadDim))
			say("rope.pairs", r.Pairs)
			say("rope.factor", r.Factor)
			say("rope.lowfreq", r.LowFreq)
			say("rope.highfreq", r.HighFreq)
			say("rope.original", r.Original)
		}
	case transformer.Attended:
		say("heads", s.Heads)
		say("kvheads", s.KVHeads)
		say("attnscale", figures(s.ScoreScale()))
		if block != noBlock {
			say("window", orAll(s.AttentionOf(block).Window))
			say("chunk", orAll(s.AttentionOf(block).Chunk))
		}
	case transformer.Activated, model.Gate:
		say("ungated", s.Ungated)
		say("activation", cmp.Or(string(s.Activation), "silu"))
	case model.Head:
		say("tied", s.Tied)
	}
	return all
}

// biased says whether s gives a bias to the layer that writes an operation.
func biased(s *model.Spec, operation string) bool {
	switch operation {
	case model.Q, model.K, model.V:
		return s.Bias.QKV
	case model.O:
		return s.Bias.O
	case model.Gate, model.Up, model.Down:
		return s.Bias.FFN
	case model.Head:
		return s.Bias.Head
	}
	return false
}

// figures writes a number with as many digits as matter.
func figures(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

// orAll writes a number of positions, 0 being all of them.
func orAll(n int) string {
	if n == 0 {
		return "all"
	}
	return strconv.Itoa(n)
}
