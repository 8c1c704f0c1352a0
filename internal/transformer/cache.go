package transformer

import (
	"fmt"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer/recurrence"
)

// A Cache holds the keys and values of past positions. It has one entry per step,
// so a shared block has one for each time it runs; a block that attends to keys and values of
// another has that one's. It grows as needed.
type Cache struct {
	used     int // positions in use
	capacity int // positions that are allocated
	limit    int // largest capacity
	steps    []*entry
	entries  []*entry // those of steps, each once
	rounder  qtensor.Rounder
}

// An entry holds one step's keys and values.
type entry struct {
	k store // rotated
	v store

	heads     int // KVHeads; 0 in a step without attention
	headDim   int
	keyStride int // headDim padded to a multiple of 16

	past recurrence.Past // of a convolution, the delta rule or a state space, whose Width is 0 without
}

// A store holds the keys or the values of a step, (KVHeads, capacity, width).
type store struct {
	width  int             // of a vector: HeadDim or ValueDim
	stride int             // of a vector, in floats
	floats []float32       // (KVHeads, capacity, stride), if they are stored as float32
	matrix *qtensor.Matrix // (KVHeads*capacity, width) otherwise, else nil
}

// NewCache returns an empty cache for up to limit positions.
func (d *Decoder) NewCache(limit int) (*Cache, error) { return d.newCache(limit, false) }

// newCache is NewCache. If shared is set, all steps of one kind share an entry, so that each
// overwrites the one before.
func (d *Decoder) newCache(limit int, shared bool) (*Cache, error) {
	s := d.spec
	if limit < 1 || limit > model.MaxLength {
		return nil, fmt.Errorf("a cache of %d positions is out of range, want 1 to %d", limit, model.MaxLength)
	}
	c := &Cache{limit: limit, steps: make([]*entry, len(s.Schedule))}
	type kind struct{ heads, headDim, width int }
	like := map[kind]*entry{}
	for i, b := range s.Schedule {
		t, a := s.Of(b), s.AttentionOf(b)
		if a.Back > 0 {
			c.steps[i] = c.steps[i-a.Back]
			continue
		}
		key := kind{t.KVHeads, t.HeadDim, inputWidth(s, b)}
		if !a.Attends() {
			key.heads = 0
		}
		if c.steps[i] = like[key]; c.steps[i] == nil {
			stride := kernel.Padded(t.HeadDim)
			c.steps[i] = &entry{k: newStore(d.arithmetic.Keys, t.HeadDim, stride), v: newStore(d.arithmetic.Values, t.ValueDim(), t.ValueDim()),
				heads: key.heads, headDim: t.HeadDim, keyStride: stride, past: recurrence.Past{Width: key.width, Reach: reachOf(a)}}
			c.entries = append(c.entries, c.steps[i])
		}
		if shared {
			like[key] = c.steps[i]
		}
	}
	return c, nil
}

// inputWidth returns the width of the inputs that the cache of a block holds of the last positions,
// or 0 if it has only keys and values.
func inputWidth(s *model.Spec, block int) int {
	switch a := s.AttentionOf(block); {
	case a.Conv > 0:
		return s.Hidden
	case a.Delta > 0:
		return s.Delta.Inputs()
	case a.Scan > 0:
		return s.Scan.Inputs()
	}
	return 0
}

// reachOf returns how many positions before it the convolution of a block reads.
func reachOf(a model.Attention) int { return max(a.Conv, a.Delta, a.Scan, 1) - 1 }

func newStore(scheme qtensor.Scheme, width, stride int) store {
	if scheme.Kind == qtensor.F32 {
		return store{width: width, stride: stride}
	}
	return store{width: width, stride: stride, matrix: &qtensor.Matrix{Scheme: scheme, Cols: width}}
}

// Bytes returns the memory that is allocated for keys and values.
func (c *Cache) Bytes() (n int64) {
	for _, e := range c.entries {
		n += e.k.bytes() + e.v.bytes() + e.past.Bytes()
	}
	return n
}

// PositionBytes returns the bytes of a cache of m's keys and values, in float32, for one position.
func PositionBytes(s *model.Spec) (n int64) {
	for _, b := range s.Schedule {
		n += EntryBytes(s, Arithmetic{}, b)
	}
	return n
}

// FixedBytes returns the bytes of a cache of a long text that do not grow with it: states, and the
// inputs of the last positions.
func FixedBytes(s *model.Spec) (n int64) {
	for _, b := range s.Schedule {
		state, a := 0, s.AttentionOf(b)
		switch {
		case a.Delta > 0:
			state = s.Delta.ValueHeads * s.Delta.KeyDim * s.Delta.ValueDim
		case a.Scan > 0:
			state = s.Scan.Values() * s.Scan.State
		}
		n += recurrence.PastBytes(inputWidth(s, b), reachOf(a), state)
	}
	return n
}

// EntryBytes returns the bytes of a cache for one position of a step that runs block: of its keys
// and values, 0 if it has none or attends to those of another.
func EntryBytes(s *model.Spec, a Arithmetic, block int) int64 {
	if at := s.AttentionOf(block); at.Back > 0 || !at.Attends() {
		return 0
	}
	sized := s.Of(block)
	s = &sized
	bytes := func(scheme qtensor.Scheme, width, stride int) int64 {
		if scheme.Kind == qtensor.F32 {
			return 4 * int64(stride)
		}
		size, _ := scheme.Size(1, width)
		return size
	}
	return int64(s.KVHeads) * (bytes(a.Keys, s.HeadDim, kernel.Padded(s.HeadDim)) + bytes(a.Values, s.ValueDim(), s.ValueDim()))
}

