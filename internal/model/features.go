package model

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Feature is a property in which the computation of two Specs can differ. The
// table Features lists all of them. Inspect prints them, a diagnosis compares them,
// and a GGUF architecture must be able to store them.
type Feature struct {
	Name string // as in the Spec's JSON: "rope.base"

	// Operations lists the operations whose results depend on the feature, each by
	// the activation that it writes: Q, QRope, Attended and so on. A diagnosis
	// compares the feature there. A feature that changes only the shapes of tensors,
	// or which tensors exist, has none.
	Operations []string

	// Value returns the feature's value in a step as text, with the default filled
	// in, so that two Specs with equal values compute the same. It returns "" if the
	// feature does not apply. Step -1 precedes the blocks, step len(Schedule) follows
	// them.
	Value func(s *Spec, step int) string

	// Note describes the feature in a few words for people. It returns "" if s does
	// the same as Llama. Note may be nil.
	Note func(s *Spec) string
}

var (
	norms     = []string{AltUpNorm, Again(AltUpNorm), LaurelNorm, LayerInner, LayerPost, EmbedNorm, AttnNorm, LatentQNorm, LatentKVNorm, AttnPost, FFNNorm, FFNPost, QNorm, KNorm, Norm}
	rotations = []string{QRope, KRope}
)

// everywhere means all operations.
var everywhere = []string{"*"}

// Features lists every Feature in the order in which reports print them.
var Features = slices.Concat(scanFeatures, ownFeatures, scaleFeatures(), expertFeatures)

