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
	"thimble/internal/rotary"
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
	ropes      []*rotary.Table
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

// New returns a Decoder for m that computes in float32. m must have passed Check.
// New widens only norm gains and biases.
func New(m *model.Model) (*Decoder, error) { return NewWith(m, Arithmetic{}) }

// NewWith is New with another arithmetic. To round activations, the model must
// have layers that are stored as integers.
func NewWith(m *model.Model, a Arithmetic) (*Decoder, error) {
	s := &m.Spec
	d := &Decoder{
		spec: s, bounded: memory.Bounded(), arithmetic: a, embed: m.Tensors[model.Embed], blocks: make([]block, s.Blocks), ropes: []*rotary.Table{rotary.New(&s.Rope, s.HeadOf(0))},
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
		d.ropes = append(d.ropes, rotary.New(&s.Ropes[i], s.HeadOf(1+i)))
	}
	err := parallel.Guard(func() error {
		if err := a.checkFor(m); err != nil {
			return err
		}
		d.takeWeights(m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(m.Path), err)
	}
	return d, nil
}

// takeWeights takes the vectors and matrices of m, except those that NewWith has taken.
func (d *Decoder) takeWeights(m *model.Model) {
	s := d.spec
	d.norm = normOf(m, model.Norm)
	if s.EmbedNorm {
		d.embedNorm = normOf(m, model.EmbedNorm)
	}
	if s.Layer.Width > 0 {
		d.layerNorm = gain(m, model.LayerInNorm)
	}
	d.head.w = m.Tensors[m.HeadName()]
	if s.Biased(model.Head) {
		d.head.bias = vector(m, model.Head+model.BiasSuffix)
	}
	d.weights = map[string][]**qtensor.Matrix{model.Embed: {&d.embed}}
	if d.layerEmbed != nil {
		d.weights[model.LayerEmbed] = []**qtensor.Matrix{&d.layerEmbed}
	}
	d.weights[m.HeadName()] = append(d.weights[m.HeadName()], &d.head.w)
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
}

// prepare makes the scratch memory of each core and binds the tasks.
func (d *Decoder) prepare() *Decoder {
	d.workers = make([]worker, parallel.Workers())
	d.applyTask, d.attendTask, d.widenTask = d.applyPanel, d.attendHead, d.widenBlock
	return d
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

// vector widens the vector called name.
func vector(m *model.Model, name string) []float32 {
	t := m.Tensors[name]
	x := make([]float32, t.Cols)
	new(qtensor.Reader).Row(x, t, 0)
	return x
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
