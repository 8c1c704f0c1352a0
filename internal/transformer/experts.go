package transformer

import (
	"context"
	"slices"
	"strings"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/routing"
)

// A mixture holds the experts of one block.
type mixture struct {
	router     linear        // (Count, Hidden)
	bias       []float32     // (Count), or nil unless Selects
	experts    []feedForward // (Count)
	shared     feedForward   // zero without a shared expert
	sharedGate []float32     // (Hidden), or nil
}

// A feedForward is Down (act(Gate x) * Up x).
type feedForward struct{ gate, up, down linear }

func mixtureOf(m *model.Model, b int) *mixture {
	e := &m.Spec.Experts
	matrix := func(kind string) linear { return linearOf(m, b, kind) }
	w := &mixture{router: matrix(model.Router)}
	if e.Selects {
		w.bias = vector(m, model.Name(b, model.RouterBias))
	}
	of := func(name func(kind string) string) feedForward {
		return feedForward{matrix(name(model.Gate)), matrix(name(model.Up)), matrix(name(model.Down))}
	}
	for i := range e.Count {
		w.experts = append(w.experts, of(func(kind string) string { return model.Expert(i, kind) }))
	}
	if e.Shared > 0 {
		w.shared = of(model.Shared)
	}
	if e.SharedGate {
		w.sharedGate = vector(m, model.Name(b, model.SharedGate))
	}
	return w
}

// linears adds the linear layers of w by kind.
func (w *mixture) linears(all map[string]*linear) {
	add := func(f *feedForward, name func(kind string) string) {
		all[name(model.Gate)], all[name(model.Up)], all[name(model.Down)] = &f.gate, &f.up, &f.down
	}
	for i := range w.experts {
		add(&w.experts[i], func(kind string) string { return model.Expert(i, kind) })
	}
	if w.shared.up.w != nil {
		add(&w.shared, model.Shared)
	}
}

// An expertPass holds the activations of experts, of one at a time.
type expertPass struct {
	logits, weights rows  // (positions, Count): the router's output, and the experts' weights, mostly 0
	at              []int // by position, its row in the rows below, or -1
	in, gate, up, y rows  // of the positions at which the expert computes
	whole           [4]rows
	none            []float32 // zeros, for the other positions

	sharedGate, sharedUp rows // (positions, Shared)
	router               *routing.Router
}

func newExpertPass(s *model.Spec, n int) *expertPass {
	e := &s.Experts
	p := &expertPass{
		logits: newRows(n, e.Count), weights: newRows(n, e.Count), at: make([]int, n),
		whole: [4]rows{newRows(n, s.Hidden), newRows(n, e.FFN), newRows(n, e.FFN), newRows(n, s.Hidden)},
		none:  make([]float32, max(s.Hidden, e.FFN)), router: routing.New(e),
	}
	p.take(0)
	if e.Shared > 0 {
		p.sharedGate, p.sharedUp = newRows(n, e.Shared), newRows(n, e.Shared)
	}
	return p
}

// take makes the rows of the current expert n.
func (p *expertPass) take(n int) {
	for i, x := range []*rows{&p.in, &p.gate, &p.up, &p.y} {
		*x = p.whole[i].slice(0, n)
	}
}

// activations returns the rows that hold the activations called name.
func (p *expertPass) activations(name string) (x rows, ok bool) {
	_, kind, ok := model.SplitExpert(name)
	switch {
	case name == model.Router:
		return p.logits, true
	case name == model.Routing:
		return p.weights, true
	case name == model.Shared(model.Gate) || name == model.Shared(model.Activated):
		return p.sharedGate, true
	case name == model.Shared(model.Up):
		return p.sharedUp, true
	case name == model.Shared(model.Down):
		return p.whole[3], true
	case !ok:
		return rows{}, false
	}
	switch kind {
	case model.Input:
		return p.in, true
	case model.Gate, model.Activated:
		return p.gate, true
	case model.Up:
		return p.up, true
	}
	return p.y, true
}

// rowAt returns the row of x, activations of the current expert, at a position: zeros
// if the expert does not compute there.
func (p *expertPass) rowAt(x rows, position int) []float32 {
	if r := p.at[position]; r >= 0 && r < x.n {
		return x.row(r)
	}
	return p.none[:x.width]
}

