package onnx

import (
	"cmp"
	"fmt"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
)

// attention appends the attention of a block and returns its output.
func (b *builder) attention(step, block int, x string) string {
	s, at := b.spec, b.spec.AttentionOf(block)
	value := func(kind string) string { return fmt.Sprintf("step.%d.%s", step, kind) }
	project := func(kind string) string {
		return b.linear(value(kind), x, model.Name(block, kind), s.Biased(kind))
	}
	q, k, v := project(model.Q), project(model.K), project(model.V)
	if !s.QKRotated {
		q, k = b.headNorm(value(model.QNorm), q, block, model.QNorm), b.headNorm(value(model.KNorm), k, block, model.KNorm)
	}
	inputs := []string{"", "", v, fmt.Sprintf(pastKey, step), fmt.Sprintf(pastValue, step), lastPosition, totalLength}
	window := int64(-1)
	if at.Window > 0 && at.Window < s.Context {
		window = int64(at.Window)
	}
	attributes := []attribute{
		{"num_heads", int64(s.Heads)}, {"kv_num_heads", int64(s.KVHeads)},
		{"scale", float32(s.ScoreScale())}, {"softcap", float32(s.AttnCap)}, {"local_window_size", window},
	}
	if r := s.RopeOf(block); r != nil {
		cos, sin := b.ropeTables(at.Rope)
		if b.rotates(r) {
			inputs = append(inputs, cos, sin)
			attributes = append(attributes, attribute{"do_rotary", int64(1)}, attribute{"rotary_interleaved", flag(r.Pairs)})
		} else {
			b.positions = true
			q, k = b.rotate(value(model.QRope), q, r, s.Heads, cos, sin), b.rotate(value(model.KRope), k, r, s.KVHeads, cos, sin)
		}
	}
	if s.QKRotated {
		q, k = b.headNorm(value(model.QNorm), q, block, model.QNorm), b.headNorm(value(model.KNorm), k, block, model.KNorm)
	}
	inputs[0], inputs[1] = q, k
	y := value(model.Attended)
	b.node(microsoft, "GroupQueryAttention", inputs, []string{y, fmt.Sprintf(presentKey, step), fmt.Sprintf(presentValue, step)}, attributes...)
	return b.linear(value(model.O), y, model.Name(block, model.O), s.Biased(model.O))
}

func flag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

// rotates reports whether GroupQueryAttention itself can rotate by r: its heads and half the
// rotated dimensions must be multiples of 16 and 8 (group_query_attention_helper.h), and
// nothing may come between rotation and attention.
func (b *builder) rotates(r *model.Rope) bool {
	return !b.spec.QKRotated && b.spec.HeadDim%16 == 0 && rotated(r, b.spec)%16 == 0
}

// rotated returns the number of dimensions of a head that r rotates.
func rotated(r *model.Rope, s *model.Spec) int { return cmp.Or(r.Dims, s.HeadDim) }

// rotate appends the rotation of all heads.
func (b *builder) rotate(y, x string, r *model.Rope, heads int, cos, sin string) string {
	dims := rotated(r, b.spec)
	attributes := []attribute{{"interleaved", flag(r.Pairs)}, {"num_heads", int64(heads)}}
	if dims < b.spec.HeadDim {
		attributes = append(attributes, attribute{"rotary_embedding_dim", int64(dims)})
	}
	b.node(microsoft, "RotaryEmbedding", []string{x, positionIDs, cos, sin}, []string{y}, attributes...)
	return y
}

// ropeTables returns the names of the tables of cosines and sines of a rotary embedding of the
// Spec, each (context, half the rotated dimensions), times its scale.
func (b *builder) ropeTables(of int) (cos, sin string) {
	r := &b.spec.Rope
	if of > 0 {
		r = &b.spec.Ropes[of-1]
	}
	half, scale := rotated(r, b.spec)/2, float32(cmp.Or(r.Scale, 1))
	frequencies := make([]float32, half)
	for i := range frequencies {
		frequencies[i] = float32(r.Frequency(i, 2*half))
	}
	table := func(name string, f func(x float64) float64) string {
		return b.once(name, func() {
			offset, length := b.tableOf(name, b.spec.Context, half, func(dst []float32, position int) {
				for i, w := range frequencies {
					dst[i] = float32(f(float64(float32(position)*w))) * scale
				}
			})
			b.external(name, typeFloat, []int64{int64(b.spec.Context), int64(half)}, offset, length)
		})
	}
	return table(fmt.Sprintf("rope.%d.cos", of), kernel.Cos64), table(fmt.Sprintf("rope.%d.sin", of), kernel.Sin64)
}

// headNorm appends the norm of queries or keys of a block, whose kind is QNorm or KNorm, and
// returns x itself if there is none.
func (b *builder) headNorm(y, x string, block int, kind string) string {
	s, name := b.spec, model.Name(block, kind)
	if !s.QKGains() && (s.QKNorm != model.QKBare || s.RopeOf(block) == nil) {
		return x
	}
	heads := map[string]int{model.QNorm: s.Heads, model.KNorm: s.KVHeads}[kind]
	if s.QKNorm == model.QKWide {
		return b.normOf(y, x, b.factors(name), "", s.Centers())
	}
	gain, bias := "", ""
	switch s.QKNorm {
	case model.QKGain:
		gain = b.factors(name)
	case model.QKLayer:
		gain, bias = b.factors(name), b.gain(name+model.BiasSuffix, 0)
	default:
		gain = b.ones(s.HeadDim)
	}
	centered := bias != "" || s.Centers() && s.QKNorm != model.QKBare
	split := b.vector(fmt.Sprintf("heads.%d", heads), 0, 0, int64(heads), int64(s.HeadDim))
	n := b.op(y+".heads", "Reshape", []string{x, split})
	n = b.normOf(y+".normalized", n, gain, bias, centered)
	if s.QKNorm == model.QKHead {
		each := b.op(y+".gain", "Reshape", []string{b.factors(name), b.vector(fmt.Sprintf("gains.%d", heads), int64(heads), int64(s.HeadDim))})
		n = b.op(y+".scaled", "Mul", []string{n, each})
	}
	join := b.vector(fmt.Sprintf("joined.%d", heads), 0, 0, int64(heads*s.HeadDim))
	return b.op(y, "Reshape", []string{n, join})
}

// ones returns the name of a vector of n ones.
func (b *builder) ones(n int) string {
	name := "ones"
	return b.once(name, func() {
		offset, length := b.tableOf(name, 1, n, func(dst []float32, _ int) { copy(dst, slices.Repeat([]float32{1}, n)) })
		b.external(name, typeFloat, []int64{int64(n)}, offset, length)
	})
}
