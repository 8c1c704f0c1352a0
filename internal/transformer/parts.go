package transformer

import (
	"context"
	"slices"
	"unsafe"

	"thimble/internal/atomicfile"
	"thimble/internal/model"
)

// A Room bounds the memory of a Trace. The activations do not depend on it.
type Room struct {
	// Positions is how many positions run at a time, rounded up to whole texts. Between
	// groups, a Trace keeps of each position only its residual stream and the
	// activations that later operations read.
	Positions int
	// Spill, unless it is "", is the directory of a temporary file that holds what the
	// Trace keeps. The file has no name where the system allows that, and Close removes it
	// elsewhere.
	Spill string
}

// parts runs the sequences of a Trace a few at a time.
type parts struct {
	spans []part
	n     int // positions
	slot  int // floats of a position in live

	stream *kept // (n, stride of Hidden)
	live   *kept // (n, slot): what else is read later, part after part, see each
}

// A part is the sequences that run at a time.
type part struct {
	sequences []sequence
	first, n  int // positions
}

// inParts reports whether a model can run some positions at a time. With experts it cannot,
// because each sees positions of all texts, and neither with convolutions, the delta rule, state
// spaces, blocks of different sizes, or inputs of each layer.
func inParts(s *model.Spec) bool {
	return s.Experts.Count == 0 && !s.Varies() && s.Layer.Width == 0 && !slices.ContainsFunc(s.Attention, func(a model.Attention) bool { return !a.Attends() || a.Scan > 0 })
}

// NewTraceWithin is NewTrace with bounded memory, if the model can run some positions at a
// time. Close the Trace after use.
func (d *Decoder) NewTraceWithin(texts [][]int, r Room) (*Trace, error) {
	sequences, err := d.sequencesOf(texts)
	if err != nil {
		return nil, err
	}
	s := &parts{spans: partsOf(sequences, r.Positions)}
	largest := part{}
	for _, at := range s.spans {
		s.n += at.n
		if at.n > largest.n {
			largest = at
		}
	}
	if len(s.spans) == 1 && r.Spill == "" || !inParts(d.spec) {
		return d.NewTrace(texts)
	}
	t := &Trace{p: d.newPass(largest.sequences), parts: s}
	t.p.sequences = sequences
	t.p.extendRopes()
	for step, all := range d.operations {
		for op := range all {
			size := 0
			s.each(t.p, step, op, func(name string, stride int) { size += stride })
			s.slot = max(s.slot, size)
		}
	}
	if s.stream, err = newKept(r.Spill, s.n*t.p.x.stride); err != nil {
		return nil, err
	}
	if s.live, err = newKept(r.Spill, s.n*s.slot); err != nil {
		t.Close()
		return nil, err
	}
	for _, at := range s.spans {
		x := t.p.x.slice(0, at.n)
		err = d.lookupTexts(x, texts[:len(at.sequences)])
		texts = texts[len(at.sequences):]
		if err == nil {
			err = s.stream.write(x.data, at.first*x.stride)
		}
		if err != nil {
			t.Close()
			return nil, err
		}
	}
	return t, nil
}

// partsOf cuts sequences into parts of at most so many positions, or of one sequence.
func partsOf(sequences []sequence, positions int) (all []part) {
	at := part{}
	for i, q := range sequences {
		if at.n > 0 && at.n+q.n > positions {
			all = append(all, at)
			at = part{first: at.first + at.n}
		}
		at.sequences = sequences[i-len(at.sequences) : i+1]
		at.n += q.n
	}
	return append(all, at)
}

// Close removes the files of t.
func (t *Trace) Close() {
	if t.parts != nil {
		t.parts.stream.close()
		t.parts.live.close()
	}
}

// each calls f for the activations other than the residual stream that are kept before an
// operation: those that it or a later one reads, and that no operation in between writes.
// In live, a part holds them one after the other, (n, stride) each.
func (s *parts) each(p *pass, step, op int, f func(name string, stride int)) {
	var written, seen []string
	for _, o := range p.d.operations[step][op:] {
		for _, name := range o.Reads {
			if x := p.activations(name); !slices.Contains(written, name) && !slices.Contains(seen, name) && &x.data[0] != &p.x.data[0] {
				seen = append(seen, name)
				f(name, x.stride)
			}
		}
		written = append(written, o.Writes...)
	}
}

