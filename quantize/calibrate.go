package quantize

import (
	"context"
	"errors"
	"maps"
	"slices"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/quantize/rounding"
)

// A Calibration holds the texts on which a run measures the cost of rounding errors. Only
// one goroutine may use it at a time.
type Calibration struct {
	Texts [][]int // token ids, none empty; attention does not cross texts
	Spare [][]int // held-out texts for measuring the result; no run calibrates on them

	// Available is the largest number of tokens that Texts could have, or 0 if unknown.
	Available int

	Health *Health // if not nil, a run adds its observation of every input

	// Journal, if not nil, stores the parts of the model that a run finishes. A run reads
	// parts from it instead of rounding them again; the caller must ensure that they are of
	// the same model, plan and texts.
	Journal *Journal

	// Spill is the directory of temporary files for what does not fit into memory, if that
	// is bounded (package memory). The result does not depend on the bound.
	Spill string

	// Ahead, if not nil, is called while a run follows the float model ahead of rounding,
	// with the multiply-adds done and their total.
	Ahead func(done, total int64)

	final  *finalStates // of the model that last ran ahead
	fisher *outputs
}

// checkFinite returns an error that names the first weight of m that is not finite.
// Without the check, rounding would detect it late, in another tensor. A survey or run
// that has run m ahead has checked it already.
func (c *Calibration) CheckFinite(ctx context.Context, m *Model) error {
	if c.final != nil && c.final.m == m {
		return nil
	}
	return CheckFinite(ctx, m)
}

// A calibratedRun runs the texts through the float model and through the model quantized so
// far, side by side. Before each group of linear layers it stops both, observes the group's
// input, and quantizes the layers.
type calibratedRun struct {
	ctx     context.Context
	m       *Model // with heads rotated
	given   *Model // before rotation; computes the same
	p       *Plan
	c       *Calibration
	entries map[string]*Entry
	out     map[string]*Matrix // of the quantized model
	reached map[int]bool       // blocks that have been quantized or restored
	streams
	write    func(done func(e *Entry) bool) error
	written  int // tensors that write has written
	rates    *rateControl
	outputs  map[string][]float64 // see Calibration.outputs; nil if no linear layer has a rate
	seen     []observation        // of the part that is being quantized
	restored int                  // number of records read from the journal
}

// runCalibrated carries out p on m. write receives the tensors in the plan's order.
func runCalibrated(ctx context.Context, m *Model, p *Plan, c *Calibration, write func(*Entry, *Matrix) error) error {
	if len(c.Texts) == 0 {
		return errors.New("there are no calibration texts")
	}
	r := &calibratedRun{ctx: ctx, m: rotated(m, p), given: m, p: p, c: c, entries: map[string]*Entry{}, reached: map[int]bool{}, rates: newRateControl(p)}
	for i := range p.Tensors {
		r.entries[p.Tensors[i].Name] = &p.Tensors[i]
	}
	r.out = maps.Clone(r.m.Tensors)
	r.write = func(done func(e *Entry) bool) error {
		for ; r.written < len(p.Tensors) && done(&p.Tensors[r.written]); r.written++ {
			e := &p.Tensors[r.written]
			if err := write(e, r.out[e.Name]); err != nil {
				return m.InTensor(e.Name, err)
			}
		}
		return nil
	}
	err := c.CheckFinite(ctx, m)
	if err != nil {
		return err
	}
	if p.rated() {
		if r.outputs, err = c.outputs(ctx, m); err != nil {
			return err
		}
	}
	defer r.close()
	for _, step := range []func() error{r.embedding, r.blocks, r.tail, r.journalSpent} {
		if err := step(); err != nil {
			return err
		}
	}
	c.Health.warnOfInputs()
	return r.write(func(*Entry) bool { return true })
}

// replace sets the quantized model's tensor name to the matrix that fill computes.
func (r *calibratedRun) replace(name string, fill func(dst, src *Matrix) error) error {
	e, src := r.entries[name], r.m.Tensors[name]
	dst, err := qtensor.New(e.To, e.Rows, e.Cols)
	if err == nil {
		err = fill(dst, src)
	}
	src.Release()
	if err == nil {
		err = r.account(e, dst)
	}
	if err != nil {
		return r.m.InTensor(name, err)
	}
	r.set(name, dst)
	return nil
}

