package transformer

import (
	"context"
	"slices"

	"thimble/internal/model"
)

// An Operation is one of the operations that make up a step. It reads some
// activations and writes others. Activations have the name of the tensor that
// produced them, such as model.Q, or one such as model.QRope if no tensor did.
type Operation struct {
	Name          string
	Layers        []string // the linear layers that it applies, such as model.Q; nil if it applies none
	Reads, Writes []string
}

// Names of the operations that write more than one activation. The others have
// the name of what they write.
const (
	opQKV       = "qkv"
	opLatents   = "latents"
	opKV        = "kv"
	opDeltaIn   = "delta_inputs"
	opScanIn    = "scan_inputs"
	opQKNorm    = "qk_norm"
	opRope      = "rope"
	opQKRotated = "qk_norm_rotated"
	opGateUp    = "gate_up"

	opExpert = "experts" // any operation of an expert, in the order of experts
	opShared = "shared"  // any operation of the shared expert

	opAltUpIn = "altup_in"
	opStreams = "streams"

	opLatentNorm = "latent_norm"

	opTwoNorms = "two_norms" // the feed-forward layer's norm, before attention adds to the stream
)

// operationOrder lists every Operation that a step of any model may have, in the
// order in which all models run them.
var operationOrder = slices.Concat([]string{
	model.EmbedNorm, opAltUpIn, opStreams, model.AltUpNorm, model.AltUpRouter, model.AltUpRoute, model.AltUpPredict, model.AltUpPredicted, model.AttnNorm, opTwoNorms, opLatents, opLatentNorm, model.Q, opQKV, opKV, opQKNorm, model.VNorm, opRope, opQKRotated, model.Attended, model.AttnGated, model.O, model.ConvIn, model.Conv, model.ConvOut, opDeltaIn, model.DeltaMixed, model.DeltaOut, opScanIn, model.ScanMixed, model.ScanOut, model.ScanSum, model.AttnPost, model.AttnResidual, model.LaurelLeft, model.LaurelRight, model.LaurelNorm, model.LaurelSum,
	model.FFNNorm, opGateUp, model.Activated, model.Down, model.Router, model.Routing, opExpert, opShared, model.FFNPost, model.FFNSum,
	model.Again(model.AltUpNorm), model.Again(model.AltUpRouter), model.Again(model.AltUpRoute), model.AltUpCorrect, model.AltUpCorrected, model.AltUpScale,
	model.LayerIn, model.LayerInner, model.LayerGate, model.LayerMixed, model.LayerOut, model.LayerPost, model.FFNResidual,
}, mostStreams.OtherStreams(model.AltUpOut), []string{model.AltUpMerged, model.Norm})

var mostStreams = &model.Spec{AltUp: model.AltUp{Streams: model.MaxStreams}}

type operation struct {
	Operation
	run func(p *pass, ctx context.Context, step int) error
}

// operationsOf returns the operations of each step of a model, in order.
func operationsOf(s *model.Spec) [][]operation {
	all := make([][]operation, len(s.Schedule))
	blocks := make([][]operation, s.Blocks)
	for step, b := range s.Schedule {
		if blocks[b] == nil {
			blocks[b] = operationsOfBlock(s, b)
		}
		all[step] = blocks[b]
	}
	if s.AltUp.Streams > 0 {
		last := len(all) - 1
		all[0] = slices.Concat(startStreams(s), all[0])
		all[last] = slices.Concat(all[last], mergeStreams(s))
	}
	if s.EmbedNorm {
		all[0] = slices.Concat([]operation{embedNorm}, all[0])
	}
	return all
}

// embedNorm is the operation that precedes the first step, and counts as part of it.
var embedNorm = operation{Operation{model.EmbedNorm, nil, list(model.FFNResidual), list(model.EmbedNorm)}, func(p *pass, _ context.Context, _ int) error {
	p.d.normalize(p.x, p.x, p.d.embedNorm)
	return nil
}}

