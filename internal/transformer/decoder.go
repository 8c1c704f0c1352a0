// Package transformer implements the forward pass: one decoder for every model,
// driven by the features in model.Spec.
//
// It computes in float32 with the loops of package kernel, whose results do not
// depend on the machine. Every output of a linear layer is one kernel.Dot of an
// input row and a weight row, whatever the batch. A prompt that is fed at once and
// one that is fed token by token therefore give the same bits, on any number of
// cores. The same holds if an Arithmetic rounds activations, keys or values.
package transformer

import (
	"context"
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Decoder runs one model. It keeps the weights as they are stored and widens a
// few rows at a time. It uses all cores, but only one goroutine may call it at a
// time.
type Decoder struct {
	spec       *model.Spec
	embed      *qtensor.Matrix // (Vocab, Hidden)
	positions  *qtensor.Matrix // (Positions, Hidden), or nil
	layerEmbed *qtensor.Matrix // (LayerVocab, Blocks*Layer.Width), or nil
	layerNorm  []float32       // (Layer.Width), or nil
	embedNorm  norm            // zero unless EmbedNorm
	head       linear          // (Vocab, Hidden); the weights are embed if tied
	norm       norm
	blocks     []block
	ropes      []*rope
	operations [][]operation // of each step
	workers    []worker      // one for each of parallel.Workers

	weights map[string][]**qtensor.Matrix // by tensor name, all places that refer to the matrix

	bounded       bool // memory is bounded, so weights are released after each use
	arithmetic    Arithmetic
	segmentations map[[3]int]*segmentation // by columns and the groups of weights and activations
	embedScale    float32
	slopes        []float32 // of ALiBi, (Heads), or nil
	residScale    float32   // 0 means 1
	temperatures  []float32 // by position, nil if all are 1

	ones []float32 // (FFN), replaces up if Ungated

	// Arguments of the tasks on all cores, and the tasks: methods of this Decoder, bound
	// once, so that single tokens allocate nothing.
	application                      application
	attention                        attention
	widened                          [2][]float32 // keys and values that are not stored as float32
	applyTask, attendTask, widenTask func(worker, i int) error
	position                         []float32 // scratch of lookup, (Hidden)
	single                           *pass     // of Next
	id                               [1]int    // of Next
}

// A block is one stored layer.
type block struct {
	rope         *rope // one of Decoder.ropes, or nil
	attnNorm     norm  // zero when NoPreNorm
	headDim      int   // with kvHeads that of the block, see Spec.Of
	kvHeads      int
	scale        float32  // of the scores
	q            linear   // (Heads*HeadDim, Hidden)
	k, v         linear   // (KVHeads*HeadDim, Hidden); zero if the block has none of its own, or its values are its keys
	vNorm        headNorm // zero unless VNorm
	qNorm, kNorm headNorm
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
	outScale     float32      // if OutScale
	conv         *convolution // nil in blocks without one; q, k, v and o are zero in blocks with one
	attnGate     linear       // (Heads*HeadDim, Hidden), zero unless AttnGate
	delta        *deltaRule   // nil in blocks without it; q, k, v and o are zero in blocks with it
}

// A norm is one normalization of the residual stream.
type norm struct {
	gain []float32 // (Hidden)
	bias []float32 // (Hidden), or nil
}

// A worker holds the scratch memory of one of the goroutines that parallel.Do
// runs.
type worker struct {
	reader qtensor.Reader
	panel  []float32 // widened weight rows, (panelRows, stride)
	query  []float32 // rotated queries of one head, (queryRows, stride)
	scores []float32 // (queryRows, positions)

	// Used by integerProduct:
	integers     kernel.StoredRows
	integerPanel kernel.IntegerPanel
	codes        []byte    // rows of codes
	factors      []float32 // scales and mins
	scales, mins []float32 // of integers or integerPanel
	outputs      [kernel.PanelRows]float32
}

// activations lists the function of each kind of feed-forward layer.
var activations = map[model.Activation]func(dst, gate, up []float32){
	model.SiLU: kernel.SiLUMul, model.GELUTanh: kernel.GELUMul, model.GELU: kernel.GELUErfMul,
	model.ReLU: kernel.ReLUMul, model.ReLU2: kernel.ReLU2Mul,
}

// New returns a Decoder for m that computes in float32. m must have passed Check.
// New widens only norm gains and biases.
func New(m *model.Model) (*Decoder, error) { return NewWith(m, Arithmetic{}) }

// NewWith is New with another arithmetic. To round activations, the model must
// have layers that are stored as integers.
func NewWith(m *model.Model, a Arithmetic) (*Decoder, error) {
	s := &m.Spec
	d := &Decoder{
		spec: s, bounded: memory.Bounded(), arithmetic: a, embed: m.Tensors[model.Embed], blocks: make([]block, s.Blocks), ropes: []*rope{newRope(&s.Rope, s.HeadOf(0))},
		positions: m.Tensors[model.Positions], slopes: alibiSlopes(s),
		embedScale: float32(s.EmbedScale), layerEmbed: m.Tensors[model.LayerEmbed], residScale: float32(s.ResidScale),
	}
	d.prepare()
	d.operations = operationsOf(s)
	widest := s.Widest()
	if s.Ungated {
		d.ones = slices.Repeat([]float32{1}, widest.FFN)
	}
	for i := range s.Ropes {
		d.ropes = append(d.ropes, newRope(&s.Ropes[i], s.HeadOf(1+i)))
	}
	err := parallel.Guard(func() error {
		if err := a.checkFor(m); err != nil {
			return err
		}
		d.norm = normOf(m, model.Norm)
		if s.EmbedNorm {
			d.embedNorm = normOf(m, model.EmbedNorm)
		}
		if s.Layer.Width > 0 {
			d.layerNorm = gain(m, model.LayerInNorm)
		}
		d.head.w = m.Tensors[m.HeadName()]
		d.weights = map[string][]**qtensor.Matrix{model.Embed: {&d.embed}}
		if d.layerEmbed != nil {
			d.weights[model.LayerEmbed] = []**qtensor.Matrix{&d.layerEmbed}
		}
		d.weights[m.HeadName()] = append(d.weights[m.HeadName()], &d.head.w)
		if s.Biased(model.Head) {
			d.head.bias = vector(m, model.Head+model.BiasSuffix)
		}
		for b := range d.blocks {
			d.blocks[b] = blockOf(m, b)
			for kind, l := range d.blocks[b].linears() {
				d.weights[model.Name(b, kind)] = []**qtensor.Matrix{&l.w}
			}
			if r := s.AttentionOf(b).Rope; r != model.NoRope {
				d.blocks[b].rope = d.ropes[r]
			}
			d.blocks[b].temper = s.Temperature.Length > 0 && !(s.Temperature.Unrotated && d.blocks[b].rope != nil)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(m.Path), err)
	}
	return d, nil
}

func blockOf(m *model.Model, b int) block {
	sized := m.Spec.Of(b)
	s := &sized
	name := func(kind string) string { return model.Name(b, kind) }
	lin := func(kind string) linear {
		l := linear{w: m.Tensors[name(kind)]}
		if s.Biased(kind) {
			l.bias = vector(m, name(kind+model.BiasSuffix))
		}
		return l
	}
	var w block
	if s.AttentionOf(b).Conv > 0 {
		w.conv = convolutionOf(m, b)
	} else if s.AttentionOf(b).Delta > 0 {
		w.delta = deltaRuleOf(m, b)
	} else {
		w.headDim, w.kvHeads, w.scale = s.HeadDim, s.KVHeads, float32(s.ScoreScale())
		w.q, w.o, w.qNorm = lin(model.Q), lin(model.O), headNormOf(m, b, model.QNorm)
		if a := s.AttentionOf(b); a.Back == 0 {
			if w.k, w.kNorm = lin(model.K), headNormOf(m, b, model.KNorm); !a.KeyValues {
				w.v = lin(model.V)
			}
			if s.VNorm {
				w.vNorm = headNorm{gain: slices.Repeat([]float32{1}, s.HeadDim), width: s.HeadDim, bare: true}
			}
		}
		if s.AttnGate {
			w.attnGate = lin(model.AttnGate)
		}
	}
	if s.HasExperts(b) {
		w.experts = mixtureOf(m, b)
	} else {
		w.up, w.down = lin(model.Up), lin(model.Down)
	}
	if !s.NoPreNorm {
		w.attnNorm = normOf(m, name(model.AttnNorm))
	}
	if s.PostNorm {
		w.attnPost, w.ffnPost = normOf(m, name(model.AttnPost)), normOf(m, name(model.FFNPost))
	}
	if s.HasFFNNorm() {
		w.ffnNorm = normOf(m, name(model.FFNNorm))
	}
	if w.activation = activations[s.Activation]; s.Activation == model.XIELU {
		w.activation = XIELUOf(m, b).Mul
	}
	if s.Layer.Width > 0 {
		w.layer = layerInput{lin(model.LayerIn), lin(model.LayerGate), lin(model.LayerOut), normOf(m, name(model.LayerPost))}
	}
	if s.OutScale {
		w.outScale = vector(m, name(model.OutScale))[0]
	}
	if !s.Ungated && w.experts == nil {
		w.gate = lin(model.Gate)
	}
	return w
}

// prepare makes the scratch memory of each core and binds the tasks.
func (d *Decoder) prepare() *Decoder {
	d.workers = make([]worker, parallel.Workers())
	d.applyTask, d.attendTask, d.widenTask = d.applyPanel, d.attendHead, d.widenBlock
	return d
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
	if w.attnGate.w != nil {
		all[model.AttnGate] = &w.attnGate
	}
	if w.delta != nil {
		w.delta.linears(all)
	}
	if w.conv != nil {
		all[model.ConvIn], all[model.ConvOut] = &w.conv.in, &w.conv.out
	}
	return all
}

// Replace replaces the weights of the matrix called name: a linear layer, the
// embedding (which is also the head if the two are tied) or the head. It takes
// effect at the next product. w must have the same shape. Replace panics if the
// model has no such matrix; it cannot replace vectors, because New widened them.
func (d *Decoder) Replace(name string, w *qtensor.Matrix) {
	uses, ok := d.weights[name]
	if !ok {
		panic("transformer: there is no matrix " + name)
	}
	for _, at := range uses {
		*at = w
	}
}

// XIELUOf returns the activation of block b of a model with XIELU.
func XIELUOf(m *model.Model, b int) kernel.XIELU {
	var x [4]float32
	for i, kind := range model.XIELUKinds {
		x[i] = vector(m, model.Name(b, kind))[0]
	}
	return kernel.NewXIELU(x[0], x[1], x[2], x[3])
}

func normOf(m *model.Model, name string) norm {
	n := norm{gain: gain(m, name)}
	if m.Spec.Norm.Biased() {
		n.bias = vector(m, name+model.BiasSuffix)
	}
	return n
}

// gain returns the factors of a norm, which may be 1 more than the stored ones.
func gain(m *model.Model, name string) []float32 {
	x := vector(m, name)
	if m.Spec.Norm.CountsFrom1() {
		for i := range x {
			x[i]++
		}
	}
	return x
}

// vector widens the vector called name.
func vector(m *model.Model, name string) []float32 {
	t := m.Tensors[name]
	x := make([]float32, t.Cols)
	new(qtensor.Reader).Row(x, t, 0)
	return x
}

// Forward runs ids at the positions after those in c, adds these positions to c,
// and returns their final hidden states, after the final norm.
func (d *Decoder) Forward(ctx context.Context, c *Cache, ids []int) (*Hidden, error) {
	if err := c.reserve(len(ids)); err != nil {
		return nil, err
	}
	p := d.newPass([]sequence{{c, len(ids)}})
	if err := p.run(ctx, c, ids); err != nil {
		return nil, err
	}
	return p.finish(), nil
}

// run runs ids, the only sequence of p, up to the final norm.
func (p *pass) run(ctx context.Context, c *Cache, ids []int) error {
	d := p.d
	if err := p.embed(ids, 0, c.used); err != nil {
		return err
	}
	for step, operations := range d.operations {
		for i := range operations {
			if err := operations[i].run(p, ctx, step); err != nil {
				return err
			}
		}
	}
	c.used += len(ids)
	return nil
}

// Next runs one token as Forward does, and writes the logits of the token after it to
// dst, (Vocab). It allocates only when c grows or its positions are new to d.
func (d *Decoder) Next(ctx context.Context, c *Cache, id int, dst []float32) error {
	if err := c.reserve(1); err != nil {
		return err
	}
	if d.single == nil {
		d.single = d.newPass([]sequence{{c, 1}})
	}
	p := d.single
	p.sequences[0].cache = c
	p.extendRopes()
	d.id[0] = id
	err := p.run(ctx, c, d.id[:])
	p.sequences[0].cache = nil
	if err != nil {
		return err
	}
	if err := finalNorm.run(p, ctx, 0); err != nil {
		return err
	}
	v := d.spec.Vocab
	return d.logits(ctx, p.x, rows{1, v, v, dst[:v]})
}

// AtOnce is the number of tokens that Feed runs at a time if its caller does not say.
const AtOnce = 512

// Feed is Forward in chunks of atOnce tokens, or AtOnce if atOnce is 0, which bounds
// the memory of activations. It returns the final hidden states of all positions.
func (d *Decoder) Feed(ctx context.Context, c *Cache, ids []int, atOnce int) (*Hidden, error) {
	if atOnce <= 0 {
		atOnce = AtOnce
	}
	if len(ids) <= atOnce {
		return d.Forward(ctx, c, ids)
	}
	var parts []*Hidden
	for part := range slices.Chunk(ids, atOnce) {
		h, err := d.Forward(ctx, c, part)
		if err != nil {
			return nil, err
		}
		parts = append(parts, h)
	}
	return Join(parts), nil
}

// Join returns the states of consecutive parts of a text, at least one, as those of the
// whole text.
func Join(parts []*Hidden) *Hidden {
	first := parts[0]
	x := rows{width: first.x.width, stride: first.x.stride}
	for _, p := range parts {
		x.n += p.x.n
		x.data = append(x.data, p.x.data[:p.x.n*x.stride]...)
	}
	return &Hidden{first.d, x}
}

// lookup writes the embedding of each id to x, with that of its position if the model has
// one. The first id is at position first.
func (d *Decoder) lookup(x rows, ids []int, first int) error {
	if d.bounded {
		defer d.embed.Release()
	}
	if d.positions != nil && first+len(ids) > d.positions.Rows {
		return fmt.Errorf("a text of %d tokens is longer than the %d positions that the model has learned", first+len(ids), d.positions.Rows)
	}
	return parallel.Guard(func() error {
		for t, id := range ids {
			if id < 0 || id >= d.spec.Vocab {
				return fmt.Errorf("token id %d is outside the vocabulary of %d", id, d.spec.Vocab)
			}
			row := x.row(t)
			d.workers[0].reader.Row(row, d.embed, id)
			if d.embedScale != 0 {
				for i := range row {
					row[i] *= d.embedScale
				}
			}
			if d.positions != nil {
				d.position = sized(d.position, x.width)
				d.workers[0].reader.Row(d.position, d.positions, first+t)
				kernel.Add(row, d.position)
			}
		}
		return nil
	})
}

// normalize applies the model's kind of norm to x and writes the result to h,
// which may be x.
func (d *Decoder) normalize(h, x rows, w norm) {
	eps := float32(d.spec.NormEps)
	if x.n == 1 {
		d.normalizeRows(h, x, w, eps, 0, 1)
		return
	}
	d.ranges(x.n, func(from, to int) { d.normalizeRows(h, x, w, eps, from, to) })
}

// normalizeRows is normalize for the rows [from, to).
func (d *Decoder) normalizeRows(h, x rows, w norm, eps float32, from, to int) {
	for t := from; t < to; t++ {
		if d.spec.Centers() {
			kernel.LayerNorm(h.row(t), x.row(t), w.gain, w.bias, eps)
		} else {
			kernel.RMSNorm(h.row(t), x.row(t), w.gain, eps)
		}
	}
}

// ranges calls f for ranges [from, to) that together are [0, n), on all cores. Because f
// escapes to them, its closure is allocated: callers treat a single row apart.
func (d *Decoder) ranges(n int, f func(from, to int)) {
	const chunk = 16 // positions per task, so that short prompts stay on one core
	_ = parallel.Ranges(context.Background(), n, chunk, func(_, from, to int) error {
		f(from, to)
		return nil
	})
}

// Hidden holds the final hidden states of some positions.
type Hidden struct {
	d *Decoder
	x rows // (positions, Hidden)
}

// Len returns the number of positions.
func (h *Hidden) Len() int { return h.x.n }

// Logits computes the logits of the token that follows each of the positions
// [from, from+n) and writes them to dst, (n, Vocab).
func (h *Hidden) Logits(ctx context.Context, dst []float32, from, n int) error {
	if from < 0 || n < 0 || from+n > h.x.n {
		return fmt.Errorf("positions [%d, %d) are outside a prompt of %d", from, from+n, h.x.n)
	}
	v := h.d.spec.Vocab
	y := rows{n: n, width: v, stride: v, data: dst[:n*v]}
	x := rows{n: n, width: h.x.width, stride: h.x.stride, data: h.x.data[from*h.x.stride:]}
	return h.d.logits(ctx, x, y)
}

// logits computes y = cap(scale * (Head x)).
func (d *Decoder) logits(ctx context.Context, x, y rows) error {
	if err := d.apply(ctx, x, product{y, d.head}); err != nil {
		return err
	}
	s := d.spec
	if s.LogitScale != 0 {
		scale := float32(s.LogitScale)
		for t := range y.n {
			for i := range y.row(t) {
				y.row(t)[i] *= scale
			}
		}
	}
	if s.LogitCap != 0 {
		for t := range y.n {
			kernel.Softcap(y.row(t), float32(s.LogitCap))
		}
	}
	return nil
}
