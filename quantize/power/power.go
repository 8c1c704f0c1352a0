// Package power estimates the input of every layer of a model without texts.
package power

import (
	"cmp"
	"context"
	"slices"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/quantize/rounding"
)

// A powers estimates the mean square of every layer's input without texts, by a forward
// pass of variances: it computes the mean square of every channel from the weights alone,
// as if channels were independent with mean zero. The cost of an error in a weight depends
// on the input that it is multiplied by, and because of norm gains and the embedding's
// columns, inputs differ by a factor of a hundred.
type powers struct {
	ctx      context.Context
	m        *model.Model
	stream   []float64            // (Hidden), of the residual stream
	embedded []float64            // (Hidden), of the stream before the first step, in models with Layer
	streams  [][]float64          // (Hidden) of each stream besides stream, in models with AltUp
	values   map[int][]float64    // of blocks, by which later ones may attend
	inputs   map[string][]float64 // by tensor: (columns), summed over its runs
}

// Attention averages the values of several positions, and SiLU passes about half of a
// gate's power. On SmolLM2 the result hardly depends on either value.
const (
	attentionShare = 0.3
	gateShare      = 0.5
)

// Inputs returns, for each matrix of m, its input with the estimated power of its
// columns. A tied embedding is treated as the head.
func Inputs(ctx context.Context, m *model.Model) (map[string]*rounding.Input, error) {
	p := &powers{ctx: ctx, m: m, stream: make([]float64, m.Spec.Hidden), inputs: map[string][]float64{}}
	if err := p.embedding(model.Embed); err != nil {
		return nil, p.in(model.Embed, err)
	}
	if scale := m.Spec.EmbedScale; scale != 0 {
		p.scale(scale)
	}
	if m.Spec.Positions > 0 {
		if err := p.embedding(model.Positions); err != nil {
			return nil, p.in(model.Positions, err)
		}
	}
	if m.Spec.EmbedNorm {
		p.stream = p.normalized(model.EmbedNorm)
	}
	p.embedded = slices.Clone(p.stream)
	if err := p.startStreams(); err != nil {
		return nil, err
	}
	for _, b := range m.Spec.Schedule {
		before := slices.Clone(p.stream)
		if err := p.step(b); err != nil {
			return nil, err
		}
		p.correctStreams(before)
		if m.Spec.Layer.Width > 0 {
			if err := p.layerInput(b); err != nil {
				return nil, err
			}
		}
		if m.Spec.OutScale {
			p.scale(float64(p.vector(model.Name(b, model.OutScale))[0]))
		}
	}
	if err := p.mergeStreams(); err != nil {
		return nil, err
	}
	p.feeds(p.normalized(model.Norm), m.HeadName())
	guesses := make(map[string]*rounding.Input, len(p.inputs))
	for name, power := range p.inputs {
		guesses[name] = rounding.Guess(power)
	}
	return guesses, nil
}

// scale multiplies the stream by x.
func (p *powers) scale(x float64) {
	for i := range p.stream {
		p.stream[i] *= x * x
	}
}

// embedding adds the mean square of each column of the named embedding to the stream, as
// if all tokens and positions were equally likely.
func (p *powers) embedding(name string) error {
	t := p.m.Tensors[name]
	x := make([]float32, t.Cols)
	var reader qtensor.Reader
	defer t.Release()
	return parallel.Guard(func() error {
		for r := range t.Rows {
			if err := p.ctx.Err(); err != nil {
				return err
			}
			t.ReleaseBehind(r, 1)
			reader.Row(x, t, r)
			for i, v := range x {
				p.stream[i] += float64(float64(v) * float64(v) / float64(t.Rows))
			}
		}
		return nil
	})
}