// operationsOfBlock returns the operations of a step that runs a block of s.
func operationsOfBlock(s *model.Spec, b int) (all []operation) {
	add := func(name string, layers, reads, writes []string, run func(*pass, context.Context, int) error) {
		all = append(all, operation{Operation{name, layers, reads, writes}, run})
	}
	addNorm := func(kind, reads string, run func(p *pass, w *block) error) {
		add(kind, nil, list(reads), list(kind), func(p *pass, _ context.Context, step int) error { return run(p, p.block(step)) })
	}
	if a := s.AttentionOf(b); a.Alone || a.Absent {
		return singleOperations(s, b)
	}
	if s.AltUp.Streams > 0 {
		all = append(all, predictOperations(s)...)
	}
	attnInput, ffnInput := model.AttnNorm, model.AttnNorm
	if s.NoPreNorm {
		attnInput, ffnInput = model.FFNResidual, model.AttnResidual
	} else {
		addNorm(model.AttnNorm, model.FFNResidual, func(p *pass, w *block) error { return p.normalizeStream(p.h, w.attnNorm) })
	}
	if s.TwoNorms {
		add(opTwoNorms, nil, list(model.FFNResidual), list(model.FFNNorm), func(p *pass, _ context.Context, step int) error {
			return p.normalizeStream(p.h2, p.block(step).ffnNorm)
		})
	}
	mixer, added := mixerOperations(s, b, attnInput)
	all = append(all, mixer...)
	if s.PostNorm {
		added = model.AttnPost
		addNorm(added, model.O, func(p *pass, w *block) error { return p.normalizeLayer(w.attnPost) })
	}
	add(model.AttnResidual, nil, list(model.FFNResidual, added), list(model.AttnResidual), (*pass).addLayer)
	stream := model.AttnResidual
	if s.Laurel > 0 {
		all = append(all, laurelOperations()...)
		stream = model.LaurelSum
	}
	if s.HasFFNNorm() {
		ffnInput = model.FFNNorm
	}
	if s.HasFFNNorm() && !s.TwoNorms {
		addNorm(ffnInput, stream, func(p *pass, w *block) error { return p.normalizeStream(p.h, w.ffnNorm) })
	}
	layer := model.Down
	if s.HasExperts(b) {
		all = append(all, expertOperations(s, ffnInput)...)
		layer = model.Mixed
	} else {
		all = append(all, ffnOperations(s, ffnInput)...)
	}
	added = layer
	if s.PostNorm {
		added = model.FFNPost
		addNorm(added, layer, func(p *pass, w *block) error { return p.normalizeLayer(w.ffnPost) })
	}
	return append(all, endOperations(s, stream, added)...)
}

// singleOperations returns the operations of a block that has only one layer.
func singleOperations(s *model.Spec, b int) []operation {
	kind, of := model.AttnNorm, func(w *block) norm { return w.attnNorm }
	if s.AttentionOf(b).Absent {
		kind, of = model.FFNNorm, func(w *block) norm { return w.ffnNorm }
	}
	all := []operation{{Operation{kind, nil, list(model.FFNResidual), list(kind)}, func(p *pass, _ context.Context, step int) error {
		return p.normalizeStream(p.h, of(p.block(step)))
	}}}
	layer, added := ffnOperations(s, kind), model.Down
	if kind == model.AttnNorm {
		layer, added = mixerOperations(s, b, kind)
	}
	return slices.Concat(all, layer, endOperations(s, model.FFNResidual, added))
}

// mixerOperations returns the operations of a block's attention, or of what it has instead or
// beside it, and what the block then adds to the stream.
func mixerOperations(s *model.Spec, b int, input string) (all []operation, added string) {
	a := s.AttentionOf(b)
	switch {
	case a.Conv > 0:
		return convOperations(input), model.ConvOut
	case a.Delta > 0:
		return deltaOperations(input), model.DeltaOut
	case a.Scan > 0 && a.Beside:
		return append(attentionOperations(s, b, input), scanOperations(input, true)...), model.ScanSum
	case a.Scan > 0:
		return scanOperations(input, false), model.ScanOut
	}
	return attentionOperations(s, b, input), model.O
}

// ffnOperations returns the operations of a feed-forward layer without experts.
func ffnOperations(s *model.Spec, input string) []operation {
	gateUp := list(model.Gate, model.Up)
	if s.Ungated {
		gateUp = list(model.Up)
	}
	return []operation{
		{Operation{opGateUp, gateUp, list(input), gateUp}, (*pass).projectGateUp},
		{Operation{model.Activated, nil, gateUp, list(model.Activated)}, (*pass).activate},
		{Operation{model.Down, list(model.Down), list(model.Activated), list(model.Down)}, (*pass).projectDown},
	}
}

// endOperations returns the operations that add the output of the feed-forward layer, called
// added, to the stream, and those up to the end of the block.
func endOperations(s *model.Spec, stream, added string) (all []operation) {
	add := func(name string, reads, writes []string, run func(*pass, context.Context, int) error) {
		all = append(all, operation{Operation{name, nil, reads, writes}, run})
	}
	if s.Layer.Width > 0 {
		add(model.FFNSum, list(stream, added), list(model.FFNSum), (*pass).addLayer)
		stream, added = model.FFNSum, model.LayerPost
		read := stream
		if s.AltUp.Streams > 0 {
			all = append(all, correctOperations(s)...)
			stream = model.AltUpCorrected
			if read = stream; s.AltUp.Scaled {
				read = model.AltUpScale
			}
		}
		all = append(all, layerOperations(s, read)...)
	}
	streams := s.OtherStreams(model.Stream)
	add(model.FFNResidual, slices.Concat(list(stream, added), streams), slices.Concat(list(model.FFNResidual), streams), (*pass).endBlock)
	return all
}

