package model

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// A Feature is one way in which the computation of two Specs can differ. Features
// lists all of them: what inspect prints, what a diagnosis compares and what a
// GGUF architecture must be able to store are rows of that one table.
type Feature struct {
	Name string // as in the Spec's JSON: "rope.base"

	// Operations are those whose results the feature changes, by the activations
	// that they write: Q, QRope, Attended and so on. A diagnosis compares the
	// feature there. Features that change the shapes of tensors, or which tensors
	// there are, have none.
	Operations []string

	// Value spells the feature in a step with its default filled in, so that two
	// Specs with equal values compute the same. "" means that it does not apply.
	// Steps -1 and len(Schedule) are what precedes and follows the blocks.
	Value func(s *Spec, step int) string

	// Note describes the feature in a few words for people; "" where s is as in
	// Llama. It may be nil.
	Note func(s *Spec) string
}

var (
	norms     = []string{AttnNorm, AttnPost, FFNNorm, FFNPost, QNorm, KNorm, Norm}
	rotations = []string{QRope, KRope}
)

// everywhere stands for all operations.
var everywhere = []string{"*"}

// Features is in the order in which reports list them.
var Features = []Feature{
	{"hidden", nil, count(func(s *Spec) int { return s.Hidden }), nil},
	{"ffn", nil, count(func(s *Spec) int { return s.FFN }), nil},
	{"vocab", nil, count(func(s *Spec) int { return s.Vocab }), nil},
	{"context", nil, count(func(s *Spec) int { return s.Context }), nil},
	{"blocks", nil, count(func(s *Spec) int { return s.Blocks }), nil},
	{"schedule", everywhere, scheduleOf, nil},
	{"embedscale", []string{Embed}, number(func(s *Spec) float64 { return cmp.Or(s.EmbedScale, 1) }), nil},
	{"window", []string{Attended}, attention(func(s *Spec, a Attention) string { return extent(a.Window, s.Context) }), windows},
	{"chunk", []string{Attended}, attention(func(s *Spec, a Attention) string { return extent(a.Chunk, s.Context) }), chunks},
	{"parallel", []string{FFNNorm}, flag(func(s *Spec) bool { return s.Parallel }), func(s *Spec) string {
		return when(s.Parallel, "attention and feed-forward in parallel")
	}},
	{"postnorm", []string{AttnPost, FFNPost}, flag(func(s *Spec) bool { return s.PostNorm }), func(s *Spec) string {
		return when(s.PostNorm, "norms after attention and feed-forward")
	}},
	{"qknorm", []string{QNorm, KNorm}, text(func(s *Spec) string { return cmp.Or(string(s.QKNorm), "none") }), func(s *Spec) string {
		return when(s.QKNorm != QKNone, "query and key norm "+string(s.QKNorm))
	}},
	{"norm", norms, text(func(s *Spec) string { return cmp.Or(string(s.Norm), "rms") }), func(s *Spec) string {
		return when(s.Norm != NormRMS, "norm "+string(s.Norm))
	}},
	{"normeps", norms, number(func(s *Spec) float64 { return s.NormEps }), nil},
	{"headdim", rotations, count(func(s *Spec) int { return s.HeadDim }), nil},
	{"rope", rotations, func(s *Spec, step int) string {
		if !s.inBlocks(step) {
			return ""
		}
		return strconv.FormatBool(s.RopeOf(s.Schedule[step]) != nil)
	}, ropes},
	{"rope.base", rotations, rope(func(s *Spec, r *Rope) string { return float(r.Base) }), nil},
	{"rope.scaling", rotations, rope(func(s *Spec, r *Rope) string { return cmp.Or(string(r.Scaling), "none") }), nil},
	{"rope.dims", rotations, rope(func(s *Spec, r *Rope) string { return strconv.Itoa(cmp.Or(r.Dims, s.HeadDim)) }), nil},
	{"rope.pairs", rotations, rope(func(s *Spec, r *Rope) string { return strconv.FormatBool(r.Pairs) }), nil},
	{"rope.factor", rotations, rope(func(s *Spec, r *Rope) string { return float(r.Factor) }), nil},
	{"rope.lowfreq", rotations, rope(func(s *Spec, r *Rope) string { return float(r.LowFreq) }), nil},
	{"rope.highfreq", rotations, rope(func(s *Spec, r *Rope) string { return float(r.HighFreq) }), nil},
	{"rope.original", rotations, rope(func(s *Spec, r *Rope) string { return strconv.Itoa(r.Original) }), nil},
	{"heads", []string{Attended}, count(func(s *Spec) int { return s.Heads }), nil},
	{"kvheads", []string{Attended}, count(func(s *Spec) int { return s.KVHeads }), nil},
	{"attnscale", []string{Attended}, number((*Spec).ScoreScale), nil},
	{"ungated", []string{Activated, Gate}, flag(func(s *Spec) bool { return s.Ungated }), func(s *Spec) string {
		return when(s.Ungated, "feed-forward without a gate")
	}},
	{"activation", []string{Activated, Gate}, text(func(s *Spec) string { return cmp.Or(string(s.Activation), "silu") }), func(s *Spec) string {
		return string(s.Activation)
	}},
	{"bias.qkv", nil, flag(func(s *Spec) bool { return s.Bias.QKV }), func(s *Spec) string { return when(s.Bias.QKV, "biases of q, k and v") }},
	{"bias.o", nil, flag(func(s *Spec) bool { return s.Bias.O }), nil},
	{"bias.ffn", nil, flag(func(s *Spec) bool { return s.Bias.FFN }), nil},
	{"bias.head", nil, flag(func(s *Spec) bool { return s.Bias.Head }), nil},
	{"tied", []string{Head}, flag(func(s *Spec) bool { return s.Tied }), nil},
}

