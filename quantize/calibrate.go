package quantize

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// A Calibration is the data that methods measure errors on.
type Calibration struct {
	Texts [][]int // token ids; texts do not see each other

	Correction float32
}

// A calibrated run takes the texts through the float model and through the model
// quantized so far, side by side, and quantizes each group of linear layers when
// both stand before it.
type calibrated struct {
	ctx           context.Context
	m             *model.Model
	p             *Plan
	c             *Calibration
	sink          Sink
	progress      func(weights int64)
	entries       map[string]*Entry
	out           map[string]*qtensor.Matrix // of the quantized model
	float, coarse *transformer.Trace
	next          int // entry of the plan to be written
	done          int64
}

func runCalibrated(ctx context.Context, m *model.Model, p *Plan, c *Calibration, sink Sink, progress func(weights int64)) error {
	if len(c.Texts) == 0 {
		return errors.New("there are no calibration texts")
	}
	r := &calibrated{ctx: ctx, m: m, p: p, c: c, sink: sink, progress: progress, entries: map[string]*Entry{}, out: map[string]*qtensor.Matrix{}}
	for i := range p.Tensors {
		r.entries[p.Tensors[i].Name] = &p.Tensors[i]
	}
	for name, t := range m.Tensors { // copies, whose contents are exchanged in place
		same := *t
		r.out[name] = &same
	}
	if err := r.embedding(); err != nil {
		return err
	}
	if err := r.begin(); err != nil {
		return err
	}
	for g := r.float.Next(); g != nil; g = r.float.Next() {
		if err := r.group(g, r.coarse.Next()); err != nil {
			return err
		}
		if onlyHead {
			r.float.Skip()
			continue
		}
		for _, t := range []*transformer.Trace{r.float, r.coarse} {
			if err := t.Run(ctx); err != nil {
				return err
			}
		}
		if err := r.flush(); err != nil {
			return err
		}
	}
	for _, name := range []string{model.Head} {
		if r.entries[name] != nil {
			if err := r.store(name, nil); err != nil {
				return err
			}
		}
	}
	r.entries = nil
	return r.flush()
}

// embedding quantizes the embedding: as the head, where it is tied, from a part
// of the texts that the float model reads ahead.
func (r *calibrated) embedding() error {
	e := r.entries[model.Embed]
	if !r.m.Spec.Tied || e.From == e.To || e.To.Kind != qtensor.Int {
		return r.store(model.Embed, nil)
	}
	d, err := transformer.New(r.m)
	if err != nil {
		return err
	}
	t, err := d.NewTrace(r.c.Texts[:min(len(r.c.Texts), headTexts)])
	if err != nil {
		return err
	}
	for g := t.Next(); g != nil; g = t.Next() {
		if err := t.Run(r.ctx); err != nil {
			return err
		}
	}
	out, err := roundHead(r.ctx, r.m, e, r.m.Tensors[model.Embed], t.Hidden())
	if err != nil {
		return inTensor(r.m, model.Embed, err)
	}
	*r.out[model.Embed] = *out
	return nil
}

// begin embeds the texts in both models.
func (r *calibrated) begin() error {
	for _, t := range []struct {
		trace   **transformer.Trace
		tensors map[string]*qtensor.Matrix
	}{{&r.float, r.m.Tensors}, {&r.coarse, r.out}} {
		m := *r.m
		m.Tensors = t.tensors
		d, err := transformer.New(&m)
		if err != nil {
			return err
		}
		if *t.trace, err = d.NewTrace(r.c.Texts); err != nil {
			return err
		}
	}
	return nil
}

// group quantizes the layers that x and xq, the inputs in the two models, lead
// to.
func (r *calibrated) group(x, xq *transformer.Group) error {
	var names []string
	for _, kind := range x.Kinds {
		name := model.Name(x.Block, kind)
		if e := r.entries[name]; e.From != e.To && e.To.Kind == qtensor.Int {
			names = append(names, name)
		} else if err := r.store(name, nil); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil
	}
	a, b := positionRows{r.float.Len(), x.Row}, positionRows{r.coarse.Len(), xq.Row}
	m := newMoments(x.Width())
	if err := m.add(r.ctx, b, a, positionWeights(b)); err != nil {
		return err
	}
	m.close()
	f, err := newFactor(r.ctx, m.h, m.width, damping)
	if err != nil {
		return inTensor(r.m, names[0], err)
	}
	t := newTarget(m, f)
	for _, name := range names {
		if err := r.round(name, m, t); err != nil {
			return inTensor(r.m, name, err)
		}
	}
	return nil
}

// round quantizes one linear layer.
func (r *calibrated) round(name string, m *moments, t target) error {
	e, src := r.entries[name], r.m.Tensors[name]
	var err error
	if t.w, err = rowsOf(r.ctx, src, nil); err != nil {
		return err
	}
	mmap.Release(src.Codes)
	if err := correct(r.ctx, t.w, m, t.factor, r.c.Correction); err != nil {
		return err
	}
	if t.dst, err = qtensor.New(e.To, e.Rows, e.Cols); err != nil {
		return err
	}
	if _, err := (gptq{}).quantize(r.ctx, t); err != nil {
		return err
	}
	*r.out[name] = *t.dst
	return nil
}

// store quantizes a tensor without regard to its input, or casts it.
func (r *calibrated) store(name string, power []float32) error {
	out, err := r.p.store(r.ctx, r.m.Tensors[name], *r.entries[name], power)
	if err != nil {
		return inTensor(r.m, name, err)
	}
	*r.out[name] = *out
	return nil
}

// flush writes the tensors of blocks that are behind, in the order of the plan;
// all that is left once entries is nil.
func (r *calibrated) flush() error {
	g := r.float.Next()
	for ; r.next < len(r.p.Tensors); r.next++ {
		e := r.p.Tensors[r.next]
		if r.entries != nil && (g == nil || blockOf(e.Name) >= g.Block) {
			return nil
		}
		out := r.out[e.Name]
		if e.Role == model.Vector {
			var err error
			if out, err = r.p.store(r.ctx, r.m.Tensors[e.Name], e, nil); err != nil {
				return inTensor(r.m, e.Name, err)
			}
		}
		if err := r.sink.Write(out); err != nil {
			return inTensor(r.m, e.Name, err)
		}
		if r.done += int64(e.Rows) * int64(e.Cols); r.progress != nil {
			r.progress(r.done)
		}
	}
	return nil
}

// blockOf returns the block of a tensor, -1 for the embedding, and a number
// beyond all blocks for what comes after them.
func blockOf(name string) int {
	var block int
	if _, err := fmt.Sscanf(name, "blocks.%d.", &block); err == nil {
		return block
	}
	if name == model.Embed {
		return -1
	}
	return model.MaxBlocks
}

var _ = slices.Sorted[string]
var _ = maps.Keys[map[string]int]