// attentionOperations returns the operations of attention, whose input is called input.
func attentionOperations(s *model.Spec, b int, input string) (all []operation) {
	add := func(name string, layers, reads, writes []string, run func(*pass, context.Context, int) error) {
		all = append(all, operation{Operation{name, layers, reads, writes}, run})
	}
	if s.IsLatent() {
		return latentOperations(s, input)
	}
	q, k, v, a := model.Q, model.K, model.V, s.AttentionOf(b)
	if a.Back > 0 {
		return queryOperations(s, input)
	}
	layers, writes := list(q, k, v), list(q, k, v)
	if a.KeyValues {
		layers = list(q, k)
	}
	if s.AttnGate {
		layers, writes = append(layers, model.AttnGate), append(writes, model.AttnGate)
	}
	add(opQKV, layers, list(input), writes, (*pass).projectQKV)
	if s.QKNorm != model.QKNone && !s.QKRotated {
		add(opQKNorm, nil, list(q, k), list(model.QNorm, model.KNorm), (*pass).normalizeHeads)
		q, k = model.QNorm, model.KNorm
	}
	if s.VNorm {
		add(model.VNorm, nil, list(v), list(model.VNorm), (*pass).normalizeValues)
		v = model.VNorm
	}
	add(opRope, nil, list(q, k), list(model.QRope, model.KRope), (*pass).rotate)
	q, k = model.QRope, model.KRope
	if s.QKRotated {
		add(opQKRotated, nil, list(q, k), list(model.QNorm, model.KNorm), (*pass).normalizeHeads)
		q, k = model.QNorm, model.KNorm
	}
	return append(all, outputOperations(s, q, k, v)...)
}

// queryOperations returns the operations of attention to keys and values that an earlier block
// computed.
func queryOperations(s *model.Spec, input string) (all []operation) {
	add := func(name string, layers, reads, writes []string, run func(*pass, context.Context, int) error) {
		all = append(all, operation{Operation{name, layers, reads, writes}, run})
	}
	q, k, v := model.Q, model.KRope, model.V
	projections := list(q)
	if s.AttnGate {
		projections = append(projections, model.AttnGate)
	}
	add(opQKV, projections, list(input), projections, (*pass).projectQKV)
	if s.QKNorm != model.QKNone && !s.QKRotated {
		add(opQKNorm, nil, list(q), list(model.QNorm), (*pass).normalizeHeads)
		q = model.QNorm
	}
	add(opRope, nil, list(q), list(model.QRope), (*pass).rotate)
	q = model.QRope
	if s.QKRotated {
		add(opQKRotated, nil, list(q), list(model.QNorm), (*pass).normalizeHeads)
		q, k = model.QNorm, model.KNorm
	}
	if s.VNorm {
		v = model.VNorm
	}
	return append(all, outputOperations(s, q, k, v)...)
}

// outputOperations returns the operations of attention of queries to keys and values, which
// have these names.
func outputOperations(s *model.Spec, q, k, v string) (all []operation) {
	add := func(name string, layers, reads, writes []string, run func(*pass, context.Context, int) error) {
		all = append(all, operation{Operation{name, layers, reads, writes}, run})
	}
	attended := model.Attended
	add(attended, nil, list(q, k, v), list(attended), (*pass).attend)
	if s.AttnGate {
		attended = model.AttnGated
		add(attended, nil, list(model.Attended, model.AttnGate), list(attended), (*pass).gateAttention)
	}
	add(model.O, list(model.O), list(attended), list(model.O), (*pass).projectOutput)
	return all
}

// finalNorm is the operation after the last step.
var finalNorm = operation{Operation{model.Norm, nil, list(model.FFNResidual), list(model.Norm)}, func(p *pass, _ context.Context, _ int) error {
	p.d.normalize(p.x, p.x, p.d.norm)
	return nil
}}

func list(names ...string) []string { return names }

// activations returns the rows that hold the activations called name, from the
// operation that writes them until their memory is reused.
func (p *pass) activations(name string) rows {
	if x, ok := p.latent.activations(name); ok {
		return x
	}
	switch name {
	case model.AttnNorm, model.AltUpNorm, model.Again(model.AltUpNorm), model.AltUpScale:
		return p.h
	case model.LaurelLeft:
		return p.laurel
	case model.FFNNorm:
		return p.ffnInput()
	case model.Q, model.QNorm, model.QRope, model.Attended, model.AttnGated:
		return p.q
	case model.K, model.KNorm, model.KRope:
		return p.k
	case model.V, model.VNorm:
		return p.v
	case model.Embed:
		return p.layer.embedded
	case model.LayerIn, model.LayerInner:
		return p.layer.inner
	case model.LayerGate, model.LayerMixed:
		return p.layer.gated
	case model.LayerOut, model.LayerPost, model.LaurelRight, model.LaurelNorm:
		return p.y
	case model.O, model.AttnPost, model.Down, model.FFNPost, model.Mixed, model.ConvOut, model.DeltaOut, model.ScanSum:
		return p.y
	case model.ConvIn:
		return p.conv
	case model.Conv:
		return p.convolved
	case model.AttnGate:
		return p.attnGate
	case model.Gate, model.Activated:
		return p.gate
	case model.Up:
		return p.up
	}
	if p.altUp != nil {
		if x, ok := p.altUp.activations(name); ok {
			return x
		}
	}
	if p.delta != nil {
		if x, ok := p.delta.activations(name); ok {
			return x
		}
	}
	if p.scan != nil {
		if x, ok := p.scan.activations(name); ok {
			return x
		}
	}
	if p.experts != nil {
		if x, ok := p.experts.activations(name); ok {
			return x
		}
	}
	return p.x
}
