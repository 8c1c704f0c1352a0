package transformer

import (
	"context"

	"thimble/internal/model"
)

// An Operation is one of those that every step is made of. It reads some
// activations and writes others, which go by the name of the tensor that made
// them, model.Q and so on, or by model.QRope and the like where no tensor did.
type Operation struct {
	Name          string
	Layers        []string // the linear layers that it is, model.Q and so on; nil if it is none
	Reads, Writes []string
}

// names of the operations that write several.
const (
	projections = "qkv"
	headNorms   = "qk_norm"
	rotation    = "rope"
	feeding     = "gate_up"
)

// operationOrder lists every Operation that a step of any model may have.
var operationOrder = []string{
	model.AttnNorm, projections, headNorms, rotation, model.Attended, model.O, model.AttnPost, model.AttnResidual,
	model.FFNNorm, feeding, model.Activated, model.Down, model.FFNPost, model.FFNResidual, model.Norm,
}

type operation struct {
	Operation
	run func(p *pass, ctx context.Context, step int) error
}

// operationsOf lists what each step of a model does, in order.
func operationsOf(s *model.Spec) (all []operation) {
	add := func(name string, layers, reads, writes []string, run func(*pass, context.Context, int) error) {
		all = append(all, operation{Operation{name, layers, reads, writes}, run})
	}
	normal := func(kind, reads string, run func(p *pass, w *block) error) {
		add(kind, nil, list(reads), list(kind), func(p *pass, _ context.Context, step int) error { return run(p, p.block(step)) })
	}
	q, k, into := model.Q, model.K, list(model.Gate, model.Up)
	if s.Ungated {
		into = list(model.Up)
	}
	normal(model.AttnNorm, model.FFNResidual, func(p *pass, w *block) error { return p.normalizeStream(w.attnNorm) })
	add(projections, list(q, k, model.V), list(model.AttnNorm), list(q, k, model.V), (*pass).project)
	if s.QKNorm != model.QKNone {
		add(headNorms, nil, list(q, k), list(model.QNorm, model.KNorm), (*pass).normalizeHeads)
		q, k = model.QNorm, model.KNorm
	}
	add(rotation, nil, list(q, k), list(model.QRope, model.KRope), (*pass).rotate)
	add(model.Attended, nil, list(model.QRope, model.KRope, model.V), list(model.Attended), (*pass).attend)
	add(model.O, list(model.O), list(model.Attended), list(model.O), (*pass).leaveAttention)
	added, feed := model.O, model.AttnNorm
	if s.PostNorm {
		added = model.AttnPost
		normal(added, model.O, func(p *pass, w *block) error { return p.normalizeLayer(w.attnPost) })
	}
	add(model.AttnResidual, nil, list(model.FFNResidual, added), list(model.AttnResidual), (*pass).addLayer)
	if !s.Parallel {
		feed = model.FFNNorm
		normal(feed, model.AttnResidual, func(p *pass, w *block) error { return p.normalizeStream(w.ffnNorm) })
	}
	add(feeding, into, list(feed), into, (*pass).feed)
	add(model.Activated, nil, into, list(model.Activated), (*pass).activate)
	add(model.Down, list(model.Down), list(model.Activated), list(model.Down), (*pass).leaveFeed)
	added = model.Down
	if s.PostNorm {
		added = model.FFNPost
		normal(added, model.Down, func(p *pass, w *block) error { return p.normalizeLayer(w.ffnPost) })
	}
	add(model.FFNResidual, nil, list(model.AttnResidual, added), list(model.FFNResidual), (*pass).addLayer)
	return all
}

// finalNorm is what comes behind the last step.
var finalNorm = operation{Operation{model.Norm, nil, list(model.FFNResidual), list(model.Norm)}, func(p *pass, _ context.Context, _ int) error {
	p.d.normalize(p.x, p.x, p.d.norm)
	return nil
}}

func list(names ...string) []string { return names }

// activations returns the rows that are called name while they are there.
func (p *pass) activations(name string) rows {
	switch name {
	case model.AttnNorm, model.FFNNorm:
		return p.h
	case model.Q, model.QNorm, model.QRope, model.Attended:
		return p.q
	case model.K, model.KNorm, model.KRope:
		return p.k
	case model.V:
		return p.v
	case model.O, model.AttnPost, model.Down, model.FFNPost:
		return p.y
	case model.Gate, model.Activated:
		return p.gate
	case model.Up:
		return p.up
	}
	return p.x
}
