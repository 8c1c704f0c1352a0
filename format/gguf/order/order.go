// Package order describes tensors of which a file has the rows or columns in another order than
// the model, and reads them in the model's.
package order

import (
	"encoding/binary"
	"math"
	"sync"

	"thimble/internal/mmap"
	"thimble/internal/qtensor"
)

// A Swap says where a file has the rows of a tensor, its columns, or the values of a vector. The
// model has those after the first Skip as (Outer, Inner, Unit), once or several times in a row,
// and the file as (Inner, Outer, Unit). The zero value leaves everything in place.
type Swap struct{ Skip, Outer, Inner, Unit int }

// Moves reports whether anything has another place.
func (s Swap) Moves() bool { return s.Outer > 1 && s.Inner > 1 }

// At returns the place in the file of item r of the model.
func (s Swap) At(r int) int {
	if !s.Moves() || r < s.Skip {
		return r
	}
	r -= s.Skip
	in := r % (s.Outer * s.Inner * s.Unit)
	outer, inner, unit := in/(s.Inner*s.Unit), in/s.Unit%s.Inner, in%s.Unit
	return s.Skip + r - in + (inner*s.Outer+outer)*s.Unit + unit
}

// Back returns the inverse of s: its At returns the item of the model at a place in the file.
func (s Swap) Back() Swap {
	s.Outer, s.Inner = s.Inner, s.Outer
	return s
}

// Runs returns s for whole runs of Unit items. It must not skip any.
func (s Swap) Runs() Swap { return Swap{Outer: s.Outer, Inner: s.Inner, Unit: 1} }

// An Order says in which order a file has the rows and columns of a tensor of the model. The rows
// of a vector are its values. Mixed is the order of the rows of several tensors that are one tensor
// of the file, in which those of this tensor are First and the next ones.
type Order struct {
	Rows, Cols, Mixed Swap
	First             int
}

// Matrix returns the matrix that stored, the file's tensor, holds in order o. plain is what the
// rows from First on would be without another order; vector says that it is one. A block of
// columns may hold parts of several runs; such a matrix is read as float32.
func (o Order) Matrix(plain *qtensor.Matrix, stored []byte, vector bool) *qtensor.Matrix {
	if !o.Mixed.Moves() && !o.Rows.Moves() && !o.Cols.Moves() {
		return plain
	}
	out := &qtensor.Matrix{Scheme: plain.Scheme, Rows: plain.Rows, Cols: plain.Cols}
	if o.Cols.Moves() && o.Cols.Unit%Block(plain.Scheme) != 0 {
		out.Scheme, out.Source = qtensor.Scheme{Kind: qtensor.F32}, &decoded{plain, o.Cols, sync.Pool{New: func() any { return new(row) }}}
		return out
	}
	a := &arranged{Order: o, stored: stored, size: len(plain.Codes) / plain.Rows}
	if vector && plain.Rows == 1 {
		a.size /= plain.Cols
	}
	a.run = a.size * max(o.Cols.Unit, 1) / plain.Cols
	out.Source = a
	return out
}

// Block returns the number of columns that a scheme stores together.
func Block(s qtensor.Scheme) int {
	if s.Layout == nil {
		return 1
	}
	return s.Layout.Cols
}

// arranged reads rows in the model's order.
type arranged struct {
	Order
	stored []byte
	size   int // of a row, or of a value of a vector, in bytes
	run    int // of the columns that stay together, in bytes
}

func (a *arranged) Row(dst []byte, r int) {
	for r *= len(dst) / a.size; len(dst) > 0; r++ {
		stored := a.stored[a.Mixed.At(a.First+a.Rows.At(r))*a.size:][:a.size]
		if copy(dst, stored); a.Cols.Moves() {
			for i := range a.size / a.run {
				copy(dst[i*a.run:][:a.run], stored[a.Cols.Runs().At(i)*a.run:])
			}
		}
		dst = dst[a.size:]
	}
}

func (a *arranged) Release() { mmap.Release(a.stored) }

// decoded reads a matrix as float32, with its columns in the model's order.
type decoded struct {
	stored  *qtensor.Matrix
	cols    Swap
	scratch sync.Pool // of *row
}

// row is scratch memory for one.
type row struct {
	reader qtensor.Reader
	values []float32
}

func (d *decoded) Row(dst []byte, r int) {
	s := d.scratch.Get().(*row)
	defer d.scratch.Put(s)
	s.values = append(s.values[:0], make([]float32, d.stored.Cols)...)
	s.reader.Row(s.values, d.stored, r)
	for c := range s.values {
		binary.LittleEndian.PutUint32(dst[4*c:], math.Float32bits(s.values[d.cols.At(c)]))
	}
}

func (d *decoded) Release() { d.stored.Release() }