var ownFeatures = []Feature{
	{"hidden", nil, count(func(s *Spec) int { return s.Hidden }), nil},
	size("ffn", nil, "feed-forward", func(s *Spec) int { return s.FFN }),
	{"vocab", nil, count(func(s *Spec) int { return s.Vocab }), nil},
	{"context", nil, count(func(s *Spec) int { return s.Context }), nil},
	{"blocks", nil, count(func(s *Spec) int { return s.Blocks }), nil},
	{"schedule", everywhere, scheduleOf, nil},
	{"embedscale", []string{Embed}, number(func(s *Spec) float64 { return cmp.Or(s.EmbedScale, 1) }), nil},
	{"positions", []string{Embed}, count(func(s *Spec) int { return s.Positions }), func(s *Spec) string {
		return noteIf(s.Positions > 0, "learned positions")
	}},
	{"embednorm", []string{EmbedNorm}, flag(func(s *Spec) bool { return s.EmbedNorm }), func(s *Spec) string {
		return noteIf(s.EmbedNorm, "norm of the embeddings")
	}},
	{"alibi", []string{Attended}, number(func(s *Spec) float64 { return s.Alibi }), func(s *Spec) string {
		return noteIf(s.Alibi > 0, "ALiBi")
	}},
	{"sinks", []string{Attended}, flag(func(s *Spec) bool { return s.Sinks }), func(s *Spec) string { return noteIf(s.Sinks, "attention sinks") }},
	{"residscale", []string{AttnResidual, FFNResidual}, number(func(s *Spec) float64 { return cmp.Or(s.ResidScale, 1) }), func(s *Spec) string {
		return noteIf(cmp.Or(s.ResidScale, 1) != 1, "outputs of layers scaled by "+float(s.ResidScale))
	}},
	{"window", []string{Attended}, attention(func(s *Spec, a Attention) string { return extent(a.Window, s.Context) }), windows},
	{"chunk", []string{Attended}, attention(func(s *Spec, a Attention) string { return extent(a.Chunk, s.Context) }), chunks},
	{"conv", everywhere, attention(func(_ *Spec, a Attention) string { return strconv.Itoa(a.Conv) }), convolutions},
	{"delta", everywhere, attention(func(_ *Spec, a Attention) string { return strconv.Itoa(a.Delta) }), deltas},
	{"delta.keyheads", []string{DeltaMixed}, count(func(s *Spec) int { return s.Delta.KeyHeads }), nil},
	{"delta.valueheads", []string{DeltaMixed}, count(func(s *Spec) int { return s.Delta.ValueHeads }), nil},
	{"delta.keydim", []string{DeltaMixed}, count(func(s *Spec) int { return s.Delta.KeyDim }), nil},
	{"delta.valuedim", []string{DeltaMixed}, count(func(s *Spec) int { return s.Delta.ValueDim }), nil},
	{"latent.keyvalue", everywhere, count(func(s *Spec) int { return s.Latent.KeyValue }), latentNote},
	{"latent.query", everywhere, count(func(s *Spec) int { return s.Latent.Query }), nil},
	{"latent.value", []string{Attended}, count(func(s *Spec) int { return s.Latent.Value }), nil},
	{"latent.eps", []string{LatentQNorm, LatentKVNorm}, number(func(s *Spec) float64 { return s.Latent.Eps }), nil},
	{"attngate", []string{AttnGated}, flag(func(s *Spec) bool { return s.AttnGate }), func(s *Spec) string {
		return noteIf(s.AttnGate, "gates of the outputs of attention")
	}},
	{"alone", everywhere, attention(func(_ *Spec, a Attention) string { return strconv.FormatBool(a.Alone) }), func(s *Spec) string {
		return blocksWith(s, "no feed-forward layer", func(a Attention) bool { return a.Alone })
	}},
	{"absent", everywhere, attention(func(_ *Spec, a Attention) string { return strconv.FormatBool(a.Absent) }), func(s *Spec) string {
		return blocksWith(s, "only a feed-forward layer", func(a Attention) bool { return a.Absent })
	}},
	{"parallel", []string{FFNNorm}, flag(func(s *Spec) bool { return s.Parallel }), func(s *Spec) string {
		return noteIf(s.Parallel, "attention and feed-forward in parallel")
	}},
	{"twonorms", []string{FFNNorm}, flag(func(s *Spec) bool { return s.TwoNorms }), nil},
	{"postnorm", []string{AttnPost, FFNPost}, flag(func(s *Spec) bool { return s.PostNorm }), func(s *Spec) string {
		return noteIf(s.PostNorm, "norms after attention and feed-forward")
	}},
	{"noprenorm", []string{AttnNorm, FFNNorm}, flag(func(s *Spec) bool { return s.NoPreNorm }), func(s *Spec) string {
		return noteIf(s.NoPreNorm, "no norms before attention and feed-forward")
	}},
	{"qknorm", []string{QNorm, KNorm}, text(func(s *Spec) string { return cmp.Or(string(s.QKNorm), "none") }), func(s *Spec) string {
		return noteIf(s.QKNorm != QKNone, "query and key norm "+string(s.QKNorm))
	}},
	{"qkrotated", []string{QNorm, KNorm}, flag(func(s *Spec) bool { return s.QKRotated }), func(s *Spec) string { return noteIf(s.QKRotated, "query and key norm after rotation") }},
	{"norm", norms, text(func(s *Spec) string { return cmp.Or(string(s.Norm), "rms") }), func(s *Spec) string {
		return noteIf(s.Norm != NormRMS, "norm "+string(s.Norm))
	}},
	{"normeps", norms, number(func(s *Spec) float64 { return s.NormEps }), nil},
	size("headdim", rotations, "heads", func(s *Spec) int { return s.HeadDim }),
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
	{"rope.fractional", rotations, rope(func(s *Spec, r *Rope) string { return strconv.FormatBool(r.Fractional) }), nil},
	{"rope.factors", rotations, rope(func(s *Spec, r *Rope) string { return cmp.Or(floats(r.Factors), "none") }), nil},
	{"rope.scale", rotations, rope(func(s *Spec, r *Rope) string { return float(cmp.Or(r.Scale, 1)) }), nil},
	{"heads", []string{Attended}, count(func(s *Spec) int { return s.Heads }), nil},
	size("kvheads", []string{Attended}, "key-value heads", func(s *Spec) int { return s.KVHeads }),
	{"back", everywhere, attention(func(_ *Spec, a Attention) string { return strconv.Itoa(a.Back) }), sharingNote},
	{"keyvalues", []string{V}, attention(func(_ *Spec, a Attention) string { return strconv.FormatBool(a.KeyValues) }), func(s *Spec) string {
		return noteIf(slices.ContainsFunc(s.Attention, func(a Attention) bool { return a.KeyValues }), "keys that are also values")
	}},
	{"vnorm", []string{VNorm}, flag(func(s *Spec) bool { return s.VNorm }), func(s *Spec) string { return noteIf(s.VNorm, "value norm") }},
	{"attnscale", []string{Attended}, ofBlock(func(s *Spec) string { return float(s.ScoreScale()) }), nil},
	{"attncap", []string{Attended}, number(func(s *Spec) float64 { return s.AttnCap }), func(s *Spec) string {
		return noteIf(s.AttnCap != 0, "attention scores capped at "+float(s.AttnCap))
	}},
	{"temperature", []string{Attended}, temperature, func(s *Spec) string {
		return noteIf(s.sharpens(), "attention temperature from position "+strconv.Itoa(s.Temperature.Length-s.Temperature.Shift))
	}},
	{"ungated", []string{Activated, Gate}, flag(func(s *Spec) bool { return s.Ungated }), func(s *Spec) string {
		return noteIf(s.Ungated, "feed-forward without a gate")
	}},
	{"activation", []string{Activated, Gate}, text(func(s *Spec) string { return cmp.Or(string(s.Activation), "silu") }), func(s *Spec) string {
		return string(s.Activation)
	}},
	{"clamp.alpha", []string{Activated}, number(func(s *Spec) float64 { return s.Clamp.Alpha }), nil},
	{"clamp.limit", []string{Activated}, number(func(s *Spec) float64 { return s.Clamp.Limit }), nil},
	{"layer.width", everywhere, count(func(s *Spec) int { return s.Layer.Width }), func(s *Spec) string {
		return noteIf(s.Layer.Width > 0, fmt.Sprintf("an input of each layer, %d wide", s.Layer.Width))
	}},
	{"layer.vocab", []string{LayerInner}, count(func(s *Spec) int { return s.Layer.Vocab }), nil},
	{"altup.streams", everywhere, count(func(s *Spec) int { return s.AltUp.Streams }), func(s *Spec) string {
		return noteIf(s.AltUp.Streams > 0, fmt.Sprintf("%d streams", s.AltUp.Streams))
	}},
	{"altup.scaled", []string{LayerGate}, flag(func(s *Spec) bool { return s.AltUp.Scaled }), nil},
	{"laurel", []string{LaurelSum}, count(func(s *Spec) int { return s.Laurel }), func(s *Spec) string {
		return noteIf(s.Laurel > 0, fmt.Sprintf("learned residual of rank %d", s.Laurel))
	}},
	{"sparsity", []string{Activated}, func(s *Spec, step int) string {
		if !s.inBlocks(step) {
			return ""
		}
		return float(s.SparsityOf(s.Schedule[step]))
	}, sparsityNote},
	{"outscale", []string{FFNResidual}, flag(func(s *Spec) bool { return s.OutScale }), func(s *Spec) string {
		return noteIf(s.OutScale, "output of blocks scaled")
	}},
	{"bias.qkv", nil, flag(func(s *Spec) bool { return s.Bias.QKV }), func(s *Spec) string {
		return noteIf(s.Bias.QKV, map[bool]string{false: "biases of q, k and v", true: "biases of latents"}[s.IsLatent()])
	}},
	{"bias.o", nil, flag(func(s *Spec) bool { return s.Bias.O }), nil},
	{"bias.ffn", nil, flag(func(s *Spec) bool { return s.Bias.FFN }), nil},
	{"bias.head", nil, flag(func(s *Spec) bool { return s.Bias.Head }), nil},
	{"logitscale", []string{Head}, number(func(s *Spec) float64 { return cmp.Or(s.LogitScale, 1) }), func(s *Spec) string {
		return noteIf(cmp.Or(s.LogitScale, 1) != 1, "logits scaled by "+float(s.LogitScale))
	}},
	{"logitcap", []string{Head}, number(func(s *Spec) float64 { return s.LogitCap }), func(s *Spec) string {
		return noteIf(s.LogitCap != 0, "logits capped at "+float(s.LogitCap))
	}},
	{"tied", []string{Head}, flag(func(s *Spec) bool { return s.Tied }), nil},
}

