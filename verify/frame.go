package verify

import (
	"context"
	"maps"
	"math"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// Between the value projection and the output projection of a head there are only
// sums over positions, so that R V and O R^-1 compute what V and O do, for any R:
// quantizers turn values to where they round well (QuaRot, arXiv 2404.00456,
// section 4). Such a model's values are right in a frame of their own.

// A frame is the turn R of each key-value head of a block.
type frame struct {
	dim   int
	turns [][]float32 // of each head (dim, dim)
}

// What a turn may leave unexplained, as a multiple of rounding and relative to the
// weights. A turn that no mistake makes keeps lengths nearly, as it is found from
// rounded weights, and has no number near 1, which would be a channel that goes to
// another place.
const (
	turnMargin  = 3.0
	turnExact   = 1e-3
	turnBends   = 0.25
	turnLargest = 0.9
)

// turn returns x, (heads, dim), in the model's frame; several heads may share one.
func (f *frame) turn(x []float32) []float32 {
	heads := len(x) / f.dim
	share := heads / len(f.turns)
	out := make([]float32, len(x))
	for h := range heads {
		r := f.turns[h/share]
		in := x[h*f.dim:][:f.dim]
		for i := range f.dim {
			out[h*f.dim+i] = float32(product64(in, r[i*f.dim:]))
		}
	}
	return out
}

// frameOf finds the frame of the values of a block; nil if it is the reference's, or
// if there is no turn that explains them.
func frameOf(ctx context.Context, reference, subject *model.Model, block int) (*frame, error) {
	s := &subject.Spec
	v, o := model.Name(block, model.V), model.Name(block, model.O)
	for _, m := range []*model.Model{reference, subject} {
		if m.Tensors[v] == nil || m.Tensors[o] == nil {
			return nil, nil
		}
	}
	if reference.Spec.HeadDim != s.HeadDim {
		return nil, nil
	}
	f := &frame{s.HeadDim, make([][]float32, s.KVHeads)}
	same := make([]bool, s.KVHeads)
	lost := make([]bool, s.KVHeads)
	err := parallel.Do(ctx, s.KVHeads, func(_, head int) error {
		want := partOf(reference.Tensors[v], head*s.HeadDim, s.HeadDim, 0, s.Hidden)
		got := partOf(subject.Tensors[v], head*s.HeadDim, s.HeadDim, 0, s.Hidden)
		if same[head] = got.near(want); same[head] {
			return nil
		}
		r := solveTurn(got, want)
		switch {
		case r == nil:
			lost[head] = true
		case deliberate(r, s.HeadDim):
			r = orthogonal(r, s.HeadDim)
		default:
			lost[head] = !got.near(want.turned(r)) || !returned(reference.Tensors[o], subject.Tensors[o], r, s, head)
		}
		f.turns[head] = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	for head := range lost {
		if same[head] || lost[head] {
			return nil, nil
		}
	}
	return f, nil
}

// of returns the reference as it is in the frame of a block, for its tensors to be
// compared with the model's.
func (f *frame) of(reference *model.Model, block int) (*model.Model, error) {
	m := *reference
	m.Tensors = maps.Clone(reference.Tensors)
	err := parallel.Guard(func() error {
		v, o := model.Name(block, model.V), model.Name(block, model.O)
		for _, name := range []string{v, v + model.BiasSuffix, o} {
			w := reference.Tensors[name]
			if w == nil {
				continue
			}
			rows := make([][]float32, w.Rows)
			for r := range rows {
				rows[r] = make([]float32, w.Cols)
				new(qtensor.Reader).Row(rows[r], w, r)
				if name != v {
					rows[r] = f.turn(rows[r])
				}
			}
			if name == v {
				f.turnColumns(rows)
			}
			turned, err := qtensor.New(qtensor.Scheme{}, w.Rows, w.Cols)
			if err != nil {
				return err
			}
			for r, x := range rows {
				if err := turned.SetFloats(r, x); err != nil {
					return err
				}
			}
			m.Tensors[name] = turned
		}
		return nil
	})
	return &m, err
}

func (f *frame) turnColumns(rows [][]float32) {
	column := make([]float32, len(rows))
	for j := range rows[0] {
		for i, x := range rows {
			column[i] = x[j]
		}
		for i, v := range f.turn(column) {
			rows[i][j] = v
		}
	}
}

// deliberate says whether r turns as no mistake does: it keeps lengths, and no
// channel goes to one place.
func deliberate(r []float32, dim int) bool {
	var off, largest float64
	for i := range dim {
		for j := range dim {
			dot := product64(r[i*dim:][:dim], r[j*dim:])
			if i == j {
				dot--
			}
			off += float64(dot * dot)
			largest = max(largest, math.Abs(float64(r[i*dim+j])))
		}
	}
	return off < turnBends*float64(dim) && largest < turnLargest
}

// orthogonal is the orthogonal matrix closest to r, which is not far from one, by
// Newton's iteration r <- (3 r - r r^T r)/2 (Björck and Bowie 1971).
func orthogonal(r []float32, dim int) []float32 {
	x := make([]float64, len(r))
	for i, v := range r {
		x[i] = float64(v)
	}
	square, cube := make([]float64, len(r)), make([]float64, len(r))
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
		clear(cube)
		for i := range dim {
			for k := range dim {
				for j := range dim {
					cube[i*dim+j] += float64(square[i*dim+k] * x[k*dim+j])
				}
			}
		}
		for i := range x {
			x[i] = float64(1.5*x[i]) - float64(0.5*cube[i])
		}
	}
	for i, v := range x {
		r[i] = float32(v)
	}
	return r
}

// returned says whether the model's O takes back what r turns, for all query heads
// of a key-value head.
func returned(want, got *qtensor.Matrix, r []float32, s *model.Spec, head int) bool {
	share := s.Heads / s.KVHeads
	for q := head * share; q < (head+1)*share; q++ {
		a := partOf(want, 0, s.Hidden, q*s.HeadDim, s.HeadDim)
		b := partOf(got, 0, s.Hidden, q*s.HeadDim, s.HeadDim)
		transposed := make([]float32, len(r))
		for i := range s.HeadDim {
			for j := range s.HeadDim {
				transposed[j*s.HeadDim+i] = r[i*s.HeadDim+j]
			}
		}
		back := part{b.n, b.width, b.stride, product(b, transposed, s.HeadDim), b.noise}
		if !back.near(a) {
			return false
		}
	}
	return true
}

// A part is some rows and columns of a matrix, the rows followed by zeros up to
// stride.
type part struct {
	n, width, stride int
	data             []float32
	noise            float64 // the variance of rounding, of all values together
}

func partOf(m *qtensor.Matrix, row, n, col, width int) part {
	p := part{n: n, width: width, stride: kernel.Padded(width)}
	p.data = make([]float32, n*p.stride)
	var reader qtensor.Reader
	var noise rounding
	x := make([]float32, m.Cols)
	for i := range n {
		reader.Row(x, m, row+i)
		copy(p.data[i*p.stride:], x[col:col+width])
		p.noise += sum(noise.row(m, row+i)[col : col+width])
	}
	return p
}

// near says whether p is q but for p's rounding.
func (p part) near(q part) bool {
	var apart, whole float64
	for i := range p.n {
		for j := range p.width {
			a, b := float64(p.data[i*p.stride+j]), float64(q.data[i*q.stride+j])
			apart += float64((a - b) * (a - b))
			whole += float64(b * b)
		}
	}
	return apart <= float64(turnMargin*turnMargin*p.noise)+float64(turnExact*turnExact*whole)
}

// product returns p times the transpose of b, (n, width), as (p.n, stride of n).
func product(p part, b []float32, n int) []float32 {
	ldb := len(b) / n
	if ldb != p.stride { // rows of b want padding too
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

// turned is r times p.
func (p part) turned(r []float32) part {
	columns := make([]float32, p.width*p.n) // p transposed
	for i := range p.n {
		for j := range p.width {
			columns[j*p.n+i] = p.data[i*p.stride+j]
		}
	}
	left := part{n: p.n, width: p.n, stride: kernel.Padded(p.n)}
	left.data = make([]float32, p.n*left.stride)
	for i := range p.n {
		copy(left.data[i*left.stride:], r[i*p.n:][:p.n])
	}
	return part{p.n, p.width, p.stride, product(left, columns, p.width), 0}
}

// solveTurn returns the R, (n, n), for which R want is closest to got: got want^T
// (want want^T)^-1; nil if the rows of want are not independent.
func solveTurn(got, want part) []float32 {
	n := want.n
	gram, cross := product(want, want.data, n), product(got, want.data, n)
	ld := kernel.Padded(n)
	factor := make([]float64, n*n) // lower triangle of Cholesky's
	for i := range n {
		for j := range i + 1 {
			s := float64(gram[i*ld+j])
			for k := range j {
				s -= float64(factor[i*n+k] * factor[j*n+k])
			}
			if i != j {
				factor[i*n+j] = s / factor[j*n+j]
				continue
			}
			if !(s > 1e-6*float64(gram[i*ld+i])) {
				return nil
			}
			factor[i*n+i] = math.Sqrt(s)
		}
	}
	out := make([]float32, n*n)
	x := make([]float64, n)
	for row := range n {
		for i := range n {
			s := float64(cross[row*ld+i])
			for k := range i {
				s -= float64(factor[i*n+k] * x[k])
			}
			x[i] = s / factor[i*n+i]
		}
		for i := n - 1; i >= 0; i-- {
			s := x[i]
			for k := i + 1; k < n; k++ {
				s -= float64(factor[k*n+i] * x[k])
			}
			x[i] = s / factor[i*n+i]
		}
		for i, v := range x {
			out[row*n+i] = float32(v)
		}
	}
	return out
}
