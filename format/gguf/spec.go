package gguf

import (
	"encoding/hex"
	"math"
	"reflect"
	"slices"
	"strings"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// sayable are the features of a Spec, by their JSON names, that the
// architecture "llama" has keys or tensors for.
var sayable = []string{
	"hidden", "heads", "kvheads", "headdim", "ffn", "vocab", "context", "blocks", "schedule", "normeps", "tied", "bos", "eos",
	"rope.base", "rope.scaling", "rope.factor", "rope.lowfreq", "rope.highfreq", "rope.original",
	"bias.qkv", "bias.o", "bias.ffn",
}

// checkSpec refuses by name a feature that is in use and not sayable, so that a
// feature added to Spec later is refused until it is added here.
func checkSpec(path string, s *model.Spec) error {
	if name := unsayable("", reflect.ValueOf(*s)); name != "" {
		return model.Unsupported(path, "%s in GGUF's architecture llama", name)
	}
	if r := s.Rope.Scaling; r != model.RopePlain && r != model.RopeLinear && r != model.RopeLlama3 {
		return model.Unsupported(path, "rope scaling %q in GGUF's architecture llama", string(r))
	}
	return nil
}

// unsayable returns the name of the first field of v that is neither sayable
// nor unused, or "".
func unsayable(prefix string, v reflect.Value) string {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		name, field := prefix+tag, v.Field(i)
		inner := slices.ContainsFunc(sayable, func(s string) bool { return strings.HasPrefix(s, name+".") })
		switch {
		case slices.Contains(sayable, name) || unused(field):
		case inner && field.Kind() == reflect.Struct:
			if bad := unsayable(name+".", field); bad != "" {
				return bad
			}
		default:
			return name
		}
	}
	return ""
}

// unused reports that v is zero, or a list of nothing but zeros.
func unused(v reflect.Value) bool {
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			if !v.Index(i).IsZero() {
				return false
			}
		}
		return true
	}
	return v.IsZero()
}

func ptr[T any](v T) *T { return &v }

// describe returns the keys that say what m computes and where it came from.
func describe(m *model.Model) *metadata {
	s := &m.Spec
	u32 := func(n int) *uint32 { return ptr(uint32(n)) }
	d := &metadata{
		architecture: "llama", kind: "model", quantized: u32(2), alignment: u32(alignment),
		blocks: u32(len(s.Schedule)), context: u32(s.Context), hidden: u32(s.Hidden), ffn: u32(s.FFN),
		heads: u32(s.Heads), kvHeads: u32(s.KVHeads), keyLength: u32(s.HeadDim), valueLength: u32(s.HeadDim),
		ropeDims: u32(s.HeadDim), vocab: u32(s.Vocab), ropeBase: ptr(float32(s.Rope.Base)), eps: ptr(float32(s.NormEps)),
	}
	switch r := &s.Rope; r.Scaling {
	case model.RopeLinear:
		d.ropeScaling, d.ropeFactor = "linear", ptr(float32(r.Factor))
	case model.RopeLlama3:
		d.llama3Factor, d.llama3Low, d.llama3High = ptr(float32(r.Factor)), ptr(float32(r.LowFreq)), ptr(float32(r.HighFreq))
		d.llama3Original = u32(r.Original)
	}
	p := &m.Provenance
	d.madeBy, d.origin, d.recipe, d.overrides = p.Tool, p.Architecture, p.Recipe, p.Overrides
	for _, source := range p.Sources {
		d.sources = append(d.sources, source.Name)
		d.sourceBytes = append(d.sourceBytes, uint64(source.Bytes))
		d.sourceSums = append(d.sourceSums, hex.EncodeToString(source.SHA256))
	}
	return d
}

// ropeFactors returns what llama.cpp is to divide each rotary frequency by
// for Llama 3.1's rule: 1 for short wavelengths, Factor for long ones, in
// between the harmonic blend (transformers, _compute_llama3_parameters).
func ropeFactors(s *model.Spec) []float32 {
	r := &s.Rope
	factors := make([]float32, s.HeadDim/2)
	for i := range factors {
		f := float64(float32(1 / kernel.Pow64(r.Base, float64(2*i)/float64(s.HeadDim))))
		turns := float64(r.Original) * f / (2 * math.Pi)
		switch {
		case turns < r.LowFreq:
			factors[i] = float32(r.Factor)
		case turns > r.HighFreq:
			factors[i] = 1
		default:
			keep := (turns - r.LowFreq) / (r.HighFreq - r.LowFreq)
			factors[i] = float32(1 / (float64((1-keep)/r.Factor) + keep))
		}
	}
	return factors
}

// fileType is the key's value for the type that most weights have.
func fileType(weights map[string]int64) *uint32 {
	best := types[0]
	for _, t := range types {
		if weights[t.name] > weights[best.name] {
			best = t
		}
	}
	return ptr(best.fileType)
}
