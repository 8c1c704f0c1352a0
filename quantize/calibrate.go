package quantize

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// A Calibration is the texts that a method measures errors on. It serves one
// goroutine.
type Calibration struct {
	Texts [][]int // token ids, none empty; texts do not see each other
	Spare [][]int // held out: never calibrated on, to measure what came of it

	Health *Health // if not nil, hears of every input that a run sees

	// Journal, if not nil, keeps the blocks that a run finishes, and has those that
	// an earlier one has: of the same model, plan and texts, which is not looked at.
	Journal *Journal

	ahead *ending // of the model that was last read ahead
}

// aheadPositions is how many positions at least the float model reads ahead, for a
// survey or a tied head.
const aheadPositions = 8192

// An ending is what the float model m comes to at the end of the first texts.
type ending struct {
	m      *model.Model
	hidden *transformer.Hidden
	bins   []bin // of the rows of m's head
}

func newEnding(ctx context.Context, m *model.Model, h *transformer.Hidden) (*ending, error) {
	bins, err := headBins(ctx, h, m.Spec.Vocab)
	return &ending{m, h, bins}, err
}

// first returns the texts to be read ahead.
func (c *Calibration) first() [][]int {
	n, positions := 0, 0
	for n < len(c.Texts) && positions < aheadPositions {
		positions += len(c.Texts[n])
		n++
	}
	return c.Texts[:n]
}

// ending reads ahead, unless a survey of m has.
func (c *Calibration) ending(ctx context.Context, m *model.Model) (*ending, error) {
	if c.ahead != nil && c.ahead.m == m {
		return c.ahead, nil
	}
	d, err := transformer.New(m)
	if err != nil {
		return nil, err
	}
	t, err := d.NewTrace(c.first())
	if err != nil {
		return nil, err
	}
	if err := t.Finish(ctx); err != nil {
		return nil, err
	}
	c.ahead, err = newEnding(ctx, m, t.Hidden())
	return c.ahead, err
}

// A calibrated run takes the texts through the float model and through the model
// quantized so far, side by side, and quantizes each group of linear layers when
// both stand before it.
type calibrated struct {
	ctx     context.Context
	m       *model.Model // rotated
	given   *model.Model // computes the same
	p       *Plan
	c       *Calibration
	entries map[string]*Entry
	out     map[string]*qtensor.Matrix // of the quantized model
	known   map[int]bool               // blocks that were reached
	streams
	write    func(done func(e *Entry) bool) error
	health   *Health
	seen     []seenInput // of the part that is being quantized
	restored int         // records of the journal that were taken
}

// runCalibrated carries out p on m.
func runCalibrated(ctx context.Context, m *model.Model, p *Plan, c *Calibration, write func(*Entry, *qtensor.Matrix) error) error {
	if len(c.Texts) == 0 {
		return errors.New("there are no calibration texts")
	}
	given := m
	if _, ok := p.method.(gptq); ok { // nearest rounding is better off without
		m = rotated(m, p)
	}
	r := &calibrated{ctx: ctx, m: m, given: given, p: p, c: c, entries: map[string]*Entry{}, out: map[string]*qtensor.Matrix{}, known: map[int]bool{}}
	for i := range p.Tensors {
		r.entries[p.Tensors[i].Name] = &p.Tensors[i]
	}
	maps.Copy(r.out, m.Tensors)
	r.health = c.Health
	next := 0
	r.write = func(done func(e *Entry) bool) error {
		for ; next < len(p.Tensors) && done(&p.Tensors[next]); next++ {
			e := &p.Tensors[next]
			if err := write(e, r.out[e.Name]); err != nil {
				return inTensor(m, e.Name, err)
			}
		}
		return nil
	}
	if err := checkFinite(ctx, m); err != nil {
		return err
	}
	if err := r.embedding(); err != nil {
		return err
	}
	if err := r.blocks(); err != nil {
		return err
	}
	if err := r.ending(); err != nil {
		return err
	}
	if err := r.spent(); err != nil {
		return err
	}
	r.health.judge()
	return r.write(func(*Entry) bool { return true })
}