// Notes are what Features say of s for people, in their order.
func (s *Spec) Notes() (notes []string) {
	for _, f := range Features {
		if f.Note == nil {
			continue
		}
		if note := f.Note(s); note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}

// NoteOf is what the feature of this name says of s for people, or its name if it
// says nothing.
func NoteOf(s *Spec, name string) string {
	for _, f := range Features {
		if f.Name == name && f.Note != nil {
			return cmp.Or(f.Note(s), name)
		}
	}
	return name
}

// Changes reports whether the feature changes the result of an operation.
func (f *Feature) Changes(operation string) bool {
	return slices.Contains(f.Operations, operation) || len(f.Operations) == 1 && f.Operations[0] == everywhere[0]
}

// Differ reports whether the feature applies to both Specs in a step and differs.
func (f *Feature) Differ(a, b *Spec, step int) bool {
	x, y := f.Value(a, step), f.Value(b, step)
	return x != "" && y != "" && x != y
}

// Differences lists the features in which a and b differ in any step: none if
// they compute the same for texts of at most Context positions. Numbers are
// compared as float32.
func Differences(a, b *Spec) (all []*Feature) {
	for i := range Features {
		f := &Features[i]
		for step := -1; step <= max(len(a.Schedule), len(b.Schedule)); step++ {
			if f.Differ(a, b, step) {
				all = append(all, f)
				break
			}
		}
	}
	return all
}

func (s *Spec) inBlocks(step int) bool { return step >= 0 && step < len(s.Schedule) }

func scheduleOf(s *Spec, step int) string {
	switch {
	case step < 0:
		return ""
	case !s.inBlocks(step):
		return fmt.Sprintf("%d steps", len(s.Schedule))
	}
	return fmt.Sprintf("block %d in step %d", s.Schedule[step], step)
}

func text(of func(s *Spec) string) func(*Spec, int) string {
	return func(s *Spec, _ int) string { return of(s) }
}

func count(of func(s *Spec) int) func(*Spec, int) string {
	return text(func(s *Spec) string { return strconv.Itoa(of(s)) })
}

func flag(of func(s *Spec) bool) func(*Spec, int) string {
	return text(func(s *Spec) string { return strconv.FormatBool(of(s)) })
}

func number(of func(s *Spec) float64) func(*Spec, int) string {
	return text(func(s *Spec) string { return float(of(s)) })
}

// attention is a feature of the attention of a step's block.
func attention(of func(s *Spec, a Attention) string) func(*Spec, int) string {
	return func(s *Spec, step int) string {
		if !s.inBlocks(step) {
			return ""
		}
		return of(s, s.AttentionOf(s.Schedule[step]))
	}
}

// rope is a feature of the rotary embedding of a step's block, if it has one.
func rope(of func(s *Spec, r *Rope) string) func(*Spec, int) string {
	return func(s *Spec, step int) string {
		if !s.inBlocks(step) {
			return ""
		}
		if r := s.RopeOf(s.Schedule[step]); r != nil {
			return of(s, r)
		}
		return ""
	}
}

// float writes x with the digits that a float32 keeps.
func float(x float64) string { return strconv.FormatFloat(float64(float32(x)), 'g', -1, 32) }

// extent writes a number of positions, of which 0 and all of the context are
// all.
func extent(n, context int) string {
	if n == 0 || n >= context {
		return "all"
	}
	return strconv.Itoa(n)
}

func when(yes bool, note string) string {
	if yes {
		return note
	}
	return ""
}

// inSome describes what several blocks have: what of the values, and how many of
// the blocks. A value of 0 is none.
func inSome(s *Spec, what string, of func(a Attention) int) string {
	least, most, n := 0, 0, 0
	for _, a := range s.Attention {
		v := of(a)
		if v == 0 {
			continue
		}
		if n++; n == 1 {
			least = v
		}
		least, most = min(least, v), max(most, v)
	}
	if n == 0 {
		return ""
	}
	value := strconv.Itoa(least)
	if most > least {
		value = fmt.Sprintf("%d to %d", least, most)
	}
	return fmt.Sprintf("%s of %s (%d of %d blocks)", what, value, n, s.Blocks)
}

func windows(s *Spec) string {
	return inSome(s, "attention window", func(a Attention) int { return a.Window })
}

func chunks(s *Spec) string {
	return inSome(s, "attention in chunks", func(a Attention) int { return a.Chunk })
}

func ropes(s *Spec) string {
	still := 0
	for _, a := range s.Attention {
		if a.Rope == NoRope {
			still++
		}
	}
	switch {
	case still > 0:
		return fmt.Sprintf("no rotary embedding (%d of %d blocks)", still, s.Blocks)
	case len(s.Ropes) > 0:
		return fmt.Sprintf("%d rotary embeddings", 1+len(s.Ropes))
	}
	return ""
}