// expertOperations returns the operations of a mixture of experts whose input is called
// input.
func expertOperations(s *model.Spec, input string) (all []operation) {
	add := func(name string, layers, reads, writes []string, run func(*pass, context.Context, int) error) {
		all = append(all, operation{Operation{name, layers, reads, writes}, run})
	}
	add(model.Router, nil, list(input), list(model.Router), (*pass).projectRouter)
	add(model.Routing, nil, list(model.Router), list(model.Routing), (*pass).route)
	for e := range s.Experts.Count {
		of := func(kind string) string { return model.Expert(e, kind) }
		mine := func(w *block) *feedForward { return &w.experts.experts[e] }
		add(of(model.Input), nil, list(input, model.Routing), list(of(model.Input)), func(p *pass, _ context.Context, _ int) error {
			return p.gather(e)
		})
		add(of(opGateUp), list(of(model.Gate), of(model.Up)), list(of(model.Input)), list(of(model.Gate), of(model.Up)), func(p *pass, ctx context.Context, step int) error {
			w, x := mine(p.block(step)), p.experts
			return p.d.applySome(ctx, x.in, product{x.gate, w.gate}, product{x.up, w.up})
		})
		add(of(model.Activated), nil, list(of(model.Gate), of(model.Up)), list(of(model.Activated)), func(p *pass, _ context.Context, step int) error {
			p.d.activate(p.block(step).activation, p.experts.gate, p.experts.up)
			return nil
		})
		add(of(model.Down), list(of(model.Down)), list(of(model.Activated)), list(of(model.Down)), func(p *pass, ctx context.Context, step int) error {
			return p.d.applySome(ctx, p.experts.gate, product{p.experts.y, mine(p.block(step)).down})
		})
		add(of(model.Mixed), nil, list(of(model.Down), model.Routing, model.Mixed), list(model.Mixed), func(p *pass, _ context.Context, _ int) error {
			return p.mix(e)
		})
	}
	if s.Experts.Shared == 0 {
		return all
	}
	of := model.Shared
	add(of(opGateUp), list(of(model.Gate), of(model.Up)), list(input), list(of(model.Gate), of(model.Up)), func(p *pass, ctx context.Context, step int) error {
		w, x := &p.block(step).experts.shared, p.experts
		return p.d.apply(ctx, p.ffnInput(), product{x.sharedGate, w.gate}, product{x.sharedUp, w.up})
	})
	add(of(model.Activated), nil, list(of(model.Gate), of(model.Up)), list(of(model.Activated)), func(p *pass, _ context.Context, step int) error {
		p.d.activate(p.block(step).activation, p.experts.sharedGate, p.experts.sharedUp)
		return nil
	})
	add(of(model.Down), list(of(model.Down)), list(of(model.Activated)), list(of(model.Down)), func(p *pass, ctx context.Context, step int) error {
		return p.d.apply(ctx, p.experts.sharedGate, product{p.experts.whole[3], p.block(step).experts.shared.down})
	})
	add(of(model.Mixed), nil, list(of(model.Down), input, model.Mixed), list(model.Mixed), (*pass).addShared)
	return all
}

// placeOf returns numbers that order operations: those of experts by expert.
func placeOf(name string) []int {
	within := []string{model.Input, opGateUp, model.Activated, model.Down, model.Mixed}
	if e, kind, ok := model.SplitExpert(name); ok {
		return []int{slices.Index(operationOrder, opExpert), e, slices.Index(within, kind)}
	}
	if kind, ok := strings.CutPrefix(name, opShared+"."); ok {
		return []int{slices.Index(operationOrder, opShared), slices.Index(within, kind)}
	}
	return []int{slices.Index(operationOrder, name)}
}

// applySome is apply for rows that may be none.
func (d *Decoder) applySome(ctx context.Context, x rows, ps ...product) error {
	if x.n == 0 {
		return nil
	}
	return d.apply(ctx, x, ps...)
}

// projectRouter computes the logits of the experts.
func (p *pass) projectRouter(ctx context.Context, step int) error {
	return p.d.apply(ctx, p.ffnInput(), product{p.experts.logits, p.block(step).experts.router})
}

// route computes the weights of the experts, and empties the sum of their outputs.
func (p *pass) route(_ context.Context, step int) error {
	bias := p.block(step).experts.bias
	for t := range p.x.n {
		clear(p.y.row(t))
		p.experts.router.Weigh(p.experts.weights.row(t), p.experts.logits.row(t), bias)
	}
	return nil
}

// gather copies the input of expert e, from the positions at which it computes.
func (p *pass) gather(e int) error {
	x, n := p.experts, 0
	for t := range p.x.n {
		x.at[t] = -1
		if x.weights.row(t)[e] != 0 {
			x.at[t] = n
			n++
		}
	}
	x.take(n)
	for t, r := range x.at {
		if r >= 0 {
			copy(x.in.row(r), p.ffnInput().row(t))
		}
	}
	return nil
}

// mix adds the weighted output of expert e.
func (p *pass) mix(e int) error {
	x := p.experts
	for t, r := range x.at {
		if r < 0 {
			continue
		}
		y, weight := p.y.row(t), x.weights.row(t)[e]
		for i, v := range x.y.row(r) {
			y[i] += float32(v * weight)
		}
	}
	return nil
}

// addShared adds the output of the shared expert.
func (p *pass) addShared(_ context.Context, step int) error {
	gate := p.block(step).experts.sharedGate
	for t := range p.x.n {
		out := p.experts.whole[3].row(t)
		if gate != nil {
			multiply(out, routing.Sigmoid(kernel.Dot(p.ffnInput().row(t), gate)))
		}
		kernel.Add(p.y.row(t), out)
	}
	return nil
}
