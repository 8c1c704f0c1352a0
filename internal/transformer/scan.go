package transformer

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/transformer/recurrence"
)

// A stateSpace is a state space layer, which a block may have in place of attention or beside it;
// see model.ScanIn.
type stateSpace struct {
	*recurrence.Scan
	gate, in, step, out linear
}

func stateSpaceOf(m *model.Model, b int) *stateSpace {
	s := &m.Spec
	c := s.Scan
	vec := func(kind string) []float32 { return vector(m, model.Name(b, kind)) }
	v := recurrence.ScanVectors{Decay: vec(model.ScanDecay), Skip: vec(model.ScanSkip), DT: vec(model.ScanDT)}
	if c.Norm != model.ScanUnnormed {
		v.Norm = vec(model.ScanNorm)
	}
	var bias []float32
	if c.ConvBias {
		bias = vec(model.ScanConv + model.BiasSuffix)
	}
	conv := recurrence.NewCausalConv(vec(model.ScanConv), bias, s.AttentionOf(b).Scan)
	from := 0
	for _, part := range []struct {
		channels int
		scale    float64
	}{{c.Values(), s.Scales.ScanX}, {c.Groups * c.State, s.Scales.ScanB}, {c.Groups * c.State, s.Scales.ScanC}} {
		if part.scale != 0 {
			conv.Scale(from, from+part.channels, float32(part.scale))
		}
		from += part.channels
	}
	return &stateSpace{
		Scan: recurrence.NewScan(c, conv, v, s.NormEps),
		gate: linearOf(m, b, model.ScanGate), in: linearOf(m, b, model.ScanIn), step: linearOf(m, b, model.ScanStep), out: linearOf(m, b, model.ScanOut),
	}
}

func (w *stateSpace) linears(all map[string]*linear) {
	all[model.ScanGate], all[model.ScanIn], all[model.ScanStep], all[model.ScanOut] = &w.gate, &w.in, &w.step, &w.out
}

// A scanPass holds the activations of state space layers.
type scanPass struct {
	gate  rows // (positions, Values)
	in    rows // (positions, Mixed)
	step  rows // (positions, Heads)
	mixed rows // (positions, Values)
	out   rows // (positions, Hidden), y if no block has attention beside the state space
}

// newScanPass returns the activations for n positions, of which y receives what layers add.
func newScanPass(s *model.Spec, n int, y rows) *scanPass {
	c := s.Scan
	p := &scanPass{gate: newRows(n, c.Values()), in: newRows(n, c.Mixed()), step: newRows(n, c.Heads), mixed: newRows(n, c.Values()), out: y}
	for _, a := range s.Attention {
		if a.Beside {
			p.out = newRows(n, s.Hidden)
			break
		}
	}
	return p
}

func (p *scanPass) activations(name string) (rows, bool) {
	switch name {
	case model.ScanGate:
		return p.gate, true
	case model.ScanIn:
		return p.in, true
	case model.ScanStep:
		return p.step, true
	case model.ScanMixed:
		return p.mixed, true
	case model.ScanOut:
		return p.out, true
	}
	return rows{}, false
}

// scanOperations returns the operations between the norm and the residual, of which those of
// attention have run before if the block has it, too.
func scanOperations(input string, beside bool) []operation {
	inputs := list(model.ScanGate, model.ScanIn, model.ScanStep)
	all := []operation{
		{Operation{opScanIn, inputs, list(input), inputs}, func(p *pass, ctx context.Context, step int) error {
			w, c := p.block(step).scan, p.scan
			return p.d.apply(ctx, p.input(), product{c.gate, w.gate}, product{c.in, w.in}, product{c.step, w.step})
		}},
		{Operation{model.ScanMixed, nil, inputs, list(model.ScanMixed)}, (*pass).mixScan},
		{Operation{model.ScanOut, list(model.ScanOut), list(model.ScanMixed), list(model.ScanOut)}, func(p *pass, ctx context.Context, step int) error {
			return p.d.apply(ctx, p.scan.mixed, product{p.scan.out, p.block(step).scan.out})
		}},
	}
	if beside {
		all = append(all, operation{Operation{model.ScanSum, nil, list(model.O, model.ScanOut), list(model.ScanSum)}, func(p *pass, _ context.Context, _ int) error {
			p.y.add(p.scan.out)
			return nil
		}})
	}
	return all
}

// mixScan adds the inputs to the caches and computes mixed.
func (p *pass) mixScan(ctx context.Context, step int) error {
	w, c := p.block(step).scan, p.scan
	if err := p.recur(ctx, step, w, []rows{c.in, c.step}, c.mixed); err != nil {
		return err
	}
	for t := range c.mixed.n {
		w.Gate(c.mixed.row(t), c.gate.row(t))
	}
	return nil
}
