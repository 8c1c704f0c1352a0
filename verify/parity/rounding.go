package parity

import (
	"cmp"
	"context"
	"math"
	"slices"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// The scheme in which an operation's tensors are stored determines how much rounding
// can change its result. The assumption is that a value is equally likely anywhere
// between two neighbours of its grid. With a step of d its error then has the
// variance d*d/12, independent of all other errors. docs/NUMERICS.md has the
// formulas.

// A stored is a tensor as a model stores it.
type stored struct {
	*qtensor.Matrix
	name  string
	tuned *model.Spec // of the model if it is tuned, otherwise nil
}

// storedIn returns the tensor of m called name, whose Matrix is nil if m has none.
func storedIn(m *model.Model, name string) stored {
	w := stored{Matrix: m.Tensors[name], name: name}
	if m.Provenance.Tuned() {
		w.tuned = &m.Spec
	}
	return w
}

// moves reports whether tuning has changed w: its scales and minima, or its values if it is a
// vector.
func (w stored) moves() bool {
	return w.tuned != nil && (!w.Scheme.Float() || w.Rows == 1 && !model.Slot{Name: w.name}.Fixed())
}

// A rounding computes the variances of rows of stored matrices. It is scratch of
// one worker.
type rounding struct {
	reader   qtensor.Reader
	values   []float32
	variance []float64
}

// floatStep returns the mean of (step*step/12)/(w*w) for values w of a float type,
// if their significands m are uniform from 1 to 2, where the mean of 1/(m*m) is 1/2.
func floatStep(s qtensor.Scheme) float64 {
	switch s.Kind {
	case qtensor.F16:
		return 0x1p-20 / 24
	case qtensor.BF16:
		return 0x1p-14 / 24
	}
	return 0
}

// The standard deviations that tuning explains in a tuned model, as shares of what it changes
// each relative to (quantize --tune).
const (
	tunedScales  = 0.02 // also of minima
	tunedVectors = 0.06 // gains and biases; in one channel it is then most of the 0.5 that tuning allows itself
)

// smallestF16 is the step of float16 near zero.
const smallestF16 = 0x1p-24

// row returns the variance of each value of row r of w, valid until the next call.
func (n *rounding) row(w stored, r int) []float64 {
	n.variance = grow(n.variance, w.Cols)
	if w.Scheme.Float() {
		n.floats(w, r)
		return n.variance
	}
	codes, scale, offset := n.reader.Integers(w.Matrix, r)
	group := w.Scheme.Columns(w.Cols)
	native, _ := w.Scheme.Native()
	steps := w.Scheme.Steps()
	zero := float64(w.Scheme.Rounding().Zero())
	for i := range n.variance {
		d := float64(scale[i/group])
		n.variance[i] = float64(d*d) / 12
		if steps != nil {
			n.variance[i] *= float64(float64(steps[codes[i]]) * float64(steps[codes[i]]))
		}
		switch code := float64(codes[i]); {
		case w.tuned == nil:
		case native.Asym: // by its scale, and by its minimum, which moves by a share of d*zero
			n.variance[i] += tunedScales * tunedScales * float64(float64(d*d)*(float64(code*code)+float64(zero*zero)))
		default:
			moved := float64(d*code) + float64(offset[i/group])
			n.variance[i] += tunedScales * tunedScales * float64(moved*moved)
		}
	}
	return n.variance
}

// floats is row for floats.
func (n *rounding) floats(w stored, r int) {
	n.values = grow(n.values, w.Cols)
	n.reader.Row(n.values, w.Matrix, r)
	share, least := floatStep(w.Scheme), 0.0
	if w.Scheme.Kind == qtensor.F16 {
		least = smallestF16 * smallestF16 / 12
	}
	for i, v := range n.values {
		n.variance[i] = float64(share*float64(float64(v)*float64(v))) + least
	}
	if !w.moves() {
		return
	}
	for i, unit := range w.tuned.TuningUnits(w.name, n.values) {
		n.variance[i] += tunedVectors * tunedVectors * float64(float64(unit)*float64(unit))
	}
}

// rounded lists the tensors called name that are not exact: the subject's, unless it
// keeps the reference's floats or wider ones and is not tuned, and the reference's if it
// is stored as integers. A reference in floats counts as exact.
func (l *lockstep) rounded(name string) (all []stored) {
	got, want := storedIn(l.subject, name), storedIn(l.reference, name)
	if got.Matrix != nil && (got.moves() || roundedFrom(got.Scheme, want.Matrix)) {
		all = append(all, got)
	}
	if want.Matrix != nil && !want.Scheme.Float() {
		all = append(all, want)
	}
	return all
}

// roundedFrom reports whether storing want in scheme s may have changed values.
func roundedFrom(s qtensor.Scheme, want *qtensor.Matrix) bool {
	return s.Kind != qtensor.F32 && !(s.Float() && want != nil && want.Scheme == s)
}

// lookupNoise returns the variance that rounding explains in the embeddings, (Hidden).
func (l *lockstep) lookupNoise() ([]float64, error) {
	out := make([]float64, l.subject.Spec.Hidden)
	scale := cmp.Or(l.subject.Spec.EmbedScale, 1)
	var positions []int
	for _, ids := range l.texts {
		for at := range ids {
			positions = append(positions, at)
		}
	}
	return out, parallel.Guard(func() error {
		l.addRowNoise(out, model.Embed, slices.Concat(l.texts...), 0, float64(scale*scale))
		l.addRowNoise(out, model.Positions, positions, 0, 1)
		return nil
	})
}

// tokenNoise returns the variance that rounding explains in a block's input for the tokens,
// (Layer.Width): that of the embedding of each layer, and of the gains.
func (l *lockstep) tokenNoise(block int) ([]float64, error) {
	width := l.subject.Spec.Layer.Width
	out, err := l.gainNoise(model.LayerInNorm, model.LayerInner)
	if err != nil || out == nil {
		return out, err
	}
	for i := range out {
		out[i] /= 2 // of the sum of two parts, divided by the root of 2
	}
	return out, parallel.Guard(func() error {
		l.addRowNoise(out, model.LayerEmbed, slices.Concat(l.texts...), block*width, float64(width)/2)
		return nil
	})
}

// addRowNoise adds to out the variance that rounding explains in the sum of rows of a table,
// times factor. The first of the columns is at from. As for a token without a row in LayerEmbed,
// a row beyond the table is the first.
func (l *lockstep) addRowNoise(out []float64, table string, rows []int, from int, factor float64) {
	var n rounding
	for _, m := range l.rounded(table) {
		for _, r := range rows {
			if r >= m.Rows {
				r = 0
			}
			for i, v := range n.row(m, r)[from:][:len(out)] {
				out[i] += float64(v * factor)
			}
		}
	}
}

// expectations returns the variance that rounding explains in each of writes, which
// op is about to compute, given the inputs of the fed pass.
func (l *lockstep) expectations(ctx context.Context, op *transformer.Operation, block int, writes []string) ([][]float64, error) {
	all := make([][]float64, len(writes))
	for i, name := range writes {
		tensor := l.tensorOf(block, name)
		if name == model.V && block != NoBlock && l.subject.Spec.AttentionOf(block).KeyValues {
			all[i] = all[slices.Index(writes, model.K)]
			continue
		}
		var err error
		switch {
		case slices.Contains(op.Layers, name) || slices.Contains(unroundedMatrices, model.TensorOf(name)):
			all[i], err = l.layerNoise(ctx, tensor, tensor+model.BiasSuffix, op.Reads[0])
		case name == model.AltUpScale:
			all[i], err = l.scaleNoise(tensor, op.Reads[0])
		case name == model.LayerInner:
			all[i], err = l.tokenNoise(block)
		case name == model.Attended:
			all[i] = l.cacheNoise(block)
		case tensor != "":
			all[i], err = l.gainNoise(tensor, name)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// unroundedMatrices lists the matrices that are stored as floats only, so that no calibration
// counts them as layers.
var unroundedMatrices = []string{model.Router, model.AltUpRouter, model.AltUpPredict, model.AltUpCorrect}

// layerNoise returns the variance that rounding explains in the outputs, (rows), of
// a linear layer. read is the name of the layer's input.
func (l *lockstep) layerNoise(ctx context.Context, tensor, bias, read string) ([]float64, error) {
	w := l.subject.Tensors[tensor]
	if w == nil {
		return nil, nil
	}
	energy := make([]float64, w.Cols) // of each input, over the positions
	for t := range l.fed.Len() {
		for i, x := range l.fed.Activations(read, t) {
			energy[i] += float64(float64(x) * float64(x))
		}
	}
	out := make([]float64, w.Rows)
	lanes := make([]rounding, parallel.Workers())
	for _, m := range l.rounded(tensor) {
		err := parallel.Do(ctx, min(m.Rows, w.Rows), func(worker, r int) error {
			for i, v := range lanes[worker].row(m, r) {
				out[r] += float64(v * energy[i])
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if l.arithmetic.Activations.Int8 && !w.Scheme.Float() {
		if err := l.addInputNoise(ctx, out, w, read, lanes); err != nil {
			return nil, err
		}
	}
	for _, m := range l.rounded(bias) {
		for r, v := range lanes[0].row(m, 0) {
			out[r] += float64(v * float64(l.fed.Len()))
		}
	}
	return out, nil
}

// biasError returns the squared difference of a layer's biases, summed over all positions. It
// leaves out the part that rounding explains, of the biases and of what a rotation is computed
// from, and tuning of the biases. A missing bias counts as zero. Biases are stored as floats, so
// the scheme of the weights does not excuse a difference.
func (l *lockstep) biasError(layer, name string) (float64, error) {
	var all [2][]float64
	var noise float64
	err := parallel.Guard(func() error {
		for i, m := range []*model.Model{l.reference, l.subject} {
			w := m.Tensors[layer+model.BiasSuffix]
			if w == nil || !m.Spec.Biased(name) {
				continue
			}
			x := make([]float32, w.Cols)
			new(qtensor.Reader).Row(x, w, 0)
			if i == 0 && l.rotates(name) {
				noise += l.rotation.error(x)
				x = l.rotation.rotate(x)
			}
			for _, v := range x {
				all[i] = append(all[i], float64(v))
			}
		}
		for _, m := range l.rounded(layer + model.BiasSuffix) {
			noise += sum(new(rounding).row(m, 0))
		}
		return nil
	})
	difference := 0.0
	for i := range max(len(all[0]), len(all[1])) {
		var d float64
		for j, x := range all {
			if i < len(x) {
				d += []float64{1, -1}[j] * x[i]
			}
		}
		difference += float64(d * d)
	}
	return float64(l.ref.Len()) * max(0, difference-float64(roundingMargin*roundingMargin*noise)), err
}

// addInputNoise adds the variance that rounding the inputs of w to 8 bits explains.
func (l *lockstep) addInputNoise(ctx context.Context, out []float64, w *qtensor.Matrix, read string, lanes []rounding) error {
	group := l.arithmetic.Activations.Group
	if group == 0 {
		group = w.Scheme.Columns(w.Cols)
	}
	variance := make([]float64, w.Cols)
	for t := range l.fed.Len() {
		x := l.fed.Activations(read, t)
		for lo := 0; lo < len(x); {
			hi := lo + min(group, len(x)-lo)
			top := 0.0
			for _, v := range x[lo:hi] {
				top = max(top, math.Abs(float64(v)))
			}
			for i := lo; i < hi; i++ {
				variance[i] += float64(top*top) / (127 * 127 * 12)
			}
			lo = hi
		}
	}
	return parallel.Do(ctx, w.Rows, func(worker, r int) error {
		n := &lanes[worker]
		n.values = grow(n.values, w.Cols)
		n.reader.Row(n.values, w, r)
		for i, v := range n.values {
			out[r] += float64(float64(float64(v)*float64(v)) * variance[i])
		}
		return nil
	})
}

// gainNoise returns the variance that rounding a norm's gains and biases explains in
// its output. Gains multiply the normalized input, whose root mean square is 1.
func (l *lockstep) gainNoise(tensor, name string) ([]float64, error) {
	w := l.subject.Tensors[tensor]
	width := len(l.fed.Activations(name, 0))
	if w == nil || w.Cols == 0 {
		return nil, nil
	}
	out := make([]float64, width)
	var n rounding
	err := parallel.Guard(func() error {
		for _, stored := range []string{tensor, tensor + model.BiasSuffix} {
			for _, m := range l.rounded(stored) {
				for i, v := range n.row(m, 0) {
					for at := i; at < width; at += m.Cols { // of every head
						out[at] += float64(v * float64(l.fed.Len()))
					}
				}
			}
		}
		return nil
	})
	return out, err
}

// scaleNoise returns the variance that rounding the factors of each channel explains in their
// product with the activations called read.
func (l *lockstep) scaleNoise(tensor, read string) ([]float64, error) {
	out := make([]float64, l.subject.Spec.Hidden)
	var n rounding
	return out, parallel.Guard(func() error {
		for _, m := range l.rounded(tensor) {
			variance := n.row(m, 0)
			for t := range l.fed.Len() {
				for i, x := range l.fed.Activations(read, t) {
					out[i] += float64(variance[i] * float64(float64(x)*float64(x)))
				}
			}
		}
		return nil
	})
}

// cacheNoise returns an upper bound of the variance that rounding keys and values
// explains in attention's output: the variance of the values themselves, and that
// of the keys, which acts through the scores.
func (l *lockstep) cacheNoise(block int) []float64 {
	a, sized := l.arithmetic, l.subject.Spec.Of(block)
	s := &sized
	if a.Keys.Kind == qtensor.F32 && a.Values.Kind == qtensor.F32 {
		return nil
	}
	n := l.fed.Len()
	scale := s.ScoreScale() * s.Temperature.At(n) // the largest of the temperature's factors
	dim := s.ValueDim()
	out := make([]float64, s.Heads*dim)
	for head := range s.Heads {
		kv := head / (s.Heads / s.KVHeads)
		var queries, keyNoise float64
		values, valueNoise := 0.0, make([]float64, dim)
		for t := range n {
			q := l.fed.Activations(model.QRope, t)[head*s.HeadDim:][:s.HeadDim]
			k := l.fed.Activations(model.KRope, t)[kv*s.HeadDim:][:s.HeadDim]
			v := l.fed.Activations(model.V, t)[kv*dim:][:dim]
			queries += squares(q)
			values += squares(v)
			keyNoise += sum(vectorNoise(a.Keys, k))
			for i, x := range vectorNoise(a.Values, v) {
				valueNoise[i] += x
			}
		}
		// A score is a sum of HeadDim products, so its variance is the variance of one
		// component of the key times the squared length of the query.
		score := float64(scale*scale) * (queries / float64(n)) * (keyNoise / float64(n*s.HeadDim))
		for i := range dim {
			out[head*dim+i] = valueNoise[i] + float64(score*values)/float64(dim)
		}
	}
	return out
}

func squares(x []float32) float64 { return dot(x, x) }

// dot returns the sum of a[i]*b[i] in ascending order. b is at least as long as a.
func dot(a, b []float32) (s float64) {
	for i, v := range a {
		s += float64(float64(v) * float64(b[i]))
	}
	return s
}

// vectorNoise returns the variance of the rounding error of each value of x in
// scheme s.
func vectorNoise(s qtensor.Scheme, x []float32) []float64 {
	out := make([]float64, len(x))
	if s.Float() {
		for i, v := range x {
			out[i] = float64(floatStep(s) * float64(float64(v)*float64(v)))
		}
		return out
	}
	for lo := 0; lo < len(x); {
		hi := lo + min(s.Columns(len(x)), len(x)-lo)
		low, high := float64(x[lo]), float64(x[lo])
		for _, v := range x[lo:hi] {
			low, high = min(low, float64(v)), max(high, float64(v))
		}
		d := max(-low, high) / (math.Exp2(float64(s.Bits-1)) - 0.5)
		if s.Asym {
			d = (high - low) / (math.Exp2(float64(s.Bits)) - 1)
		}
		for i := lo; i < hi; i++ {
			out[i] = float64(d*d) / 12
		}
		lo = hi
	}
	return out
}

// grow returns a slice of length n, s if it is large enough. It does not keep the
// elements.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
