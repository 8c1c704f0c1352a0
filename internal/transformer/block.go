package transformer

import (
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/rotary"
)

// A block is one stored layer.
type block struct {
	rope         *rotary.Table // one of Decoder.ropes, or nil
	attnNorm     norm          // zero when NoPreNorm
	headDim      int           // with kvHeads that of the block, see Spec.Of
	kvHeads      int
	still        int      // dimensions of a head before those that are rotated
	scale        float32  // of the scores
	q            linear   // (Heads*HeadDim, Hidden)
	k, v         linear   // (KVHeads*HeadDim, Hidden); zero if the block has none of its own, or its values are its keys
	vNorm        headNorm // zero unless VNorm
	qNorm, kNorm headNorm
	sinks        []float32                     // (Heads), or nil
	temper       bool                          // scores are multiplied by temperatures
	o            linear                        // (Hidden, Heads*HeadDim)
	attnPost     norm                          // zero unless PostNorm
	ffnNorm      norm                          // zero without a norm of the feed-forward layer
	gate         linear                        // (FFN, Hidden), zero when Ungated
	up           linear                        // (FFN, Hidden)
	down         linear                        // (Hidden, FFN)
	ffnPost      norm                          // zero unless PostNorm
	activation   func(dst, gate, up []float32) // act(gate) * up
	experts      *mixture                      // nil in blocks without experts; gate, up and down are then zero
	layer        layerInput
	altUp        altUp
	laurel       laurel
	outScale     float32          // if OutScale
	conv         *convolution     // nil in blocks without one; q, k, v and o are zero in blocks with one
	attnGate     linear           // (Heads*HeadDim, Hidden), zero unless AttnGate
	latent       *latentAttention // nil without
	delta        *deltaRule       // nil in blocks without it; q, k, v and o are zero in blocks with it
	scan         *stateSpace      // nil in blocks without it
}

// activations lists the function of each kind of feed-forward layer.
var activations = map[model.Activation]func(dst, gate, up []float32){
	model.SiLU: kernel.SiLUMul, model.GELUTanh: kernel.GELUMul, model.GELU: kernel.GELUErfMul,
	model.ReLU: kernel.ReLUMul, model.ReLU2: kernel.ReLU2Mul,
}

func blockOf(m *model.Model, b int) block {
	s := &m.Spec
	name := func(kind string) string { return model.Name(b, kind) }
	lin := func(kind string) linear { return linearOf(m, b, kind) }
	var w block
	a := s.AttentionOf(b)
	switch {
	case a.Conv > 0:
		w.conv = convolutionOf(m, b)
	case a.Delta > 0:
		w.delta = deltaRuleOf(m, b)
	case a.Scan > 0:
		w.scan = stateSpaceOf(m, b)
	}
	if a.Attends() {
		w.takeAttention(m, b)
	}
	if s.HasExperts(b) {
		w.experts = mixtureOf(m, b)
	} else if !a.Alone {
		w.up, w.down = lin(model.Up), lin(model.Down)
	}
	if !s.NoPreNorm && !a.Absent {
		w.attnNorm = normOf(m, name(model.AttnNorm))
	}
	if s.PostNorm {
		w.attnPost, w.ffnPost = normOf(m, name(model.AttnPost)), normOf(m, name(model.FFNPost))
	}
	if s.HasFFNNorm() && !a.Alone {
		w.ffnNorm = normOf(m, name(model.FFNNorm))
	}
	if !a.Alone {
		w.activation = activationOf(m, b)
	}
	if s.Layer.Width > 0 {
		w.layer = layerInput{lin(model.LayerIn), lin(model.LayerGate), lin(model.LayerOut), normOf(m, name(model.LayerPost))}
	}
	if s.AltUp.Streams > 0 {
		w.altUp = altUpOf(m, b)
	}
	if s.Laurel > 0 {
		w.laurel = laurel{lin(model.LaurelLeft), lin(model.LaurelRight), normOf(m, name(model.LaurelNorm))}
	}
	if s.OutScale {
		w.outScale = vector(m, name(model.OutScale))[0]
	}
	if !s.Ungated && w.up.w != nil {
		w.gate = lin(model.Gate)
	}
	return w
}