// step computes the stream after block b.
func (p *powers) step(b int) error {
	s := &p.m.Spec
	name := func(kind string) string { return model.Name(b, kind) }

	if s.AttentionOf(b).Absent {
		return p.feedForward(p.input(name(model.FFNNorm)), name(model.Gate), name(model.Up), name(model.Down), name(model.FFNPost), 1)
	}
	h := p.input(name(model.AttnNorm))
	ffn := h // the input of the feed-forward layer, if the two are parallel
	if s.TwoNorms {
		ffn = p.normalized(name(model.FFNNorm))
	}
	var err error
	if s.AttentionOf(b).Conv > 0 {
		err = p.convolution(b, h)
	} else if s.AttentionOf(b).Delta > 0 {
		err = p.deltaRule(b, h)
	} else if s.AttentionOf(b).Attends() {
		err = p.attention(b, h)
	}
	if err == nil && s.AttentionOf(b).Scan > 0 {
		err = p.stateSpace(b, h)
	}
	if err != nil || s.AttentionOf(b).Alone {
		return err
	}

	if err := p.laurel(b, h); err != nil {
		return err
	}
	if h = ffn; !s.Parallel {
		h = p.input(name(model.FFNNorm))
	}
	if s.HasExperts(b) {
		return p.experts(b, h)
	}
	return p.feedForward(h, name(model.Gate), name(model.Up), name(model.Down), name(model.FFNPost), 1)
}

// feeds adds power to the inputs of the named tensors.
func (p *powers) feeds(power []float64, names ...string) {
	for _, name := range names {
		if p.inputs[name] == nil {
			p.inputs[name] = make([]float64, len(power))
		}
		for i, v := range power {
			p.inputs[name][i] += v
		}
	}
}

// input returns what a layer reads: the stream after the named norm, if there is one.
func (p *powers) input(name string) []float64 {
	if p.m.Spec.NoPreNorm {
		return slices.Clone(p.stream)
	}
	return p.normalized(name)
}

// normalized returns the stream after the named norm.
func (p *powers) normalized(name string) []float64 {
	return p.norm(name, p.stream)
}

// norm returns x after the named norm.
func (p *powers) norm(name string, x []float64) []float64 {
	g := p.vector(name)
	if p.m.Spec.Norm.CountsFrom1() {
		for i := range g {
			g[i]++
		}
	}
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	h := make([]float64, len(g))
	for i, v := range x {
		h[i] = float64(g[i]) * float64(g[i]) * v / (sum / float64(len(g)))
	}
	if p.m.Spec.Norm.Biased() {
		for i, b := range p.vector(name + model.BiasSuffix) {
			h[i] += float64(float64(b) * float64(b))
		}
	}
	return h
}

func (p *powers) vector(name string) []float32 {
	t := p.m.Tensors[name]
	x := make([]float32, t.Cols)
	new(qtensor.Reader).Row(x, t, 0)
	return x
}

// outputs returns the mean square of each output of a linear layer.
func (p *powers) outputs(name string, in []float64) ([]float64, error) {
	t := p.m.Tensors[name]
	out := make([]float64, t.Rows)
	err := rounding.EachRow(p.ctx, t, func(_, r int, x []float32) error {
		sum := 0.0
		for i, w := range x {
			sum += float64(float64(w) * float64(w) * in[i])
		}
		out[r] = sum
		return nil
	})
	if _, kind, ok := model.SplitName(name); ok {
		scale := p.m.Spec.ScaleOf(kind)
		for i := range out {
			out[i] *= scale * scale
		}
	}
	t.Release()
	return out, p.in(name, err)
}

// adds feeds power to a linear layer and adds a share of the layer's output to the stream,
// after the norm that follows it, if any.
func (p *powers) adds(name, post string, power []float64, share float64) error {
	p.feeds(power, name)
	out, err := p.outputs(name, power)
	if err == nil && p.m.Spec.PostNorm {
		out = p.norm(post, out)
	}
	scale := cmp.Or(p.m.Spec.ResidScale, 1)
	for i, v := range out {
		p.stream[i] += float64(v * float64(scale*scale*share))
	}
	return err
}

// in names the tensor in err, unless err is nil.
func (p *powers) in(name string, err error) error {
	if err == nil {
		return nil
	}
	return p.m.InTensor(name, err)
}
