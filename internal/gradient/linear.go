package gradient

import (
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
)

// products is the memory that products of all cores share.
type products struct {
	left       kernel.Left
	transposed []float32 // weights (columns, rows)
	inputs     []float32 // (columns, positions)
}

const (
	depth   = 3072 // rows of weights that are multiplied at a time, a multiple of 16
	columns = 48   // of a task that multiplies gradients by weights
	outputs = 96   // of a task that multiplies gradients by inputs
)

// linear goes back through linear layers that read the same input.
func (p *pass) linear(step int, o *transformer.Operation) error {
	x := p.acts[o.Reads[0]]
	dx := p.gradient(o.Reads[0])
	fresh := false
	for i, kind := range o.Layers {
		name := model.Name(p.s.Schedule[step], kind)
		dy := p.spend(o.Writes[i])
		if err := p.layer(name, dy, x, dx, &fresh); err != nil {
			return err
		}
	}
	return nil
}

// layer goes back through the linear layer or the head called name: from the gradient dy of
// its output to that of its input x, which it adds to dx, and to those of its parameters.
// fresh tells whether p.inputs has x.
func (p *pass) layer(name string, dy, x, dx rows, fresh *bool) error {
	w := p.m.Tensors[name]
	defer w.Release()
	if err := p.inputGradient(dy, w, dx); err != nil {
		return err
	}
	if sums := p.powers[name]; sums != nil {
		if err := addSquares(p.ctx, sums, dy); err != nil {
			return err
		}
	}
	if g := p.g[name]; g != nil {
		if !*fresh {
			if err := p.transposeInputs(x); err != nil {
				return err
			}
			*fresh = true
		}
		if err := p.weightGradient(g, dy, w); err != nil {
			return err
		}
	}
	if g := p.g[name+model.BiasSuffix]; g != nil && name != model.Embed {
		return columnSums(p.ctx, g.Values, dy)
	}
	return nil
}

// inputGradient computes dx += dy W, for at most depth rows of W at a time.
func (p *pass) inputGradient(dy rows, w *qtensor.Matrix, dx rows) error {
	for first := 0; first < w.Rows; first += depth {
		n := min(depth, w.Rows-first)
		k := kernel.Padded(n)
		p.transposed = sized(p.transposed, w.Cols*k)
		err := parallel.Ranges(p.ctx, k, rowsAtOnce, func(worker, from, to int) error {
			return p.workers[worker].transposeWeights(p.transposed, k, w, first, from, min(to, n))
		})
		if err != nil {
			return err
		}
		p.left.Set(dy.data[first:], dy.stride, dy.n, k)
		err = parallel.Ranges(p.ctx, w.Cols, columns, func(worker, from, to int) error {
			y := &p.workers[worker].product
			*y = sized(*y, dy.n*columns)
			p.left.Gemm(*y, columns, p.transposed[from*k:], k, to-from)
			for t := range dy.n {
				kernel.Add(dx.row(t)[from:to], (*y)[t*columns:][:to-from])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// transposeWeights writes rows [first+from, first+to) of m, rowsAtOnce or fewer, to columns
// [from, from+rowsAtOnce) of dst, (m.Cols, ld). It completes them with zeros.
func (w *worker) transposeWeights(dst []float32, ld int, m *qtensor.Matrix, first, from, to int) error {
	w.panel = sized(w.panel, rowsAtOnce*m.Cols)
	clear(w.panel[max(0, to-from)*m.Cols:])
	for r := from; r < to; r++ {
		w.reader.Row(w.panel[(r-from)*m.Cols:], m, first+r)
	}
	for c := range m.Cols {
		to := dst[c*ld+from:][:rowsAtOnce]
		for i := range to {
			to[i] = w.panel[i*m.Cols+c]
		}
	}
	return nil
}

// transposeInputs sets p.inputs to the transpose of x.
func (p *pass) transposeInputs(x rows) error {
	k := kernel.Padded(x.n)
	p.inputs = sized(p.inputs, x.width*k)
	return parallel.Ranges(p.ctx, x.width, columns, func(_, from, to int) error {
		for c := from; c < to; c++ {
			clear(p.inputs[c*k+x.n : (c+1)*k])
		}
		transpose(p.inputs[from*k:], k, x, from, to-from)
		return nil
	})
}

// weightGradient adds to g the gradients of the scales and minima of w. Those of its weights
// are dy^T x, of which it holds a few rows at a time.
func (p *pass) weightGradient(g *Gradient, dy rows, w *qtensor.Matrix) error {
	k := kernel.Padded(dy.n)
	return parallel.Ranges(p.ctx, w.Rows, outputs, func(worker, from, to int) error {
		at := &p.workers[worker]
		at.panel, at.product = sized(at.panel, outputs*k), sized(at.product, outputs*w.Cols)
		for i := range to - from {
			clear(at.panel[i*k+dy.n : (i+1)*k])
		}
		transpose(at.panel, k, dy, from, to-from)
		kernel.Gemm(at.product, w.Cols, at.panel, k, p.inputs, k, to-from, w.Cols, k)
		for r := from; r < to; r++ {
			at.reduce(g, w, r, at.product[(r-from)*w.Cols:][:w.Cols])
		}
		return nil
	})
}

// reduce adds to g the gradients of row r of m, given those of its weights.
func (w *worker) reduce(g *Gradient, m *qtensor.Matrix, r int, d []float32) {
	w.row = sized(w.row, m.Cols)
	s := m.Scheme
	if s.Kind != qtensor.Int {
		w.reader.Row(w.row, m, r)
		g.Scales[r] += kernel.Dot(d, w.row)
		return
	}
	codes, _, _ := w.reader.Integers(m, r)
	groups := s.Groups(m.Cols)
	zero := float32(0)
	if !s.Asym {
		zero = float32(s.Zero())
	}
	if len(w.ones) < groups {
		w.ones, w.zeros = slices.Repeat([]float32{1}, groups), make([]float32, groups)
	}
	for i := range w.zeros[:groups] {
		w.zeros[i] = -zero
	}
	kernel.Affine(w.row, codes, w.ones[:groups], w.zeros[:groups], s.Columns(m.Cols))
	for i := range groups {
		lo, hi := s.Span(i, m.Cols)
		g.Scales[r*groups+i] += kernel.Dot(d[lo:hi], w.row[lo:hi])
		if g.Mins != nil {
			g.Mins[r*groups+i] += kernel.Sum(d[lo:hi])
		}
	}
}
