// Package gradient is the backward pass of a decoder: how the divergence of its logits from
// given ones changes with its norm gains, its biases, and the scales and minima of its
// weights, while their codes stay as they are.
//
// The forward pass is that of package transformer, whose Trace shows every activation. A
// pass keeps the residual stream before each step, and runs a step again before it goes
// back through it, so memory holds the activations of one step. It computes in float32.
// Every sum has a fixed order, so that the result does not depend on the machine or on the
// number of cores.
package gradient

import (
	"context"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// A Gradient is the gradient of one tensor. What it does not apply to is nil.
type Gradient struct {
	// Scales has the gradient of each scale of an Int matrix, (Rows, Groups), as if it were
	// not rounded; of another matrix that of a factor of each row, (Rows), where it is 1.
	Scales []float32
	Mins   []float32 // of each minimum, (Rows, Groups)
	Values []float32 // of a vector as stored, (Cols)
}

// Gradients holds the gradients of some tensors by name.
type Gradients map[string]*Gradient

// New returns zero gradients for the tensors of m that wanted accepts. Those that are fixed
// have none.
func New(m *model.Model, wanted func(s model.Slot) bool) Gradients {
	g := Gradients{}
	for _, slot := range m.Spec.Slots() {
		if slot.Fixed() || !wanted(slot) {
			continue
		}
		w := m.Tensors[slot.Name]
		switch groups := w.Rows * w.Scheme.Groups(w.Cols); {
		case slot.Role == model.Vector:
			g[slot.Name] = &Gradient{Values: make([]float32, w.Cols)}
		case w.Scheme.Kind != qtensor.Int:
			g[slot.Name] = &Gradient{Scales: make([]float32, w.Rows)}
		case w.Scheme.Asym:
			g[slot.Name] = &Gradient{Scales: make([]float32, groups), Mins: make([]float32, groups)}
		default:
			g[slot.Name] = &Gradient{Scales: make([]float32, groups)}
		}
	}
	return g
}

// Clear sets all gradients to 0.
func (g Gradients) Clear() {
	for _, one := range g {
		clear(one.Scales)
		clear(one.Mins)
		clear(one.Values)
	}
}

// unsupported lists the features that the backward pass lacks, by their names in
// model.Features.
var unsupported = []struct {
	name string
	has  func(s *model.Spec) bool
}{
	{"experts.count", func(s *model.Spec) bool { return s.Experts.Count > 0 }},
	{"conv", inSomeBlock(func(a model.Attention) bool { return a.Conv > 0 })},
	{"delta", inSomeBlock(func(a model.Attention) bool { return a.Delta > 0 })},
	{"scan", inSomeBlock(func(a model.Attention) bool { return a.Scan > 0 })},
	{"scales.o", func(s *model.Spec) bool { return s.Scales != (model.Scales{}) }},
	{"alone", inSomeBlock(func(a model.Attention) bool { return a.Alone })},
	{"absent", inSomeBlock(func(a model.Attention) bool { return a.Absent })},
	{"latent.keyvalue", (*model.Spec).IsLatent},
	{"sinks", func(s *model.Spec) bool { return s.Sinks }},
	{"activation", func(s *model.Spec) bool { return s.Activation == model.Clamped }},
	{"attngate", func(s *model.Spec) bool { return s.AttnGate }},
	{"altup.streams", func(s *model.Spec) bool { return s.AltUp.Streams > 0 }},
	{"laurel", func(s *model.Spec) bool { return s.Laurel > 0 }},
	{"sparsity", func(s *model.Spec) bool { return len(s.Sparsity) > 0 }},
	{"ffn", func(s *model.Spec) bool { return len(s.FFNs) > 0 }},
	{"headdim", inSomeBlock(func(a model.Attention) bool { return a.HeadDim > 0 })},
	{"kvheads", inSomeBlock(func(a model.Attention) bool { return a.KVHeads > 0 })},
	{"back", inSomeBlock(func(a model.Attention) bool { return a.Back > 0 })},
	{"keyvalues", inSomeBlock(func(a model.Attention) bool { return a.KeyValues })},
	{"vnorm", func(s *model.Spec) bool { return s.VNorm }},
	{"layer.width", func(s *model.Spec) bool { return s.Layer.Width > 0 }},
	{"outscale", func(s *model.Spec) bool { return s.OutScale }},
	{"alibi", func(s *model.Spec) bool { return s.Alibi > 0 }},
}

// inSomeBlock returns whether the attention of some block of a Spec has a property.
func inSomeBlock(has func(a model.Attention) bool) func(s *model.Spec) bool {
	return func(s *model.Spec) bool { return slices.ContainsFunc(s.Attention, has) }
}

// Check returns an error that names a feature of s that the backward pass lacks.
func Check(s *model.Spec) error {
	for _, f := range unsupported {
		if f.has(s) {
			return defect.Unsupported("gradients", "a model with %s (%s)", model.NoteOf(s, f.name), f.name)
		}
	}
	return nil
}

// A Target writes the logits that a model should have at the positions [first, first+n) of
// the texts of a pass, one text after the other, to dst, (n, Vocab).
type Target func(ctx context.Context, dst []float32, first, n int) error

// Add runs texts through m and adds to g the gradients of the sum over all positions of
// KL(target || m) in nats. It returns the divergence of each position. m must have passed
// Check, texts must not be empty.
func (g Gradients) Add(ctx context.Context, m *model.Model, texts [][]int, target Target) ([]float64, error) {
	p, err := newPass(ctx, m, texts, g)
	if err != nil {
		return nil, err
	}
	streams, err := p.forward()
	if err != nil {
		return nil, err
	}
	kl, err := p.head(target)
	if err != nil {
		return nil, err
	}
	if err := p.back(streams); err != nil {
		return nil, err
	}
	return kl, p.lookup(texts)
}

// back goes back through all steps, given the residual stream before each.
func (p *pass) back(streams []*transformer.Stream) error {
	for step := len(streams) - 1; step >= 0; step-- {
		if err := p.step(step, streams[step]); err != nil {
			return err
		}
		streams[step] = nil
	}
	return nil
}

// A pass is the state of one backward pass.
type pass struct {
	ctx     context.Context
	m       *model.Model
	s       *model.Spec
	g       Gradients
	powers  Powers // or nil
	d       *transformer.Decoder
	t       *transformer.Trace
	n       int   // positions of all texts
	lengths []int // positions of each text

	acts  map[string]rows // activations of the step that runs, by name
	grads map[string]rows // gradients of activations
	room  map[string]rows // memory for both
	products
	workers []worker
}

// A worker is the scratch memory of one core.
type worker struct {
	reader         qtensor.Reader
	row            []float32
	panel, product []float32
	ones, zeros    []float32
	attention      attentionScratch
}

func newPass(ctx context.Context, m *model.Model, texts [][]int, g Gradients) (*pass, error) {
	if err := Check(&m.Spec); err != nil {
		return nil, err
	}
	d, err := transformer.New(m)
	if err != nil {
		return nil, err
	}
	p := &pass{
		ctx: ctx, m: m, s: &m.Spec, g: g, d: d, acts: map[string]rows{}, grads: map[string]rows{}, room: map[string]rows{},
		workers: make([]worker, parallel.Workers()),
	}
	for _, ids := range texts {
		p.lengths = append(p.lengths, len(ids))
		p.n += len(ids)
	}
	p.t, err = d.NewTrace(texts)
	return p, err
}

// forward runs all steps and returns the residual stream before each, and leaves the one
// after the last in p.acts.
func (p *pass) forward() ([]*transformer.Stream, error) {
	streams := make([]*transformer.Stream, len(p.s.Schedule))
	for step := range streams {
		var err error
		if streams[step], err = p.t.Stream(); err != nil {
			return nil, err
		}
		for p.t.Step() == step {
			if err := p.t.Do(p.ctx); err != nil {
				return nil, err
			}
		}
	}
	p.keep(model.FFNResidual)
	return streams, nil
}

// keep copies the activations called name.
func (p *pass) keep(name string) rows {
	x := p.memory("of "+name, len(p.t.Activations(name, 0)))
	for t := range p.n {
		copy(x.row(t), p.t.Activations(name, t))
	}
	p.acts[name] = x
	return x
}

// memory returns rows for all positions, whose content is that of the last use of the same
// name, or zeros.
func (p *pass) memory(name string, width int) rows {
	x, ok := p.room[name]
	if !ok || x.width != width || x.n != p.n {
		x = newRows(p.n, width)
		p.room[name] = x
	}
	return x
}

// gradient returns the gradient of the activations called name, which is zero before the
// first use.
func (p *pass) gradient(name string) rows {
	x, ok := p.grads[name]
	if !ok {
		x = p.memory("d "+name, p.acts[name].width)
		clear(x.data)
		p.grads[name] = x
	}
	return x
}

// spend returns the gradient of activations that no earlier operation reads.
func (p *pass) spend(name string) rows {
	x := p.gradient(name)
	delete(p.grads, name)
	return x
}

// step runs a step again, from the given stream on, and takes the gradient of the residual
// stream after it back to that before it.
func (p *pass) step(step int, stream *transformer.Stream) error {
	after := p.grads[model.FFNResidual]
	if err := p.t.Rewind(step, stream); err != nil {
		return err
	}
	p.keep(model.FFNResidual)
	var operations []*transformer.Operation
	for p.t.Step() == step {
		o := p.t.Operation()
		operations = append(operations, o)
		if err := p.t.Do(p.ctx); err != nil {
			return err
		}
		for _, name := range o.Writes {
			switch name {
			case model.FFNResidual: // of the next step
			case model.EmbedNorm: // in the place of the stream
				p.room["of "+model.FFNResidual], p.acts[name] = rows{}, p.acts[model.FFNResidual]
				p.keep(model.FFNResidual)
			default:
				p.keep(name)
			}
		}
	}
	p.grads[model.FFNResidual] = after
	for _, o := range slices.Backward(operations) {
		back := backward[o.Writes[0]]
		if o.Layers != nil {
			back = (*pass).linear
		}
		if err := back(p, step, o); err != nil {
			return err
		}
	}
	return nil
}

// backward has the function that goes back through an operation without layers, by the
// first activation that it writes. It reads the gradients of what the operation writes, and
// adds to those of what it reads.
var backward = map[string]func(p *pass, step int, o *transformer.Operation) error{
	model.EmbedNorm:    (*pass).embedNorm,
	model.AttnNorm:     (*pass).streamNorm,
	model.FFNNorm:      (*pass).streamNorm,
	model.AttnPost:     (*pass).streamNorm,
	model.FFNPost:      (*pass).streamNorm,
	model.QNorm:        (*pass).headNorms,
	model.QRope:        (*pass).rotation,
	model.Attended:     (*pass).attention,
	model.Activated:    (*pass).activation,
	model.AttnResidual: (*pass).addition,
	model.FFNResidual:  (*pass).addition,
}

// addition goes back through x + scale*y.
func (p *pass) addition(_ int, o *transformer.Operation) error {
	dy := p.spend(o.Writes[0])
	if scale := float32(p.s.ResidScale); scale != 0 {
		y := p.gradient(o.Reads[1])
		for i, v := range dy.data {
			y.data[i] += float32(v * scale)
		}
	} else {
		p.gradient(o.Reads[1]).add(dy)
	}
	p.gradient(o.Reads[0]).add(dy)
	return nil
}

// rotation goes back through the rotary embedding.
func (p *pass) rotation(step int, o *transformer.Operation) error {
	b := p.s.Schedule[step]
	for i, name := range o.Writes {
		dy, dx := p.spend(name), p.gradient(o.Reads[i])
		first := 0
		for _, n := range p.lengths {
			err := parallel.Ranges(p.ctx, n, rowsAtOnce, func(_, from, to int) error {
				for t := from; t < to; t++ {
					row := dy.row(first + t)
					for at := 0; at < len(row); at += p.s.HeadDim {
						p.d.Unrotate(b, row[at:][:p.s.HeadDim], t)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			first += n
		}
		dx.add(dy)
	}
	return nil
}