// ReadBytes returns the bytes of a cache that a token at position pos reads, of all positions
// before it.
func ReadBytes(s *model.Spec, a Arithmetic, pos int) (n int64) {
	for step, block := range s.Schedule {
		at := s.AttentionOf(block)
		n += int64(pos-at.First(pos)) * EntryBytes(s, a, s.Schedule[step-at.Back])
		n += 4 * int64(min(pos, reachOf(at))*inputWidth(s, block))
	}
	return n
}

// Truncate discards the positions from n on, or all if a state cannot go back so far. It returns
// how many are left.
func (c *Cache) Truncate(n int) int {
	n = min(c.used, max(0, n))
	for _, e := range c.entries {
		if !e.past.Reaches(n) {
			n = 0
		}
	}
	c.used = n
	return n
}

// reserve allocates memory for n more positions.
func (c *Cache) reserve(n int) error {
	if c.used+n > c.limit {
		return fmt.Errorf("%d positions do not fit a cache of %d", c.used+n, c.limit)
	}
	if c.used+n <= c.capacity {
		return nil
	}
	capacity := min(c.limit, max(c.used+n, 2*c.capacity))
	for _, e := range c.entries {
		if e.heads == 0 {
			continue
		}
		for _, s := range []*store{&e.k, &e.v} {
			if err := s.grow(c, e, capacity); err != nil {
				return err
			}
		}
	}
	c.capacity = capacity
	return nil
}

// grow reallocates s for capacity positions and keeps the positions that c holds.
func (s *store) grow(c *Cache, e *entry, capacity int) error {
	if s.matrix == nil {
		x := make([]float32, e.heads*capacity*s.stride)
		for h := range e.heads {
			copy(x[h*capacity*s.stride:], s.floats[h*c.capacity*s.stride:][:c.used*s.stride])
		}
		s.floats = x
		return nil
	}
	m, err := qtensor.New(s.matrix.Scheme, e.heads*capacity, s.width)
	if err != nil {
		return err
	}
	for h := range e.heads {
		for pos := range c.used {
			m.CopyRow(h*capacity+pos, s.matrix, h*c.capacity+pos)
		}
	}
	s.matrix = m
	return nil
}

func (s *store) bytes() int64 {
	if s.matrix == nil {
		return 4 * int64(len(s.floats))
	}
	return s.matrix.Bytes()
}

// put stores x, (HeadDim), as vector i.
func (s *store) put(d *qtensor.Rounder, i int, x []float32) error {
	if s.matrix == nil {
		copy(s.floats[i*s.stride:], x)
		return nil
	}
	return d.Row(s.matrix, i, x)
}

// read returns the vectors [from, from+n), (n, stride). If they are stored by a
// scheme, it widens them to scratch.
func (s *store) read(scratch []float32, d *qtensor.Reader, from, n int) []float32 {
	if s.matrix == nil {
		return s.floats[from*s.stride:]
	}
	d.Rows(scratch, s.stride, s.matrix, from, n)
	return scratch
}

// entry returns the keys and values of a step.
func (c *Cache) entry(step int) *entry {
	return c.steps[step]
}

// append stores rotated keys and values, (n, KVHeads*HeadDim) and (n, KVHeads*ValueDim), at the n
// positions that follow those in use. It does not change c.used, because further
// steps store the same positions.
func (c *Cache) append(step int, k, v rows) error {
	e := c.entry(step)
	for t := range k.n {
		pos := c.used + t
		for h := range e.heads {
			i := h*c.capacity + pos
			if err := e.k.put(&c.rounder, i, k.row(t)[h*e.k.width:][:e.k.width]); err != nil {
				return fmt.Errorf("step %d, position %d, key of head %d, %w; store keys in a wider type", step, pos, h, err)
			}
			if err := e.v.put(&c.rounder, i, v.row(t)[h*e.v.width:][:e.v.width]); err != nil {
				return fmt.Errorf("step %d, position %d, value of head %d, %w; store values in a wider type", step, pos, h, err)
			}
		}
	}
	return nil
}

// Copy overwrites the keys and values of position to with those of position from.
func (c *Cache) Copy(to, from int) {
	for _, e := range c.entries {
		e.past.Copy(to, from)
		for _, s := range []*store{&e.k, &e.v} {
			for h := range e.heads {
				s.copy(h*c.capacity+to, h*c.capacity+from)
			}
		}
	}
}

// copy stores vector from as vector to.
func (s *store) copy(to, from int) {
	if s.matrix != nil {
		s.matrix.CopyRow(to, s.matrix, from)
		return
	}
	copy(s.floats[to*s.stride:][:s.stride], s.floats[from*s.stride:])
}

// Difference compares the keys and values of the positions that both caches hold, and the inputs
// that both have kept.
// It returns the first position that differs and the first step in which it does,
// or -1 for both if there is none. Both caches must be of one Decoder.
func (c *Cache) Difference(other *Cache) (step, position int) {
	for position := range min(c.used, other.used) {
		for step := range c.steps {
			a, b := c.steps[step].past.Row(position), other.steps[step].past.Row(position)
			if !slices.Equal(c.row(step, position), other.row(step, position)) || a != nil && b != nil && !slices.Equal(a, b) {
				return step, position
			}
		}
	}
	return -1, -1
}

// row returns the keys and values of all heads of a position.
func (c *Cache) row(step, position int) (all []float32) {
	e := c.steps[step]
	var read qtensor.Reader
	scratch := make([]float32, max(e.k.stride, e.v.stride))
	for h := range e.heads {
		for _, s := range []*store{&e.k, &e.v} {
			all = append(all, s.read(scratch, &read, h*c.capacity+position, 1)[:s.width]...)
		}
	}
	return all
}