// set sets the quantized model's tensor name to m. Vectors are set before that model's
// stream begins, or after it has ended.
func (r *calibratedRun) set(name string, m *Matrix) {
	r.out[name] = m
	if r.coarse != nil && r.entries[name].Role != model.Vector {
		r.coarse.Replace(name, m)
	}
}

// keep stores a tensor without using texts: one that is not rounded, or an embedding that
// is only looked up.
func (r *calibratedRun) keep(name string) error {
	out, err := r.p.store(r.ctx, r.m.Tensors[name], *r.entries[name], nil)
	if err == nil {
		err = r.account(r.entries[name], out)
	}
	if err != nil {
		return r.m.InTensor(name, err)
	}
	r.set(name, out)
	return nil
}

// embedding quantizes the embedding. A tied embedding is rounded as the head, with final
// states for which the float model runs ahead on some of the texts.
func (r *calibratedRun) embedding() error {
	if r.m.Spec.Layer.Width > 0 {
		if err := r.keep(model.LayerEmbed); err != nil {
			return err
		}
	}
	if !r.m.Spec.Tied {
		return r.keep(model.Embed)
	}
	return r.head(model.Embed, func() (*finalStates, error) { return r.c.finalStates(r.ctx, r.given, r.p.work(r.given, r.c)) })
}

// fineBits is the number of bits from which rounding to nearest costs a head so little that
// its second moments are not worth a pass of the float model.
const fineBits = 8

// head quantizes the tensor name as the head, given the final states.
func (r *calibratedRun) head(name string, states func() (*finalStates, error)) error {
	e := r.entries[name]
	if !e.rounds() || e.To.Bits >= fineBits && e.To.Rate == 0 {
		return r.keep(name)
	}
	return r.once(partOf(name), func() error {
		final, err := states()
		if err != nil {
			return err
		}
		return r.replace(name, func(dst, src *Matrix) error {
			if e.To.Rate > 0 {
				return roundHeadAt(r.ctx, r.p.method, dst, src, final, r.rates.ask(e))
			}
			return roundHead(r.ctx, r.p.method, dst, src, final)
		})
	})
}

// floatStates returns the final states of the float model. If the run follows the float
// model, it has passed all blocks; otherwise it runs ahead.
func (r *calibratedRun) floatStates() (*finalStates, error) {
	if r.float == nil {
		return r.c.finalStates(r.ctx, r.given, r.p.work(r.given, r.c))
	}
	h, err := r.float.Hidden()
	if err != nil {
		return nil, err
	}
	return newFinalStates(r.ctx, r.m, h)
}