// Notes returns the notes on s that are not empty, in the order of Features.
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

// NoteOf returns the note on s of the named feature, or the name itself if there is
// no note.
func NoteOf(s *Spec, name string) string {
	for _, f := range Features {
		if f.Name == name && f.Note != nil {
			return cmp.Or(f.Note(s), name)
		}
	}
	return name
}

// labels are the features whose names, which files record, are not those that people use.
var labels = map[string]string{
	"normeps": "norm epsilon", "headdim": "head dim", "kvheads": "kv heads", "qknorm": "query and key norm", "vnorm": "value norm",
	"attnscale": "attention scale", "attncap": "attention cap", "residscale": "residual scale", "embedscale": "embedding scale",
	"logitscale": "logit scale", "logitcap": "logit cap",
}

// Label returns the feature's name for people.
func (f *Feature) Label() string { return cmp.Or(labels[f.Name], f.Name) }

// Changes reports whether the result of an operation depends on the feature.
func (f *Feature) Changes(operation string) bool {
	return slices.Contains(f.Operations, operation) || len(f.Operations) == 1 && f.Operations[0] == everywhere[0]
}

// Differs reports whether the feature applies to both a and b in a step and has
// different values there.
func (f *Feature) Differs(a, b *Spec, step int) bool {
	x, y := f.Value(a, step), f.Value(b, step)
	return x != "" && y != "" && x != y
}

