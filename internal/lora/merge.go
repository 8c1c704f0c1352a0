package lora

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/qtensor"
)

// widen reads a row of a type with isFloat.
func widen(dst []float32, src []byte, t checkpoint.DType) {
	switch t {
	case checkpoint.F32:
		kernel.FromF32(dst, src)
	case checkpoint.F16:
		kernel.FromF16(dst, src)
	case checkpoint.BF16:
		kernel.FromBF16(dst, src)
	}
}

// narrow writes a row in a float type, rounded to nearest even. A value that the type cannot
// hold becomes infinite, which quantizing and verifying report.
func narrow(dst []byte, src []float32, t checkpoint.DType) {
	for i, x := range src {
		switch t {
		case checkpoint.F32:
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		case checkpoint.F16:
			half, _ := qtensor.ToFloat16(x)
			binary.LittleEndian.PutUint16(dst[2*i:], half)
		default:
			half, _ := qtensor.ToBFloat16(x)
			binary.LittleEndian.PutUint16(dst[2*i:], half)
		}
	}
}

// floats returns all of a matrix as float32.
func floats(t *checkpoint.Tensor) []float32 {
	cols := t.Shape[len(t.Shape)-1]
	all, row := make([]float32, t.Rows()*cols), make([]byte, t.RowBytes())
	for r := range t.Rows() {
		widen(all[r*cols:][:cols], t.Row(row, r), t.DType)
	}
	return all
}

func isFloat(t *checkpoint.Tensor) bool {
	return t.DType == checkpoint.F32 || t.DType == checkpoint.F16 || t.DType == checkpoint.BF16
}

// inTypeOf returns t, a weight that the adapter stores whole, in the type of the weight that
// it replaces.
func inTypeOf(base, t *checkpoint.Tensor, name string) (*checkpoint.Tensor, error) {
	switch {
	case !isFloat(t):
		return nil, defect.Unsupported(t.File, "type %s of %s", t.DType, defect.Printable(t.Name))
	case base == nil || base.DType == t.DType:
		c := *t
		c.Name = name
		return &c, nil
	case !isFloat(base):
		return nil, defect.Unsupported(base.File, "a replacement for %s, of type %s,", defect.Printable(base.Name), base.DType)
	}
	c := *base
	c.Shape, c.Data, c.File = t.Shape, nil, t.File
	c.Source = &cast{t, base.DType}
	return &c, nil
}

// A cast is a Source for the rows of a tensor in another type.
type cast struct {
	*checkpoint.Tensor
	to checkpoint.DType
}

func (c *cast) Row(dst []byte, r int) {
	x := make([]float32, c.Shape[len(c.Shape)-1])
	widen(x, c.Tensor.Row(make([]byte, c.RowBytes()), r), c.DType)
	narrow(dst, x, c.to)
}

// merge returns base plus the product of m's matrices.
func (a *Adapter) merge(base *checkpoint.Tensor, m *module, name string) (*checkpoint.Tensor, error) {
	rows, cols := m.b.Shape[0], m.a.Shape[1]
	if m.embedding {
		rows, cols = cols, rows
	}
	switch {
	case !isFloat(base):
		return nil, defect.Unsupported(base.File, "merging an adapter into %s, of type %s,", defect.Printable(base.Name), base.DType)
	case !isFloat(m.a) || !isFloat(m.b) || m.magnitude != nil && !isFloat(m.magnitude):
		return nil, defect.Unsupported(a.Files[0], "%s of type %s", defect.Printable(name), m.a.DType)
	case !slices.Equal(base.Shape, []int{rows, cols}):
		return nil, defect.Corrupt(a.Files[0], name, "the adapter changes a matrix of %d rows and %d columns, but the checkpoint's has the shape %v", rows, cols, base.Shape)
	}
	scale, err := a.config.scale(name)
	if err != nil {
		return nil, err
	}
	t := *base
	t.Data = nil
	t.Source = &sum{base: base, module: m, scale: scale}
	return &t, nil
}

// A sum is a Source for the rows of a weight and a product of two matrices: row i is
// base[i] + scale * (left[i] right). It is safe for concurrent use.
type sum struct {
	base  *checkpoint.Tensor
	scale float32
	*module

	mu          sync.Mutex
	left, right []float32 // (rows, rank) and (rank, columns), read on the first use
}

// matrices returns the two matrices, which Release drops.
func (s *sum) matrices() (left, right []float32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == nil {
		s.left, s.right = floats(s.b), floats(s.a)
		if s.embedding {
			s.left, s.right = transposed(s.right, s.a.Shape[0]), transposed(s.left, s.b.Shape[0])
		}
	}
	return s.left, s.right
}

// transposed returns the transpose of a matrix with the given number of rows.
func transposed(x []float32, rows int) []float32 {
	cols := len(x) / rows
	y := make([]float32, len(x))
	for i := range rows {
		for j := range cols {
			y[j*rows+i] = x[i*cols+j]
		}
	}
	return y
}

func (s *sum) Row(dst []byte, r int) {
	left, right := s.matrices()
	rank, cols := s.a.Shape[0], s.base.Shape[1]
	x, w := make([]float32, cols), make([]float32, cols)
	kernel.Mix(x, left[r*rank:][:rank], right, cols)
	widen(w, s.base.Row(make([]byte, s.base.RowBytes()), r), s.base.DType)
	for i := range x {
		x[i] *= s.scale
	}
	if s.embedding { // peft rounds this product on its own
		narrow(dst, x, s.base.DType)
		widen(x, dst, s.base.DType)
	}
	for i := range w {
		w[i] += x[i]
	}
	if s.magnitude != nil {
		s.direct(w, r)
	}
	narrow(dst, w, s.base.DType)
}

// direct gives a row the magnitude that DoRA learned (arXiv 2402.09353, equation 5).
func (s *sum) direct(w []float32, r int) {
	var squares float64
	for _, x := range w {
		squares += float64(float64(x) * float64(x))
	}
	size := bytesOf(s.magnitude.DType)
	var magnitude [1]float32
	widen(magnitude[:], s.magnitude.Row(make([]byte, s.magnitude.RowBytes()), 0)[r*size:][:size], s.magnitude.DType)
	factor := magnitude[0] / float32(math.Sqrt(squares))
	for i := range w {
		w[i] *= factor
	}
}

func bytesOf(t checkpoint.DType) int {
	if t == checkpoint.F32 {
		return 4
	}
	return 2
}

func (s *sum) Release() {
	s.mu.Lock()
	s.left, s.right = nil, nil
	s.mu.Unlock()
	for _, t := range []*checkpoint.Tensor{s.base, s.a, s.b} {
		t.Release()
	}
}