// tail stores the tensors after the blocks.
func (r *calibratedRun) tail() error {
	for _, e := range r.p.Tensors {
		var err error
		switch {
		case partOf(e.Name) != afterBlocks:
		case e.Name == model.Head:
			err = r.head(e.Name, r.floatStates)
		default:
			err = r.keep(e.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// blocks quantizes block after block. A block that runs several times in a row
// (layer sharing) is quantized for all these runs at once.
func (r *calibratedRun) blocks() error {
	for _, e := range r.p.Tensors { // before the decoders are created, which widen vectors
		if e.Role == model.Vector && isBlock(partOf(e.Name)) {
			if err := r.keep(e.Name); err != nil {
				return err
			}
		}
	}
	var err error
	if r.streams, err = newStreams(r.m, r.out, r.c.Texts, r.p.method.ComparesStreams(), r.c.room(r.m, r.c.Texts, r.p.streams(r.m, r.c), r.p.work(r.m, r.c))); err != nil {
		return err
	}
	schedule := r.m.Spec.Schedule
	for step := 0; step < len(schedule); {
		repeats := 1
		for step+repeats < len(schedule) && schedule[step+repeats] == schedule[step] {
			repeats++
		}
		if err := r.pass(step, repeats); err != nil {
			return err
		}
		last := schedule[step]
		if err := r.write(func(e *Entry) bool { return partOf(e.Name) <= last }); err != nil {
			return err
		}
		step += repeats
		r.forget(step)
	}
	return nil
}

// forget drops the matrices that are written and that neither step nor a later one uses. The
// embedding is looked up before the first step, that of each layer's input in all.
func (r *calibratedRun) forget(step int) {
	for _, e := range r.p.Tensors[:r.written] {
		b := partOf(e.Name)
		if e.Role == model.Vector || e.Name == model.LayerEmbed || b > beforeBlocks && slices.Contains(r.m.Spec.Schedule[step:], b) {
			continue
		}
		if w := r.m.Tensors[e.Name]; r.out[e.Name] != w {
			r.set(e.Name, w)
		}
	}
}

// pass runs the texts past the block of a step, which runs repeats times from there on. It
// quantizes the block unless that was done before.
func (r *calibratedRun) pass(step, repeats int) error {
	b := r.m.Spec.Schedule[step]
	passed := false
	if !r.reached[b] {
		r.reached[b] = true
		err := r.once(b, func() error { passed = true; return r.block(step, repeats) })
		if passed || err != nil {
			return err
		}
	}
	return r.advanceSteps(r.ctx, repeats)
}

// block quantizes the block of a step, which runs repeats times from there on, and runs
// the texts past it.
func (r *calibratedRun) block(step, repeats int) error {
	var start *streamMark
	if repeats > 1 {
		var err error
		start, err = r.mark(step)
		defer start.close()
		if err != nil {
			return err
		}
	}
	for stage := range r.coarse.GroupsIn(step) {
		if err := start.rewind(); err != nil {
			return err
		}
		v := visit{step: step, block: r.m.Spec.Schedule[step], stage: stage}
		for range repeats {
			if err := r.visit(&v, repeats > 1); err != nil {
				return err
			}
		}
		if err := r.round(&v); err != nil {
			return err
		}
		if repeats > 1 {
			continue
		}
		if err := r.advance(r.ctx); err != nil {
			return err
		}
	}
	if repeats == 1 {
		return nil
	}
	if err := start.rewind(); err != nil {
		return err
	}
	return r.advanceSteps(r.ctx, repeats)
}

// A visit collects the input of one stage of a block.
type visit struct {
	step, block, stage int

	kinds   []string          // of the layers that read the input
	moments *rounding.Moments // nil if none of them is rounded
}

// visit observes the input of v's stage. If through is set, it runs the texts from the
// start of the block to its end; otherwise they must be at the stage already.
func (r *calibratedRun) visit(v *visit, through bool) error {
	for stage := range r.coarse.GroupsIn(v.step) {
		if !through && stage != v.stage {
			continue
		}
		x, xq, err := r.next()
		if err != nil {
			return err
		}
		if stage == v.stage {
			if err := r.look(v, x, xq); err != nil {
				return err
			}
		}
		if !through {
			continue
		}
		if err := r.advance(r.ctx); err != nil {
			return err
		}
	}
	return nil
}

// look adds one input to v: xq of the quantized model, and x of the float model if the run
// follows it.
func (r *calibratedRun) look(v *visit, x, xq *transformer.Group) error {
	v.kinds = xq.Kinds
	if !r.roundsAny(v) || xq.Len() == 0 {
		return nil
	}
	if v.moments == nil {
		v.moments = &rounding.Moments{Width: xq.Width()}
	}
	if x != nil && (!r.learnsDrift(x.Width()) || xq.Some()) { // the same expert may compute at other positions
		x = nil
	}
	_, err := addInput(r.ctx, v.moments, xq, x, xq.Len(), 1)
	return err
}

// roundsAny reports whether some layer of v's stage will be rounded.
func (r *calibratedRun) roundsAny(v *visit) bool {
	for _, kind := range v.kinds {
		if r.entries[model.Name(v.block, kind)].rounds() {
			return true
		}
	}
	return false
}

// round quantizes the layers of v's stage.
func (r *calibratedRun) round(v *visit) error {
	var in *rounding.Input
	if v.moments != nil {
		v.moments.Close()
		seen := v.observed()
		r.c.Health.add(v.block, seen)
		r.seen = append(r.seen, seen)
		var err error
		if in, err = rounding.NewInput(r.ctx, v.moments, rounding.Damping); err != nil {
			return r.m.InTensor(model.Name(v.block, v.kinds[0]), err)
		}
	} else if r.roundsAny(v) {
		r.c.Health.silent(v)
		in = rounding.Guess(slices.Repeat([]float64{1}, r.entries[model.Name(v.block, v.kinds[0])].Cols))
	}
	for _, kind := range v.kinds {
		name := model.Name(v.block, kind)
		var err error
		if e := r.entries[name]; e.rounds() {
			known := in
			if e.To.Rate > 0 {
				known = in.At(r.rates.ask(e), steps(r.outputs[name], e.Cols))
			}
			err = r.replace(name, func(dst, src *Matrix) error { return r.p.method.Round(r.ctx, dst, src, known) })
		} else {
			err = r.keep(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