// rounds reports whether e becomes integers that it was not.
func (e *Entry) rounds() bool { return !e.moved() && e.To.Kind == qtensor.Int }

// replace puts the matrix that make fills in the place of a tensor.
func (r *calibrated) replace(name string, fill func(dst, src *qtensor.Matrix) error) error {
	e, src := r.entries[name], r.m.Tensors[name]
	dst, err := qtensor.New(e.To, e.Rows, e.Cols)
	if err == nil {
		err = fill(dst, src)
	}
	src.Release()
	if err != nil {
		return inTensor(r.m, name, err)
	}
	r.set(name, dst)
	return nil
}

// set makes m the quantized model's tensor called name. Vectors are set before
// that model's stream begins, or after it has ended.
func (r *calibrated) set(name string, m *qtensor.Matrix) {
	r.out[name] = m
	if r.coarse != nil && r.entries[name].Role != model.Vector {
		r.coarse.Replace(name, m)
	}
}

// keep stores a tensor that is not rounded.
func (r *calibrated) keep(name string) error {
	out, err := r.p.store(r.ctx, r.m.Tensors[name], *r.entries[name], nil)
	if err != nil {
		return inTensor(r.m, name, err)
	}
	r.set(name, out)
	return nil
}

// embedding quantizes the embedding: as the head, where it is tied, for a part of
// the texts, which the float model reads ahead.
func (r *calibrated) embedding() error {
	if !r.m.Spec.Tied || !r.entries[model.Embed].rounds() {
		return r.keep(model.Embed)
	}
	return r.once(blockOf(model.Embed), func() error {
		end, err := r.c.ending(r.ctx, r.given)
		if err != nil {
			return err
		}
		return r.head(model.Embed, end)
	})
}

// head quantizes the head by what is known of final hidden states.
func (r *calibrated) head(name string, end *ending) error {
	return r.replace(name, func(dst, src *qtensor.Matrix) error { return roundHead(r.ctx, r.p.method, dst, src, end) })
}

// floatEnding is what the float model has come to behind the blocks, or comes to.
func (r *calibrated) floatEnding() (*ending, error) {
	if r.float == nil {
		return r.c.ending(r.ctx, r.given)
	}
	return newEnding(r.ctx, r.m, r.float.Hidden())
}