// run runs the operations [from, to) of a step, part after part.
func (s *parts) run(ctx context.Context, whole *pass, step, from, to int) error {
	for _, at := range s.spans {
		p := whole.cut(at)
		if err := s.stream.read(p.x.data, at.first*p.x.stride); err != nil {
			return err
		}
		if err := s.move(p, at, step, from, s.live.read); err != nil {
			return err
		}
		changed := false
		for i := from; i < to; i++ {
			o := &p.d.operations[step][i]
			if err := o.run(p, ctx, step); err != nil {
				return err
			}
			for _, name := range o.Writes {
				x := p.activations(name)
				changed = changed || &x.data[0] == &p.x.data[0]
			}
		}
		if changed {
			if err := s.stream.write(p.x.data, at.first*p.x.stride); err != nil {
				return err
			}
		}
		if err := s.move(p, at, step, to, s.live.write); err != nil {
			return err
		}
	}
	return nil
}

// move reads or writes what a part keeps before an operation.
func (s *parts) move(p *pass, at part, step, op int, do func(x []float32, offset int) error) (err error) {
	offset := at.first * s.slot
	s.each(p, step, op, func(name string, stride int) {
		if err == nil {
			err = do(p.activations(name).data, offset)
		}
		offset += at.n * stride
	})
	return err
}

// load copies the activations called name of n positions from first on to window.
func (s *parts) load(window *rows, whole *pass, step, op int, name string, first, n int) error {
	like := whole.activations(name)
	if len(window.data) < n*like.stride {
		window.data = make([]float32, n*like.stride)
	}
	window.n, window.width, window.stride = n, like.width, like.stride
	if &like.data[0] == &whole.x.data[0] {
		return s.stream.read(window.data[:n*like.stride], first*like.stride)
	}
	for _, at := range s.spans {
		from, to := max(first, at.first), min(first+n, at.first+at.n)
		if from >= to {
			continue
		}
		offset := at.first * s.slot
		found := false
		s.each(whole, step, op, func(other string, stride int) {
			if found = found || other == name; !found {
				offset += at.n * stride
			}
		})
		dst := window.data[(from-first)*like.stride : (to-first)*like.stride]
		if err := s.live.read(dst, offset+(from-at.first)*like.stride); err != nil {
			return err
		}
	}
	return nil
}

// cut returns p for one part, which uses p's memory.
func (p *pass) cut(at part) *pass {
	c := *p
	c.sequences = at.sequences
	for _, x := range append(c.latent.all(), &c.x, &c.h, &c.h2, &c.y, &c.q, &c.k, &c.v, &c.gate, &c.up, &c.attnGate) {
		if x.n > 0 {
			*x = x.slice(0, at.n)
		}
	}
	return &c
}

// kept is an array of floats, in memory or in a temporary file.
type kept struct {
	data []float32
	file *atomicfile.Scratch // nil if data holds them
	dir  string
	size int
}

func newKept(dir string, size int) (*kept, error) {
	k := &kept{dir: dir, size: size}
	if dir == "" {
		k.data = make([]float32, size)
		return k, nil
	}
	var err error
	k.file, err = atomicfile.NewScratch(dir)
	return k, err
}

func (k *kept) read(x []float32, offset int) error {
	if k.file == nil {
		copy(x, k.data[offset:])
		return nil
	}
	_, err := k.file.ReadAt(bytesOf(x), 4*int64(offset))
	return err
}

func (k *kept) write(x []float32, offset int) error {
	if k.file == nil {
		copy(k.data[offset:], x)
		return nil
	}
	_, err := k.file.WriteAt(bytesOf(x), 4*int64(offset))
	return err
}

// clone returns a copy of k.
func (k *kept) clone() (*kept, error) {
	other, err := newKept(k.dir, k.size)
	if err == nil {
		err = other.copyFrom(k)
	}
	return other, err
}

// copyFrom copies other, of the same size, to k.
func (k *kept) copyFrom(other *kept) error {
	if k.file == nil {
		copy(k.data, other.data)
		return nil
	}
	const floats = 1 << 20
	x := make([]float32, min(floats, k.size))
	for at := 0; at < k.size; at += len(x) {
		x = x[:min(len(x), k.size-at)]
		if err := other.read(x, at); err != nil {
			return err
		}
		if err := k.write(x, at); err != nil {
			return err
		}
	}
	return nil
}

func (k *kept) close() {
	if k != nil && k.file != nil {
		k.file.Close()
	}
}

// bytesOf returns the memory of x. A temporary file is read only by the process that wrote
// it, so the order of the bytes does not matter.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
