package parity

import (
	"context"
	"maps"
	"math"
	"slices"

	"thimble/internal/cholesky"
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// Between the value projection V and the output projection O of a head there are
// only sums over positions, so R V and O R^-1 compute the same as V and O, for any
// invertible R. Some quantizers use this to rotate values into a basis in which
// they round well (QuaRot, arXiv 2404.00456, section 4). The values of such a model
// are correct, but equal the reference's only after the same rotation.

// A headRotation holds the matrix R of each key-value head of a block.
type headRotation struct {
	dim  int
	each [][]float32 // R of each head, (dim, dim)
	// doubt is, by head, the expected squared error of R x relative to that of x. R is
	// computed from rounded weights, by least squares, see doubtOf.
	doubt []float64
}

// error returns the expected squared error of rotate(x), with one R for each head of x.
func (h *headRotation) error(x []float32) float64 {
	total := 0.0
	for head, doubt := range h.doubt {
		part := x[head*h.dim:][:h.dim]
		total += float64(doubt * float64(dot(part, part)))
	}
	return total
}

// addError adds the expected squared error of each value of rotate(x), with any number of heads
// for each R.
func (h *headRotation) addError(sum []float64, x []float32) {
	share := len(x) / h.dim / len(h.each)
	for head := range len(x) / h.dim {
		part := x[head*h.dim:][:h.dim]
		e := float64(h.doubt[head/share]*float64(dot(part, part))) / float64(h.dim)
		for i := range h.dim {
			sum[head*h.dim+i] += e
		}
	}
}

// A deliberate rotation nearly preserves lengths (not exactly, since it is computed
// from rounded weights) and has no entry near 1, which would move a channel to
// another place.
const (
	rotationMargin  = 3.0  // largest difference that a rotation may leave, as a multiple of rounding
	rotationExact   = 1e-3 // the same, relative to the weights
	rotationBends   = 0.25 // largest squared error of R R^T, for each row
	rotationLargest = 0.9  // largest entry
)

// rotate returns R x for each head of x, (heads, dim). Several heads may share one R.
func (h *headRotation) rotate(x []float32) []float32 {
	heads := len(x) / h.dim
	share := heads / len(h.each)
	out := make([]float32, len(x))
	for head := range heads {
		r := h.each[head/share]
		in := x[head*h.dim:][:h.dim]
		for i := range h.dim {
			out[head*h.dim+i] = float32(dot(in, r[i*h.dim:]))
		}
	}
	return out
}

// rotationOf returns the rotation of a block's values. It returns nil if the values
// are not rotated, or if no rotation explains them.
func rotationOf(ctx context.Context, reference, subject *model.Model, block int) (*headRotation, error) {
	sized := subject.Spec.Of(block)
	s := &sized
	v, o := model.Name(block, model.V), model.Name(block, model.O)
	for _, m := range []*model.Model{reference, subject} {
		if m.Tensors[v] == nil || m.Tensors[o] == nil {
			return nil, nil
		}
	}
	dim, cols := s.ValueDim(), subject.Tensors[v].Cols
	if block >= reference.Spec.Blocks || s.Varies() || reference.Tensors[v].Cols != cols { // runs do not rotate blocks that vary
		return nil, nil
	}
	if other := reference.Spec.Of(block); other.ValueDim() != dim {
		return nil, nil
	}
	h := &headRotation{dim, make([][]float32, s.KVHeads), make([]float64, s.KVHeads)}
	none := make([]bool, s.KVHeads)      // by head: no rotation explains its values
	unchanged := make([]bool, s.KVHeads) // by head: its values are the reference's
	err := parallel.Do(ctx, s.KVHeads, func(_, head int) error {
		want := submatrixOf(storedIn(reference, v), head*dim, dim, 0, cols)
		got := submatrixOf(storedIn(subject, v), head*dim, dim, 0, cols)
		if unchanged[head] = got.near(want); unchanged[head] { // such as a head that is zero
			h.each[head] = identity(dim)
			return nil
		}
		r := solveRotation(got, want, 0)
		switch {
		case r != nil && deliberate(r, dim):
			if signs := hadamard(r, dim); signs != nil {
				h.each[head] = signs
				return nil
			}
			r = orthogonal(r, dim)
		case r != nil && got.near(want.rotated(r)) && undone(storedIn(reference, o), storedIn(subject, o), r, s, head):
		default: // perhaps the values do not use all dimensions of the head, or hardly
			r = singular(got, want, dim)
			none[head] = r == nil
		}
		if h.each[head] = r; r != nil {
			diff, whole := got.difference(want.rotated(r))
			h.doubt[head] = diff / max(whole, math.SmallestNonzeroFloat64) * doubtOf(dim, cols)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if slices.Contains(none, true) || !slices.Contains(unchanged, false) {
		return nil, nil
	}
	return h, nil
}

// doubtOf returns the expected squared error of R x of other x, for a squared error of 1 that R
// leaves, if R, (dim, dim), was computed by least squares over n columns: dim/n of these errors are
// hidden by the fit, and the fit is as inexact as the columns beyond dim are few.
func doubtOf(dim, n int) float64 {
	rest := float64(max(n-dim, 1))
	return float64(n) / rest * float64(dim) / max(rest-1, 1)
}

// singular returns the rotation of a head whose values do not span all its dimensions, or
// nil. R is zero in the dimensions that they do not use, or less than rounding does: no
// position has a value there that O could bring back.
func singular(got, want submatrix, dim int) []float32 {
	ridge := max(got.noise, 1e-6*squares(want.data)) / float64(dim)
	r, share := solveRotation(got, want, ridge), solveRotation(want, want, ridge)
	if r == nil || share == nil {
		return nil
	}
	projection := spanned(share, dim) // onto the dimensions in use
	kept := want.rotated(projection)
	if kept.noise = got.noise; !kept.near(want) {
		return nil
	}
	r = composed(r, projection, dim)
	rotation := orthogonal(r, dim)
	var off, largest float64
	for i, x := range rotation {
		off += float64((float64(x) - float64(r[i])) * (float64(x) - float64(r[i])))
		largest = max(largest, math.Abs(float64(x)))
	}
	if !(off < rotationBends/4*float64(dim) && largest < rotationLargest) {
		return nil
	}
	return rotation
}

// hadamard returns the matrix of Hadamard blocks that r is near, or nil. That is what quantizers
// rotate by (QuaRot, section 4.1), and r is only its estimate: from weights that a calibration has
// moved, as well as rounded. The blocks are as large as the largest power of two that divides dim.
func hadamard(r []float32, dim int) []float32 {
	size := dim & -dim
	signs, off := make([]float32, len(r)), 0.0
	for i := range dim {
		for j := i / size * size; j < i/size*size+size; j++ {
			signs[i*dim+j] = float32(math.Copysign(1/math.Sqrt(float64(size)), float64(r[i*dim+j])))
		}
	}
	for i, x := range r {
		off += float64((float64(x) - float64(signs[i])) * (float64(x) - float64(signs[i])))
	}
	if off > rotationBends*float64(dim) {
		return nil
	}
	for i := range dim {
		for j := range i {
			if x := dot(signs[i*dim:][:dim], signs[j*dim:]); x*x > 1e-6 {
				return nil
			}
		}
	}
	return signs
}

func identity(n int) []float32 {
	r := make([]float32, n*n)
	for i := range n {
		r[i*n+i] = 1
	}
	return r
}

// model returns the reference with the values of a block rotated, so that its
// tensors can be compared with the subject's.
func (h *headRotation) model(reference *model.Model, block int) (*model.Model, error) {
	m := *reference
	m.Tensors = maps.Clone(reference.Tensors)
	err := parallel.Guard(func() error {
		v, o := model.Name(block, model.V), model.Name(block, model.O)
		for _, name := range []string{v, v + model.BiasSuffix, o} {
			w := reference.Tensors[name]
			if w == nil {
				continue
			}
			rotated, err := h.rotated(w, name == v)
			if err != nil {
				return err
			}
			m.Tensors[name] = rotated
		}
		return nil
	})
	return &m, err
}

// rotated returns w with its columns rotated, or its rows.
func (h *headRotation) rotated(w *qtensor.Matrix, columns bool) (*qtensor.Matrix, error) {
	rows := make([][]float32, w.Rows)
	for r := range rows {
		rows[r] = make([]float32, w.Cols)
		new(qtensor.Reader).Row(rows[r], w, r)
		if !columns {
			rows[r] = h.rotate(rows[r])
		}
	}
	if columns {
		h.rotateColumns(rows)
	}
	m, err := qtensor.New(qtensor.Scheme{}, w.Rows, w.Cols)
	if err != nil {
		return nil, err
	}
	for r, x := range rows {
		if err := m.SetFloats(r, x); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (h *headRotation) rotateColumns(rows [][]float32) {
	column := make([]float32, len(rows))
	for j := range rows[0] {
		for i, x := range rows {
			column[i] = x[j]
		}
		for i, v := range h.rotate(column) {
			rows[i][j] = v
		}
	}
}

// deliberate reports whether r, (dim, dim), is a rotation that no mistake would
// cause: it preserves lengths and mixes channels, instead of moving one to another
// place.
func deliberate(r []float32, dim int) bool {
	var off, largest float64
	for i := range dim {
		for j := range dim {
			product := dot(r[i*dim:][:dim], r[j*dim:])
			if i == j {
				product--
			}
			off += float64(product * product)
			largest = max(largest, math.Abs(float64(r[i*dim+j])))
		}
	}
	return off < rotationBends*float64(dim) && largest < rotationLargest
}

// orthogonal returns the orthogonal matrix closest to r, which is nearly orthogonal. It
// uses Newton's iteration r <- (3 r - r r^T r)/2 (Björck and Bowie 1971).
func orthogonal(r []float32, dim int) []float32 { return iterate(r, dim, 1.5, -0.5, 0) }

// spanned returns r with each singular value below 0.8 replaced by 0 and each other by 1.
// It uses the iteration r <- (5 r r^T r - 3 (r r^T)^2 r)/2, whose fixed points of singular
// values are 0, 1, and between them 0.816, which repels.
func spanned(r []float32, dim int) []float32 { return iterate(r, dim, 0, 2.5, -1.5) }

// iterate repeats r <- a r + b (r r^T) r + c (r r^T)^2 r.
func iterate(r []float32, dim int, a, b, c float64) []float32 {
	x := make([]float64, len(r))
	for i, v := range r {
		x[i] = float64(v)
	}
	square, cube, fifth := make([]float64, len(r)), make([]float64, len(r)), make([]float64, len(r))
	for range 12 {
		for i := range dim {
			for j := range dim {
				s := 0.0
				for k := range dim {
					s += float64(x[i*dim+k] * x[j*dim+k])
				}
				square[i*dim+j] = s
			}
		}
		multiply(cube, square, x, dim)
		if c != 0 {
			multiply(fifth, square, cube, dim)
		}
		for i := range x {
			x[i] = float64(a*x[i]) + float64(b*cube[i]) + float64(c*fifth[i])
		}
	}
	out := make([]float32, len(r))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// composed returns a b, all (dim, dim).
func composed(a, b []float32, dim int) []float32 {
	out := make([]float32, len(a))
	for i := range dim {
		for j := range dim {
			s := 0.0
			for k := range dim {
				s += float64(float64(a[i*dim+k]) * float64(b[k*dim+j]))
			}
			out[i*dim+j] = float32(s)
		}
	}
	return out
}

// multiply sets out to a b, all (dim, dim).
func multiply(out, a, b []float64, dim int) {
	clear(out)
	for i := range dim {
		for k := range dim {
			for j := range dim {
				out[i*dim+j] += float64(a[i*dim+k] * b[k*dim+j])
			}
		}
	}
}

// undone reports whether the subject's O undoes r for all query heads of one
// key-value head.
func undone(want, got stored, r []float32, s *model.Spec, head int) bool {
	share, dim := s.Heads/s.KVHeads, s.ValueDim()
	for q := head * share; q < (head+1)*share; q++ {
		a := submatrixOf(want, 0, s.Hidden, q*dim, dim)
		b := submatrixOf(got, 0, s.Hidden, q*dim, dim)
		transposed := make([]float32, len(r))
		for i := range dim {
			for j := range dim {
				transposed[j*dim+i] = r[i*dim+j]
			}
		}
		back := submatrix{b.n, b.width, b.stride, product(b, transposed, dim), b.noise}
		if !back.near(a) {
			return false
		}
	}
	return true
}

// A submatrix is a copy of some rows and columns of a matrix. Each row is padded
// with zeros to stride.
type submatrix struct {
	n, width, stride int
	data             []float32
	noise            float64 // the variance of rounding, summed over all values
}

func submatrixOf(m stored, row, n, col, width int) submatrix {
	p := submatrix{n: n, width: width, stride: kernel.Padded(width)}
	p.data = make([]float32, n*p.stride)
	var reader qtensor.Reader
	var noise rounding
	x := make([]float32, m.Cols)
	for i := range n {
		reader.Row(x, m.Matrix, row+i)
		copy(p.data[i*p.stride:], x[col:col+width])
		p.noise += sum(noise.row(m, row+i)[col : col+width])
	}
	return p
}

// near reports whether p equals q within p's rounding error.
func (p submatrix) near(q submatrix) bool {
	diff, whole := p.difference(q)
	return diff <= float64(rotationMargin*rotationMargin*p.noise)+float64(rotationExact*rotationExact*whole)
}

// difference returns the sums of the squares of p - q and of q.
func (p submatrix) difference(q submatrix) (diff, whole float64) {
	for i := range p.n {
		for j := range p.width {
			a, b := float64(p.data[i*p.stride+j]), float64(q.data[i*q.stride+j])
			diff += float64((a - b) * (a - b))
			whole += float64(b * b)
		}
	}
	return diff, whole
}

// product returns p times the transpose of b, (n, width). The result has p.n rows,
// each n padded to its stride.
func product(p submatrix, b []float32, n int) []float32 {
	ldb := len(b) / n
	if ldb != p.stride { // pad the rows of b too
		padded := make([]float32, n*p.stride)
		for i := range n {
			copy(padded[i*p.stride:], b[i*ldb:][:ldb])
		}
		b, ldb = padded, p.stride
	}
	ldc := kernel.Padded(n)
	c := make([]float32, p.n*ldc)
	kernel.Gemm(c, ldc, p.data, p.stride, b, ldb, p.n, n, p.stride)
	return c
}

// rotated returns r times p.
func (p submatrix) rotated(r []float32) submatrix {
	columns := make([]float32, p.width*p.n) // p transposed
	for i := range p.n {
		for j := range p.width {
			columns[j*p.n+i] = p.data[i*p.stride+j]
		}
	}
	left := submatrix{n: p.n, width: p.n, stride: kernel.Padded(p.n)}
	left.data = make([]float32, p.n*left.stride)
	for i := range p.n {
		copy(left.data[i*left.stride:], r[i*p.n:][:p.n])
	}
	return submatrix{p.n, p.width, p.stride, product(left, columns, p.width), 0}
}

// solveRotation returns the R, (n, n), that brings R want closest to got. By least
// squares that is got want^T (want want^T + ridge)^-1. It returns nil if the rows of want
// are not linearly independent and there is no ridge.
func solveRotation(got, want submatrix, ridge float64) []float32 {
	n := want.n
	gram, cross := product(want, want.data, n), product(got, want.data, n)
	ld := kernel.Padded(n)
	factor := make([]float64, n*n)
	for i := range n {
		for j := range i + 1 {
			factor[i*n+j] = float64(gram[i*ld+j])
		}
	}
	if !cholesky.Factor(factor, n, ridge) {
		return nil
	}
	for i := range n {
		if pivot := factor[i*n+i]; !(pivot*pivot > 1e-6*(float64(gram[i*ld+i])+ridge)) {
			return nil
		}
	}
	out, x := make([]float32, n*n), make([]float64, n)
	for row := range n {
		for i := range n {
			x[i] = float64(cross[row*ld+i])
		}
		cholesky.Solve(factor, n, x)
		for i, v := range x {
			out[row*n+i] = float32(v)
		}
	}
	return out
}
