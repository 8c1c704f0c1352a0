package verify

import (
	"cmp"
	"fmt"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// changed is the specimen with some tensors exchanged.
func (s *specimen) changed(want Place, tensors map[string]*qtensor.Matrix) (*injected, string) {
	return &injected{model: with(s.m, tensors), want: want}, ""
}

// exchangeQueriesAndKeys cuts a fused matrix, in which the rows of k follow those
// of q, as if k came first.
func exchangeQueriesAndKeys(s *specimen) (*injected, string) {
	q, k := model.Name(s.block, model.Q), model.Name(s.block, model.K)
	parts := [2]*qtensor.Matrix{s.m.Tensors[q], s.m.Tensors[k]}
	fused := func(r int) (*qtensor.Matrix, int) {
		if r < parts[0].Rows {
			return parts[0], r
		}
		return parts[1], r - parts[0].Rows
	}
	return s.changed(s.at(s.block, model.Q), map[string]*qtensor.Matrix{
		k: assembled(parts[1].Rows, fused),
		q: assembled(parts[0].Rows, func(r int) (*qtensor.Matrix, int) { return fused(parts[1].Rows + r) }),
	})
}

// interleaveHeads leaves the rows of q and k as the other layout of rotary pairs
// has them.
func interleaveHeads(s *specimen) (*injected, string) {
	spec := &s.m.Spec
	for i := range spec.Blocks {
		block := (s.block + i) % spec.Blocks
		rope := spec.RopeOf(block)
		if rope == nil {
			continue
		}
		dims, other := cmp.Or(rope.Dims, spec.HeadDim), model.Halved
		if rope.Pairs {
			other = model.Interleaved
		}
		if dims == 2 {
			return nil, "heads of one pair have one layout"
		}
		tensors := map[string]*qtensor.Matrix{}
		for _, kind := range []string{model.Q, model.K} {
			w := s.m.Tensors[model.Name(block, kind)]
			tensors[model.Name(block, kind)] = assembled(w.Rows, func(r int) (*qtensor.Matrix, int) {
				if at := r % spec.HeadDim; at < dims {
					r += other(at, dims) - at
				}
				return w, r
			})
		}
		return s.changed(s.at(block, model.Q), tensors)
	}
	return nil, "no block turns queries and keys"
}

// dropBias drops the largest bias of a linear layer of the block.
func dropBias(s *specimen) (*injected, string) {
	kind, largest := "", float32(0)
	for _, k := range model.LinearKinds {
		if w := s.m.Tensors[model.Name(s.block, k+model.BiasSuffix)]; w != nil {
			x := make([]float32, w.Cols)
			new(qtensor.Reader).Row(x, w, 0)
			if v := abs(x[qtensor.LargestMagnitude(x)]); v > largest {
				kind, largest = k+model.BiasSuffix, v
			}
		}
	}
	if kind == "" {
		return nil, "no linear layer has a bias that is not zero"
	}
	name := model.Name(s.block, kind)
	return s.changed(s.at(s.block, kind), map[string]*qtensor.Matrix{name: zeros(1, s.m.Tensors[name].Cols)})
}

func abs(x float32) float32 { return max(x, -x) }

// shiftScales reads the scales of a matrix one group too far on, and its minimums
// with them.
func shiftScales(s *specimen) (*injected, string) {
	return s.integerFault(func(w *qtensor.Matrix, _ *Place) {
		for _, plane := range [][]byte{w.Scales, w.Mins} {
			if len(plane) > 0 {
				first := [2]byte(plane)
				copy(plane, plane[2:])
				copy(plane[len(plane)-2:], first[:])
			}
		}
	})
}

// flipNibble turns over the upper four bits of one code: of the loud column, in
// the row where its weight is largest, so that the weight goes to the other end.
func flipNibble(s *specimen) (*injected, string) {
	return s.integerFault(func(w *qtensor.Matrix, want *Place) {
		var read qtensor.Reader
		x, at, largest := make([]float32, w.Cols), 0, float32(0)
		for r := range w.Rows {
			read.Row(x, w, r)
			if v := abs(x[s.loud]); v > largest {
				at, largest = r, v
			}
		}
		codes, scale, least := read.Codes(w, at)
		bits := w.Scheme.Bits
		codes[s.loud] ^= uint8(0xf << max(0, bits-4) & (1<<bits - 1))
		w.SetRow(at, codes, scale, least)
		want.Channel = at
	})
}

// integerFault lets damage change the block's down, which is rounded to integers
// first if it is stored as floats.
func (s *specimen) integerFault(damage func(w *qtensor.Matrix, want *Place)) (*injected, string) {
	name := model.Name(s.block, model.Down)
	w, rounded, err := integers(s.m.Tensors[name])
	if err != nil {
		return nil, fmt.Sprintf("%s: %v", name, err)
	}
	in := &injected{want: s.at(s.block, model.Down)}
	if rounded {
		in.base = with(s.m, map[string]*qtensor.Matrix{name: owned(w)})
		in.note = fmt.Sprintf("in a copy with %s in %v", name, w.Scheme)
	}
	damage(w, &in.want)
	in.model = with(s.m, map[string]*qtensor.Matrix{name: w})
	return in, ""
}

// transpose reads o, (rows, cols), as if it lay column by column.
func transpose(s *specimen) (*injected, string) {
	name := model.Name(s.block, model.O)
	w := s.m.Tensors[name]
	if w.Rows == 1 || w.Cols == 1 {
		return nil, "a row is its own transpose"
	}
	all := make([]float32, w.Rows*w.Cols)
	var read qtensor.Reader
	for r := range w.Rows {
		read.Row(all[r*w.Cols:], w, r)
	}
	return s.changed(s.at(s.block, model.O), map[string]*qtensor.Matrix{name: widened(w.Rows, w.Cols, func(_ *qtensor.Reader, dst []float32, r int) {
		for c := range dst {
			i := r*w.Cols + c // of the transpose, (cols, rows)
			dst[c] = all[i%w.Rows*w.Cols+i/w.Rows]
		}
	})})
}

// operation is the place of an operation without a tensor, in the first step
// whose block has a property.
func (s *specimen) operation(name string, has func(a model.Attention) bool) (p Place, ok bool) {
	for step, block := range s.m.Spec.Schedule {
		if has(s.m.Spec.AttentionOf(block)) {
			return Place{Step: step, Block: block, Operation: name, Token: -1, Channel: -1}, true
		}
	}
	return p, false
}

// changeBase takes the base that a config without one would mean, or the
// other common one.
func changeBase(s *specimen) (*injected, string) {
	want, ok := s.operation(model.QRope, func(a model.Attention) bool { return a.Rope == 0 })
	if !ok {
		return nil, "no block turns by it"
	}
	return &injected{want: want, every: []string{model.QRope, model.KRope}, model: respelled(s.m, func(spec *model.Spec) {
		if spec.Rope.Base != 10000 {
			spec.Rope.Base = 10000
		} else {
			spec.Rope.Base = 500000
		}
	})}, ""
}

// changeEpsilon takes the other common one.
func changeEpsilon(s *specimen) (*injected, string) {
	norms := []string{model.AttnNorm, model.QNorm, model.KNorm, model.AttnPost, model.FFNNorm, model.FFNPost, model.Norm}
	return &injected{want: s.at(s.m.Spec.Schedule[0], model.AttnNorm), every: norms, model: respelled(s.m, func(spec *model.Spec) {
		if spec.NormEps != 1e-6 {
			spec.NormEps = 1e-6
		} else {
			spec.NormEps = 1e-5
		}
	})}, ""
}

// exchangeNorms takes the norm before the feed-forward layer for the one before
// attention; of a parallel block, which has one, that of the next.
func exchangeNorms(s *specimen) (*injected, string) {
	a, b := model.Name(s.block, model.AttnNorm), model.Name(s.block, model.FFNNorm)
	if s.m.Spec.Parallel {
		if b = model.Norm; s.block+1 < s.m.Spec.Blocks {
			b = model.Name(s.block+1, model.AttnNorm)
		}
	}
	t := s.m.Tensors
	if sameValues(t[a], t[b]) {
		return nil, fmt.Sprintf("%s and %s are the same", a, b)
	}
	tensors := map[string]*qtensor.Matrix{a: t[b], b: t[a]}
	if s.m.Spec.Norm == model.NormLayer {
		tensors[a+model.BiasSuffix], tensors[b+model.BiasSuffix] = t[b+model.BiasSuffix], t[a+model.BiasSuffix]
	}
	return s.changed(s.at(s.block, model.AttnNorm), tensors)
}

// truncateWindow lets every query see half as many positions as the text and the
// model would let the last one see.
func truncateWindow(s *specimen) (*injected, string) {
	spec := &s.m.Spec
	seen := len(s.ids)
	for b := range spec.Blocks {
		a := spec.AttentionOf(b)
		seen = min(seen, cmp.Or(a.Window, seen), cmp.Or(a.Chunk, seen))
	}
	if seen < 2 {
		return nil, "no position sees another"
	}
	want, _ := s.operation(model.Attended, func(model.Attention) bool { return true })
	return &injected{want: want, every: []string{model.Attended}, model: respelled(s.m, func(spec *model.Spec) {
		if len(spec.Attention) == 0 {
			spec.Attention = make([]model.Attention, spec.Blocks)
		}
		for b := range spec.Attention {
			spec.Attention[b].Window = seen / 2
		}
	})}, ""
}

// skipBlock lets a block add nothing to the stream.
func skipBlock(s *specimen) (*injected, string) {
	return s.changed(s.at(s.block, model.O), silent(s.m, s.block))
}

// silent returns what a block adds to the stream, all zero.
func silent(m *model.Model, block int) map[string]*qtensor.Matrix {
	tensors := map[string]*qtensor.Matrix{}
	for _, kind := range []string{model.O, model.Down, model.O + model.BiasSuffix, model.Down + model.BiasSuffix, model.AttnPost + model.BiasSuffix, model.FFNPost + model.BiasSuffix} {
		name := model.Name(block, kind)
		if w := m.Tensors[name]; w != nil {
			tensors[name] = zeros(w.Rows, w.Cols)
		}
	}
	return tensors
}

// skipRepeat runs a block once that is to run several times. Both models are
// given a block of its own for each step, so that they have as many.
func skipRepeat(s *specimen) (*injected, string) {
	first := s.firstStep(s.block)
	for step := first + 1; step < len(s.m.Spec.Schedule); step++ {
		if s.m.Spec.Schedule[step] == s.block {
			apart := unshared(s.m)
			want := Place{Step: step, Block: step, Tensor: model.Name(step, model.O), Token: -1, Channel: -1}
			return &injected{base: apart, model: with(apart, silent(apart, step)), want: want, note: "in a copy with a block for each step"}, ""
		}
	}
	return nil, "no block runs more than once"
}

// unshared returns m with a block for each step, block and step of one number.
func unshared(m *model.Model) *model.Model {
	c := respelled(m, func(s *model.Spec) {
		s.Attention = nil
		for _, b := range m.Spec.Schedule {
			s.Attention = append(s.Attention, m.Spec.AttentionOf(b))
		}
		s.Blocks, s.Schedule = len(m.Spec.Schedule), model.InOrder(len(m.Spec.Schedule), 1)
	})
	c.Tensors = map[string]*qtensor.Matrix{}
	for _, slot := range c.Spec.Slots() {
		c.Tensors[slot.Name] = m.Tensors[sharedName(m, slot.Name)]
	}
	return c
}

// sharedName is the name in m of a tensor of unshared(m).
func sharedName(m *model.Model, name string) string {
	var step int
	var kind string
	if n, _ := fmt.Sscanf(name, "blocks.%d.%s", &step, &kind); n != 2 {
		return name
	}
	return model.Name(m.Spec.Schedule[step], kind)
}

// shiftIDs looks the embedding of the next id up for each. A tied head keeps its
// rows: the text is read wrong, not the answer.
func shiftIDs(s *specimen) (*injected, string) {
	w := s.m.Tensors[model.Embed]
	if w.Rows == 1 {
		return nil, "there is one id"
	}
	m := with(s.m, map[string]*qtensor.Matrix{
		model.Embed: assembled(w.Rows, func(r int) (*qtensor.Matrix, int) { return w, (r + 1) % w.Rows }),
		model.Head:  s.m.Tensors[s.m.HeadName()],
	})
	m.Spec.Tied = false
	return &injected{model: m, want: Place{Step: -1, Block: -1, Tensor: model.Embed, Token: -1, Channel: -1}}, ""
}