// ending stores what follows the blocks.
func (r *calibrated) ending() error {
	for _, e := range r.p.Tensors {
		switch e.Name {
		case model.Norm, model.Norm + model.BiasSuffix, model.Head + model.BiasSuffix:
			if err := r.keep(e.Name); err != nil {
				return err
			}
		case model.Head:
			if !e.rounds() {
				if err := r.keep(e.Name); err != nil {
					return err
				}
				continue
			}
			err := r.once(blockOf(e.Name), func() error {
				end, err := r.floatEnding()
				if err != nil {
					return err
				}
				return r.head(e.Name, end)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// blocks quantizes block after block. One that runs several times in a row
// (layer sharing) is quantized for all these runs at once.
func (r *calibrated) blocks() error {
	for _, e := range r.p.Tensors { // the decoders widen vectors when they are made
		if b := blockOf(e.Name); e.Role == model.Vector && b >= 0 && b < model.MaxBlocks {
			if err := r.keep(e.Name); err != nil {
				return err
			}
		}
	}
	var err error
	if r.streams, err = newStreams(r.m, r.out, r.c.Texts, r.p.method.comparesStreams()); err != nil {
		return err
	}
	schedule := r.m.Spec.Schedule
	for step := 0; step < len(schedule); {
		runs := 1
		for step+runs < len(schedule) && schedule[step+runs] == schedule[step] {
			runs++
		}
		if err := r.pass(step, runs); err != nil {
			return err
		}
		behind := schedule[step]
		if err := r.write(func(e *Entry) bool { return blockOf(e.Name) <= behind }); err != nil {
			return err
		}
		step += runs
	}
	return nil
}

// block quantizes the block of a step that runs so many times from there on,
// and takes the texts past it.
func (r *calibrated) block(step, runs int) error {
	rewind := func() {}
	if runs > 1 {
		rewind = r.mark(step)
	}
	for stage := range r.coarse.GroupsPerStep() {
		rewind()
		v := visit{block: r.m.Spec.Schedule[step], stage: stage}
		for range runs {
			if err := r.visit(&v, runs > 1); err != nil {
				return err
			}
		}
		if err := r.round(&v); err != nil {
			return err
		}
		if runs > 1 {
			continue
		}
		if err := r.run(r.ctx); err != nil {
			return err
		}
	}
	if runs == 1 {
		return nil
	}
	rewind()
	return r.runSteps(r.ctx, runs)
}

// A visit is what is seen of the input of one stage of a block.
type visit struct {
	block, stage int
	kinds        []string
	moments      *moments
}

// visit looks at the input of v's stage. through goes there from the start of
// the block, and on to its end; else both traces stand there.
func (r *calibrated) visit(v *visit, through bool) error {
	for stage := range r.coarse.GroupsPerStep() {
		if !through && stage != v.stage {
			continue
		}
		x, xq := r.next()
		if stage == v.stage {
			if err := r.look(v, x, xq); err != nil {
				return err
			}
		}
		if !through {
			continue
		}
		if err := r.run(r.ctx); err != nil {
			return err
		}
	}
	return nil
}

// look adds one input to v: xq of the quantized model, and x of the float model
// where that is followed.
func (r *calibrated) look(v *visit, x, xq *transformer.Group) error {
	v.kinds = xq.Kinds
	if !r.rounds(v) {
		return nil
	}
	if v.moments == nil {
		v.moments = &moments{width: xq.Width()}
	}
	coarse, float := positionRows{r.coarse.Len(), xq.Row}, positionRows{}
	if x != nil && r.learns(x.Width()) {
		float = positionRows{r.float.Len(), x.Row}
	}
	return v.moments.add(r.ctx, coarse, float, positionWeights(coarse))
}

// rounds reports whether some layer of v's stage is to be rounded.
func (r *calibrated) rounds(v *visit) bool {
	for _, kind := range v.kinds {
		if r.entries[model.Name(v.block, kind)].rounds() {
			return true
		}
	}
	return false
}

// round quantizes the layers of v's stage.
func (r *calibrated) round(v *visit) error {
	var in *Input
	if v.moments != nil {
		v.moments.close()
		seen := v.seen()
		r.health.see(v.block, seen)
		r.seen = append(r.seen, seen)
		var err error
		if in, err = newInput(r.ctx, v.moments, damping); err != nil {
			return inTensor(r.m, model.Name(v.block, v.kinds[0]), err)
		}
	}
	for _, kind := range v.kinds {
		name := model.Name(v.block, kind)
		if !r.entries[name].rounds() {
			if err := r.keep(name); err != nil {
				return err
			}
			continue
		}
		err := r.replace(name, func(dst, src *qtensor.Matrix) error { return r.p.method.Quantize(r.ctx, dst, src, in) })
		if err != nil {
			return err
		}
	}
	return nil
}

// blockOf returns the block of a tensor, -1 for the embedding, and
// model.MaxBlocks for what comes after all blocks.
func blockOf(name string) int {
	rest, inside := strings.CutPrefix(name, "blocks.")
	number, _, _ := strings.Cut(rest, ".")
	b, err := strconv.Atoi(number)
	switch {
	case inside && err == nil:
		return b
	case name == model.Embed:
		return -1
	}
	return model.MaxBlocks
}
