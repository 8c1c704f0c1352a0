package transformer

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/transformer/recurrence"
)

// A deltaRule is the gated delta rule, which a block may have in place of attention; see
// model.DeltaIn.
type deltaRule struct {
	*recurrence.Delta
	in, gate, a, b, out linear
}

func deltaRuleOf(m *model.Model, b int) *deltaRule {
	s := &m.Spec
	vec := func(kind string) []float32 { return vector(m, model.Name(b, kind)) }
	lin := func(kind string) linear { return linear{w: m.Tensors[model.Name(b, kind)]} }
	conv := recurrence.NewCausalConv(vec(model.DeltaConv), nil, s.AttentionOf(b).Delta)
	return &deltaRule{
		Delta: recurrence.NewDelta(s.Delta, conv, vec(model.DeltaDecay), vec(model.DeltaDT), vec(model.DeltaNorm), s.NormEps),
		in:    lin(model.DeltaIn), gate: lin(model.DeltaGate), a: lin(model.DeltaA), b: lin(model.DeltaB), out: lin(model.DeltaOut),
	}
}

func (w *deltaRule) linears(all map[string]*linear) {
	all[model.DeltaIn], all[model.DeltaGate], all[model.DeltaA], all[model.DeltaB], all[model.DeltaOut] = &w.in, &w.gate, &w.a, &w.b, &w.out
}

// A deltaPass holds the activations of the delta rule.
type deltaPass struct {
	in    rows // (positions, Mixed)
	gate  rows // (positions, Values)
	a, b  rows // (positions, ValueHeads)
	mixed rows // (positions, Values)
}

func newDeltaPass(s *model.Spec, n int) *deltaPass {
	d := s.Delta
	return &deltaPass{
		in: newRows(n, d.Mixed()), gate: newRows(n, d.Values()), a: newRows(n, d.ValueHeads), b: newRows(n, d.ValueHeads), mixed: newRows(n, d.Values()),
	}
}

func (p *deltaPass) activations(name string) (rows, bool) {
	switch name {
	case model.DeltaIn:
		return p.in, true
	case model.DeltaGate:
		return p.gate, true
	case model.DeltaA:
		return p.a, true
	case model.DeltaB:
		return p.b, true
	case model.DeltaMixed:
		return p.mixed, true
	}
	return rows{}, false
}

// deltaOperations returns the operations between the norm and the residual.
func deltaOperations(input string) []operation {
	inputs := list(model.DeltaIn, model.DeltaGate, model.DeltaA, model.DeltaB)
	return []operation{
		{Operation{opDeltaIn, inputs, list(input), inputs}, func(p *pass, ctx context.Context, step int) error {
			w := p.block(step).delta
			return p.d.apply(ctx, p.input(), product{p.delta.in, w.in}, product{p.delta.gate, w.gate}, product{p.delta.a, w.a}, product{p.delta.b, w.b})
		}},
		{Operation{model.DeltaMixed, nil, inputs, list(model.DeltaMixed)}, (*pass).mixDelta},
		{Operation{model.DeltaOut, list(model.DeltaOut), list(model.DeltaMixed), list(model.DeltaOut)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.delta.mixed, product{p.y, p.block(step).delta.out})
		}},
	}
}

// mixDelta adds the inputs to the caches and computes mixed.
func (p *pass) mixDelta(ctx context.Context, step int) error {
	w, d := p.block(step).delta, p.delta
	if err := p.recur(ctx, step, w, []rows{d.in, d.a, d.b}, d.mixed); err != nil {
		return err
	}
	for t := range d.mixed.n {
		w.Gate(d.mixed.row(t), d.gate.row(t))
	}
	return nil
}