// Differences lists the features in which a and b differ in any step. It returns
// none if both compute the same for texts of at most Context positions. It compares
// numbers as float32.
func Differences(a, b *Spec) (all []*Feature) {
	for i := range Features {
		f := &Features[i]
		for step := -1; step <= max(len(a.Schedule), len(b.Schedule)); step++ {
			if f.Differs(a, b, step) {
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

// attention returns a Value for a feature of the attention of the step's block.
func attention(of func(s *Spec, a Attention) string) func(*Spec, int) string {
	return func(s *Spec, step int) string {
		if !s.inBlocks(step) {
			return ""
		}
		return of(s, s.AttentionOf(s.Schedule[step]))
	}
}

// rope returns a Value for a feature of the rotary embedding of the step's block.
// The feature does not apply to blocks without one.
func rope(of func(s *Spec, r *Rope) string) func(*Spec, int) string {
	return func(s *Spec, step int) string {
		if !s.inBlocks(step) {
			return ""
		}
		if r, t := s.RopeOf(s.Schedule[step]), s.Of(s.Schedule[step]); r != nil {
			return of(&t, r)
		}
		return ""
	}
}

// float formats x, rounded to a float32, with the fewest digits that identify it.
func float(x float64) string { return strconv.FormatFloat(float64(float32(x)), 'g', -1, 32) }

// floats formats numbers as float does, separated by spaces.
func floats(all []float64) string {
	texts := make([]string, len(all))
	for i, x := range all {
		texts[i] = float(x)
	}
	return strings.Join(texts, " ")
}

// sharpens reports whether the temperature differs from 1 within the context.
func (s *Spec) sharpens() bool {
	t := s.Temperature
	return t.Length > 0 && t.Beta != 0 && s.Context-1+t.Shift >= t.Length
}

// temperature is the Value of the attention temperature of the step's block.
func temperature(s *Spec, step int) string {
	if !s.inBlocks(step) {
		return ""
	}
	t := s.Temperature
	if !s.sharpens() || t.Unrotated && s.RopeOf(s.Schedule[step]) != nil {
		return "1"
	}
	return fmt.Sprintf("beta %s, length %d, shift %d", float(t.Beta), t.Length, t.Shift)
}

// extent formats a number of positions. Both 0 and a number no less than the context
// mean all.
func extent(n, context int) string {
	if n == 0 || n >= context {
		return "all"
	}
	return strconv.Itoa(n)
}

// noteIf returns note if yes is set, and otherwise "".
func noteIf(yes bool, note string) string {
	if yes {
		return note
	}
	return ""
}

// blockRange describes a property that some blocks have: the range of its values and
// the number of blocks. A block whose value is 0 does not have the property.
func blockRange(s *Spec, property string, of func(a Attention) int) string {
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
	return fmt.Sprintf("%s of %s (%d of %d blocks)", property, value, n, s.Blocks)
}

// blocksWith describes a property that some blocks have.
func blocksWith(s *Spec, property string, has func(a Attention) bool) string {
	n := 0
	for _, a := range s.Attention {
		if has(a) {
			n++
		}
	}
	return noteIf(n > 0, fmt.Sprintf("%s in %d of %d blocks", property, n, s.Blocks))
}

func windows(s *Spec) string {
	return blockRange(s, "attention window", func(a Attention) int { return a.Window })
}

func chunks(s *Spec) string {
	return blockRange(s, "attention in chunks", func(a Attention) int { return a.Chunk })
}

func ropes(s *Spec) string {
	without := 0
	for _, a := range s.Attention {
		if a.Rope == NoRope {
			without++
		}
	}
	switch {
	case without > 0:
		return fmt.Sprintf("no rotary embedding (%d of %d blocks)", without, s.Blocks)
	case len(s.Ropes) > 0:
		return fmt.Sprintf("%d rotary embeddings", 1+len(s.Ropes))
	}
	return ""
}
