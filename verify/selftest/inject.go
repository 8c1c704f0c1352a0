package selftest

import (
	"cmp"
	"fmt"
	"slices"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// changed returns the target with some tensors replaced.
func (t *faultTarget) changed(want Place, tensors map[string]*qtensor.Matrix) (*injected, string) {
	return &injected{model: withTensors(t.m, tensors), want: want}, ""
}

// exchangeQueriesAndKeys splits a fused matrix in the wrong order: as if the rows of k
// came first, although they follow those of q. With a latent, it is that of k and v.
func exchangeQueriesAndKeys(t *faultTarget) (*injected, string) {
	first, second := model.Q, model.K
	if t.m.Spec.IsLatent() {
		first, second = model.K, model.V
	}
	q, k := model.Name(t.block, first), model.Name(t.block, second)
	pair := [2]*qtensor.Matrix{t.m.Tensors[q], t.m.Tensors[k]}
	fused := func(r int) (*qtensor.Matrix, int) {
		if r < pair[0].Rows {
			return pair[0], r
		}
		return pair[1], r - pair[0].Rows
	}
	return t.changed(t.at(t.block, first), map[string]*qtensor.Matrix{
		k: gather(pair[1].Rows, fused),
		q: gather(pair[0].Rows, func(r int) (*qtensor.Matrix, int) { return fused(pair[1].Rows + r) }),
	})
}

// interleaveHeads leaves the rows of q and k in the other layout of rotary pairs.
func interleaveHeads(t *faultTarget) (*injected, string) {
	spec := &t.m.Spec
	for i := range spec.Blocks {
		block := (t.block + i) % spec.Blocks
		rope := spec.RopeOf(block)
		if rope == nil || spec.KeysOf(block) != block {
			continue
		}
		dims, other := spec.RotaryRows(block, model.Q).Dims, model.HalfSplit
		if rope.Pairs {
			other = model.Interleave
		}
		if dims == 2 {
			return nil, "heads of one pair have one layout"
		}
		tensors := map[string]*qtensor.Matrix{}
		kinds, first := []string{model.Q, model.K}, model.Q
		if spec.IsLatent() {
			kinds[1] = model.LatentKV
		}
		if spec.Latent.Query > 0 { // queries are computed after the latents
			first = model.LatentKV
		}
		for _, kind := range kinds {
			rows := spec.RotaryRows(block, kind)
			w := t.m.Tensors[model.Name(block, kind)]
			tensors[model.Name(block, kind)] = gather(w.Rows, func(r int) (*qtensor.Matrix, int) {
				if at := r%rows.Head - rows.First; at >= 0 && at < dims {
					r += other(at, dims) - at
				}
				return w, r
			})
		}
		return t.changed(t.at(block, first), tensors)
	}
	return nil, "no block rotates queries and keys"
}

// dropBias drops the largest bias of a linear layer of the block.
func dropBias(t *faultTarget) (*injected, string) {
	kind, largest := "", float32(0)
	for _, k := range append([]string{model.LatentQ, model.LatentKV}, model.LinearKinds...) {
		if w := t.m.Tensors[model.Name(t.block, k+model.BiasSuffix)]; w != nil {
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
	name := model.Name(t.block, kind)
	return t.changed(t.at(t.block, kind), map[string]*qtensor.Matrix{name: zeros(1, t.m.Tensors[name].Cols)})
}

func abs(x float32) float32 { return max(x, -x) }

// shiftScales shifts the scales and minimums of a matrix by one group. The last group gets those
// of the first.
func shiftScales(t *faultTarget) (*injected, string) {
	return t.integerFault(func(w *qtensor.Matrix, _ *Place) {
		var scales, mins [][]uint16
		var read qtensor.Reader
		for r := range w.Rows {
			_, scale, least := read.Codes(w, r)
			scales, mins = append(scales, slices.Clone(scale)), append(mins, slices.Clone(least))
		}
		shifted := func(rows [][]uint16, r int) []uint16 {
			return append(slices.Clone(rows[r][1:]), rows[(r+1)%w.Rows][0])
		}
		for r := range w.Rows {
			codes, _, _ := read.Codes(w, r)
			w.SetRow(r, codes, shifted(scales, r), shifted(mins, r))
		}
	})
}

// flipNibble inverts the upper four bits of one code, so that the weight jumps to the
// other end of its range. The code is in the outlier column, in the row with the
// largest weight of that column.
func flipNibble(t *faultTarget) (*injected, string) {
	in, why := t.integerFault(func(w *qtensor.Matrix, want *Place) {
		var read qtensor.Reader
		x, at, largest := make([]float32, w.Cols), 0, float32(0)
		for r := range w.Rows {
			read.Row(x, w, r)
			if v := abs(x[t.outlierColumn]); v > largest {
				at, largest = r, v
			}
		}
		codes, scale, least := read.Codes(w, at)
		bits := w.Scheme.Bits
		codes[t.outlierColumn] ^= uint8(0xf << max(0, bits-4) & (1<<bits - 1))
		w.SetRow(at, codes, scale, least)
		want.Channel = at
	})
	if in != nil {
		in.stored = in.base == nil
	}
	return in, why
}

// integerFault calls damage to change the block's down. If down is stored as floats,
// it first rounds it to integers.
func (t *faultTarget) integerFault(damage func(w *qtensor.Matrix, want *Place)) (*injected, string) {
	name := model.Name(t.block, t.down)
	w, rounded, err := asIntegers(t.m.Tensors[name])
	if err != nil {
		return nil, fmt.Sprintf("%s: %v", name, err)
	}
	in := &injected{want: t.at(t.block, t.down)}
	if rounded {
		in.base = withTensors(t.m, map[string]*qtensor.Matrix{name: writable(w)})
		in.note = fmt.Sprintf("in a copy with %s in %v", name, w.Scheme)
	}
	damage(w, &in.want)
	in.model = withTensors(t.m, map[string]*qtensor.Matrix{name: w})
	return in, ""
}

// transpose reads o, (rows, cols), as if it were stored column by column.
func transpose(t *faultTarget) (*injected, string) {
	name := model.Name(t.block, model.O)
	w := t.m.Tensors[name]
	if w.Rows == 1 || w.Cols == 1 {
		return nil, "a row is its own transpose"
	}
	all := make([]float32, w.Rows*w.Cols)
	var read qtensor.Reader
	for r := range w.Rows {
		read.Row(all[r*w.Cols:], w, r)
	}
	return t.changed(t.at(t.block, model.O), map[string]*qtensor.Matrix{name: floatMatrix(w.Rows, w.Cols, func(_ *qtensor.Reader, dst []float32, r int) {
		for c := range dst {
			i := r*w.Cols + c // of the transpose, (cols, rows)
			dst[c] = all[i%w.Rows*w.Cols+i/w.Rows]
		}
	})})
}

// operation returns the place of an operation without a tensor, in the first step
// whose block has a property.
func (t *faultTarget) operation(name string, has func(a model.Attention) bool) (p Place, ok bool) {
	for step, block := range t.m.Spec.Schedule {
		if a := t.m.Spec.AttentionOf(block); a.Attends() && has(a) {
			return Place{Step: step, Block: block, Operation: name, Token: -1, Channel: -1}, true
		}
	}
	return p, false
}

// changeBase replaces the rotary base by the default for configs without one, or by
// the other common base if the model uses the default.
func changeBase(t *faultTarget) (*injected, string) {
	want, ok := t.operation(model.QRope, func(a model.Attention) bool { return a.Rope == 0 })
	if !ok {
		return nil, "no block uses it"
	}
	return &injected{want: want, also: []string{model.QRope, model.KRope}, model: withSpec(t.m, func(spec *model.Spec) {
		if spec.Rope.Base != 10000 {
			spec.Rope.Base = 10000
		} else {
			spec.Rope.Base = 500000
		}
	})}, ""
}

// changeEpsilon replaces the epsilon of the norms by the other common one.
func changeEpsilon(t *faultTarget) (*injected, string) {
	norms := []string{model.AltUpNorm, model.AttnNorm, model.QNorm, model.KNorm, model.AttnPost, model.FFNNorm, model.FFNPost, model.Norm}
	b := t.m.Spec.Schedule[0]
	first := norms[max(0, slices.IndexFunc(norms, func(kind string) bool { return t.m.Tensors[model.Name(b, kind)] != nil }))]
	return &injected{want: t.at(b, first), also: norms, model: withSpec(t.m, func(spec *model.Spec) {
		if spec.NormEps != 1e-6 {
			spec.NormEps = 1e-6
		} else {
			spec.NormEps = 1e-5
		}
	})}, ""
}

// exchangeNorms exchanges the norms before attention and before the feed-forward
// layer. A parallel block has a single norm, which it exchanges with the next block's.
func exchangeNorms(t *faultTarget) (*injected, string) {
	a, b := model.Name(t.block, model.AttnNorm), model.Name(t.block, model.FFNNorm)
	if t.m.Spec.Parallel {
		if b = model.Norm; t.block+1 < t.m.Spec.Blocks {
			b = model.Name(t.block+1, model.AttnNorm)
		}
	}
	all := t.m.Tensors
	if all[a].SameValues(all[b]) {
		return nil, fmt.Sprintf("%s and %s are the same", a, b)
	}
	tensors := map[string]*qtensor.Matrix{a: all[b], b: all[a]}
	if t.m.Spec.Norm == model.NormLayer {
		tensors[a+model.BiasSuffix], tensors[b+model.BiasSuffix] = all[b+model.BiasSuffix], all[a+model.BiasSuffix]
	}
	return t.changed(t.at(t.block, model.AttnNorm), tensors)
}

// truncateWindow limits attention to half the positions that the last query of the
// text could see.
func truncateWindow(t *faultTarget) (*injected, string) {
	spec := &t.m.Spec
	seen := len(t.ids)
	for b := range spec.Blocks {
		a := spec.AttentionOf(b)
		seen = min(seen, cmp.Or(a.Window, seen), cmp.Or(a.Chunk, seen))
	}
	if seen < 2 {
		return nil, "no position sees another"
	}
	want, _ := t.operation(model.Attended, func(model.Attention) bool { return true })
	return &injected{want: want, also: []string{model.Attended}, model: withSpec(t.m, func(spec *model.Spec) {
		if len(spec.Attention) == 0 {
			spec.Attention = make([]model.Attention, spec.Blocks)
		}
		for b := range spec.Attention {
			spec.Attention[b].Window = seen / 2
		}
	})}, ""
}

// skipBlock makes a block add nothing to the residual stream.
func skipBlock(t *faultTarget) (*injected, string) {
	return t.changed(t.at(t.block, model.O), silent(t.m, t.block))
}

// silent returns zeros for the tensors that add a block's results to the residual
// stream.
func silent(m *model.Model, block int) map[string]*qtensor.Matrix {
	tensors := map[string]*qtensor.Matrix{}
	adding := []string{model.O, model.Down, model.O + model.BiasSuffix, model.Down + model.BiasSuffix, model.AttnPost + model.BiasSuffix, model.FFNPost + model.BiasSuffix}
	for _, slot := range m.Spec.Slots() {
		if b, kind, ok := model.SplitName(slot.Name); ok && b == block && slices.Contains(adding, baseOf(kind)) {
			tensors[slot.Name] = zeros(slot.Rows, slot.Cols)
		}
	}
	return tensors
}

// skipRepeat runs a block only once that should run several times. Both models get a
// separate block for each step, so that they have the same number of blocks.
func skipRepeat(t *faultTarget) (*injected, string) {
	first := t.firstStep(t.block)
	for step := first + 1; step < len(t.m.Spec.Schedule); step++ {
		if t.m.Spec.Schedule[step] == t.block {
			separate := unshared(t.m)
			want := Place{Step: step, Block: step, Tensor: model.Name(step, model.O), Token: -1, Channel: -1}
			return &injected{base: separate, model: withTensors(separate, silent(separate, step)), want: want, note: "in a copy with a block for each step"}, ""
		}
	}
	return nil, "no block runs more than once"
}

// unshared returns m with a separate block for each step; block i is that of step i.
func unshared(m *model.Model) *model.Model {
	c := withSpec(m, func(s *model.Spec) { *s = m.Spec.Unrolled() })
	c.Tensors = map[string]*qtensor.Matrix{}
	for _, slot := range c.Spec.Slots() {
		c.Tensors[slot.Name] = m.Tensors[m.Spec.StoredName(slot.Name)]
	}
	return c
}

// shiftIDs looks up the embedding of id+1 for each id. A tied head keeps its rows: the
// model misreads the text but still writes the right tokens.
func shiftIDs(t *faultTarget) (*injected, string) {
	w := t.m.Tensors[model.Embed]
	if w.Rows == 1 {
		return nil, "there is one id"
	}
	m := withTensors(t.m, map[string]*qtensor.Matrix{
		model.Embed: gather(w.Rows, func(r int) (*qtensor.Matrix, int) { return w, (r + 1) % w.Rows }),
		model.Head:  t.m.Tensors[t.m.HeadName()],
	})
	m.Spec.Tied = false
	return &injected{model: m, want: Place{Step: -1, Block: -1, Tensor: model.Embed, Token: -1, Channel: -1}}, ""
}