// activationOf returns the function of the feed-forward layer of block b of m. It may change gate.
func activationOf(m *model.Model, b int) func(dst, gate, up []float32) {
	switch c := m.Spec.Clamp; m.Spec.Activation {
	case model.XIELU:
		return XIELUOf(m, b).Mul
	case model.Clamped:
		return kernel.Clamped{Alpha: float32(c.Alpha), Limit: float32(c.Limit)}.Mul
	}
	act, share := activations[m.Spec.Activation], m.Spec.SparsityOf(b)
	if share == 0 {
		return act
	}
	cut := kernel.NormalQuantile(share)
	return func(dst, gate, up []float32) {
		kernel.CutGates(gate, cut)
		act(dst, gate, up)
	}
}

// takeAttention takes the attention of block b of m.
func (w *block) takeAttention(m *model.Model, b int) {
	s, a := m.Spec.Of(b), m.Spec.AttentionOf(b)
	w.headDim, w.kvHeads, w.scale = s.HeadDim, s.KVHeads, float32(s.ScoreScale())
	w.q, w.o, w.qNorm = linearOf(m, b, model.Q), linearOf(m, b, model.O), headNormOf(m, b, model.QNorm)
	if s.IsLatent() {
		w.latent, w.still = latentAttentionOf(m, b), s.KeyRows()
	}
	if s.Sinks {
		w.sinks = vector(m, model.Name(b, model.Sinks))
	}
	if s.AttnGate {
		w.attnGate = linearOf(m, b, model.AttnGate)
	}
	if a.Back > 0 {
		return // with the keys and values of another block
	}
	w.k, w.kNorm = linearOf(m, b, model.K), headNormOf(m, b, model.KNorm)
	if !a.KeyValues {
		w.v = linearOf(m, b, model.V)
	}
	if s.VNorm {
		w.vNorm = headNorm{gain: slices.Repeat([]float32{1}, s.HeadDim), width: s.HeadDim, bare: true}
	}
}

// linearOf returns a linear layer of block b of m.
func linearOf(m *model.Model, b int, kind string) linear {
	l := linear{w: m.Tensors[model.Name(b, kind)]}
	if m.Spec.Biased(kind) {
		l.bias = vector(m, model.Name(b, kind+model.BiasSuffix))
	}
	if scale := m.Spec.ScaleOf(kind); scale != 1 {
		l.scale = float32(scale)
	}
	return l
}

// linears returns the linear layers of w by kind, including those that the model
// lacks, which are zero.
func (w *block) linears() map[string]*linear {
	all := map[string]*linear{
		model.Q: &w.q, model.K: &w.k, model.V: &w.v, model.O: &w.o, model.Gate: &w.gate, model.Up: &w.up, model.Down: &w.down,
	}
	if w.experts != nil {
		w.experts.linears(all)
	}
	if w.layer.in.w != nil {
		all[model.LayerIn], all[model.LayerGate], all[model.LayerOut] = &w.layer.in, &w.layer.gate, &w.layer.out
	}
	if w.laurel.left.w != nil {
		all[model.LaurelLeft], all[model.LaurelRight] = &w.laurel.left, &w.laurel.right
	}
	w.altUp.linears(all)
	if w.attnGate.w != nil {
		all[model.AttnGate] = &w.attnGate
	}
	if w.latent != nil {
		w.latent.linears(all)
	}
	if w.delta != nil {
		w.delta.linears(all)
	}
	if w.scan != nil {
		w.scan.linears(all)
	}
	if w.conv != nil {
		all[model.ConvIn], all[model.ConvOut] = &w.conv.in, &w.conv.out
	}
	return all
}

// XIELUOf returns the activation of block b of a model with XIELU.
func XIELUOf(m *model.Model, b int) kernel.XIELU {
	var x [4]float32
	for i, kind := range model.XIELUKinds {
		x[i] = vector(m, model.Name(b, kind))[0]
	}
	return kernel.NewXIELU(x[0], x[1], x[2], x[3])
}
