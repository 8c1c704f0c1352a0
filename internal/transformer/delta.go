package transformer

import (
	"context"
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A deltaRule is the gated delta rule, which a block may have in place of attention; see
// model.DeltaIn.
type deltaRule struct {
	model.Delta
	in, gate, a, b, out linear
	causalConv                    // of Mixed channels
	decay               []float64 // (ValueHeads), exp(DeltaDecay)
	dt                  []float64 // (ValueHeads)
	gain                []float32 // (ValueDim)
}

func deltaRuleOf(m *model.Model, b int) *deltaRule {
	s := &m.Spec
	name := func(kind string) string { return model.Name(b, kind) }
	lin := func(kind string) linear { return linear{w: m.Tensors[name(kind)]} }
	w := &deltaRule{
		Delta: s.Delta, in: lin(model.DeltaIn), gate: lin(model.DeltaGate), a: lin(model.DeltaA), b: lin(model.DeltaB), out: lin(model.DeltaOut),
		causalConv: newCausalConv(vector(m, name(model.DeltaConv)), s.AttentionOf(b).Delta), gain: vector(m, name(model.DeltaNorm)),
	}
	for _, x := range vector(m, name(model.DeltaDecay)) {
		w.decay = append(w.decay, kernel.Exp64(float64(x)))
	}
	for _, x := range vector(m, name(model.DeltaDT)) {
		w.dt = append(w.dt, float64(x))
	}
	return w
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

	convolved []float32 // (positions, Mixed): q, k and v
	ones      []float32 // (Mixed)
}

func newDeltaPass(s *model.Spec, n int) *deltaPass {
	d := s.Delta
	return &deltaPass{
		in: newRows(n, d.Mixed()), gate: newRows(n, d.Values()), a: newRows(n, d.ValueHeads), b: newRows(n, d.ValueHeads), mixed: newRows(n, d.Values()),
		ones: slices.Repeat([]float32{1}, d.Mixed()),
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

// A deltaState is the state of the delta rule after the first n positions. A cache keeps the
// inputs of all positions, so the state of any number of them can be computed again: after
// positions were discarded, the next pass does so.
type deltaState struct {
	n int
	s []float32 // (ValueHeads, ValueDim, KeyDim)
}

// mixDelta adds the inputs to the caches and computes mixed.
func (p *pass) mixDelta(ctx context.Context, step int) error {
	w, at := p.block(step).delta, 0
	width := w.Inputs()
	for _, q := range p.sequences {
		e, first := q.cache.entry(step), q.cache.used
		inputs := e.inputsOf(first + q.n)
		for t := range q.n {
			x := inputs[(first+t)*width:][:width]
			copy(x, p.delta.in.row(at+t))
			copy(x[w.Mixed():], p.delta.a.row(at+t))
			copy(x[w.Mixed()+w.ValueHeads:], p.delta.b.row(at+t))
		}
		if size := w.Values() * w.KeyDim; len(e.state.s) != size {
			e.state = deltaState{s: make([]float32, size)}
		}
		if e.state.n > first || first == 0 {
			e.state.n = 0
			clear(e.state.s)
		}
		if err := p.advance(ctx, w, &e.state, inputs, p.delta.mixed.slice(at, q.n)); err != nil {
			e.state = deltaState{}
			return err
		}
		at += q.n
	}
	p.gateDelta(w)
	return nil
}

// advance moves a state on to the last of the inputs, (positions, Inputs), and
// writes S q of the last positions to mixed.
func (p *pass) advance(ctx context.Context, w *deltaRule, state *deltaState, inputs []float32, mixed rows) error {
	width, channels := w.Inputs(), w.Mixed()
	from, to := state.n, len(inputs)/width
	p.delta.convolved = sized(p.delta.convolved, (to-from)*channels)
	convolved := p.delta.convolved[:(to-from)*channels]
	one := func(t int) { w.convolve(convolved[(t-from)*channels:][:channels], inputs, t, p.delta.ones) }
	head := func(h int) {
		for t := from; t < to; t++ {
			var out []float32
			if r := t - (to - mixed.n); r >= 0 {
				out = mixed.row(r)[h*w.ValueDim:][:w.ValueDim]
			}
			gates := inputs[t*width+channels:]
			w.update(state.s[h*w.ValueDim*w.KeyDim:][:w.ValueDim*w.KeyDim], convolved[(t-from)*channels:][:channels], h, gates[h], gates[w.ValueHeads+h], out)
		}
	}
	state.n = to
	if to-from == 1 { // allocates nothing
		one(from)
		for h := range w.ValueHeads {
			head(h)
		}
		return nil
	}
	p.d.ranges(to-from, func(lo, hi int) {
		for t := lo; t < hi; t++ {
			one(from + t)
		}
	})
	return parallel.Ranges(ctx, w.ValueHeads, 1, func(_, lo, hi int) error {
		for h := lo; h < hi; h++ {
			head(h)
		}
		return nil
	})
}

// convolve computes q, k and v of position t: SiLU of the convolution, and each head of q and k
// with length 1, q also divided by sqrt(KeyDim).
func (w *deltaRule) convolve(dst, inputs []float32, t int, ones []float32) {
	w.causalConv.at(dst, inputs, w.Inputs(), t)
	kernel.SiLUMul(dst, dst, ones)
	for h := range 2 * w.KeyHeads {
		head, scale := dst[h*w.KeyDim:][:w.KeyDim], 1.0
		if h < w.KeyHeads {
			scale = 1 / math.Sqrt(float64(w.KeyDim))
		}
		sum := 0.0
		for _, x := range head {
			sum += float64(float64(x) * float64(x))
		}
		scale /= math.Sqrt(sum + 1e-6)
		for i, x := range head {
			head[i] = float32(float64(x) * scale)
		}
	}
}

// update moves the state s of head h on by one position. a and b are the outputs of DeltaA and
// DeltaB. Unless out is nil, it sets out to S q.
func (w *deltaRule) update(s, qkv []float32, h int, a, b float32, out []float32) {
	of := h / (w.ValueHeads / w.KeyHeads)
	q, k := qkv[of*w.KeyDim:][:w.KeyDim], qkv[(w.KeyHeads+of)*w.KeyDim:][:w.KeyDim]
	v := qkv[2*w.KeyHeads*w.KeyDim+h*w.ValueDim:][:w.ValueDim]
	decay := float32(kernel.Exp64(-w.decay[h] * softplus(float64(a)+w.dt[h])))
	rate := float32(1 / (1 + kernel.Exp64(-float64(b))))
	for j := range w.ValueDim {
		row := s[j*w.KeyDim:][:w.KeyDim]
		multiply(row, decay)
		delta := (v[j] - kernel.Dot(row, k)) * rate
		for i, x := range k {
			row[i] += float32(x * delta)
		}
		if out != nil {
			out[j] = kernel.Dot(row, q)
		}
	}
}

// softplus returns log(1 + exp(x)). Like torch it returns x where that is larger than 20.
func softplus(x float64) float64 {
	if x > 20 {
		return x
	}
	return kernel.Log64(1 + kernel.Exp64(x))
}

// gateDelta normalizes each head of mixed and multiplies it by its gate.
func (p *pass) gateDelta(w *deltaRule) {
	eps := float32(p.d.spec.NormEps)
	for t := range p.delta.mixed.n {
		x, gate := p.delta.mixed.row(t), p.delta.gate.row(t)
		for h := range w.ValueHeads {
			head := x[h*w.ValueDim:][:w.ValueDim]
			kernel.RMSNorm(head, head, w.gain, eps)
		}
		kernel.SiLUMul(x, gate, x)
	}
}
