package gguf

import (
	"math"
	"strings"
	"sync"

	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A swap says where a file has the rows of a tensor, its columns, or the values of a vector. The
// model has those after the first skip as (outer, inner, unit), once or several times in a row,
// and the file as (inner, outer, unit). The zero value leaves everything in place.
type swap struct{ skip, outer, inner, unit int }

func (s swap) moves() bool { return s.outer > 1 && s.inner > 1 }

// at returns the place in the file of item r of the model.
func (s swap) at(r int) int {
	if !s.moves() || r < s.skip {
		return r
	}
	r -= s.skip
	in := r % (s.outer * s.inner * s.unit)
	outer, inner, unit := in/(s.inner*s.unit), in/s.unit%s.inner, in%s.unit
	return s.skip + r - in + (inner*s.outer+outer)*s.unit + unit
}

// back returns the inverse of s: its at returns the item of the model at a place in the file.
func (s swap) back() swap {
	s.outer, s.inner = s.inner, s.outer
	return s
}

// runs returns s for whole runs of items. It must not skip any.
func (s swap) runs() swap { return swap{outer: s.outer, inner: s.inner, unit: 1} }

// An order says in which order a file has the rows and columns of a tensor of the model. The
// rows of a vector are its values.
type order struct{ rows, cols swap }

// order returns the order of slot. A model that rotates dimension i of a head with i+HeadDim/2
// needs another order of rows for a graph that rotates 2i with 2i+1: row 2i+j of a head in the
// file is row i+j*HeadDim/2 of the model (llama.py, permute).
func (a *architecture) order(slot model.Slot, s *model.Spec) order {
	_, kind, _ := model.SplitName(strings.TrimSuffix(slot.Name, model.BiasSuffix))
	switch {
	case a.pairs && !s.Rope.Pairs && (kind == model.Q || kind == model.K):
		return order{rows: swap{outer: 2, inner: s.HeadDim / 2, unit: 1}}
	case a.delta != nil && a.delta.tiled && s.Delta.KeyHeads > 0:
		return tiledHeads(kind, slot, &s.Delta)
	}
	return order{}
}

// arranged returns the tensor of the model at a place in t, whose rows, columns or values are
// in another order there. A block of columns may hold parts of several heads; such a matrix is
// read as float32.
func (t *tensorInfo) arranged(slot model.Slot, where place, o order) *qtensor.Matrix {
	m := t.part(slot, where.first)
	if !where.mixed.moves() && !o.rows.moves() && !o.cols.moves() {
		return m
	}
	a := &arranged{stored: t.data, size: len(m.Codes) / m.Rows, first: where.first, mixed: where.mixed, rows: o.rows}
	if m.Rows == 1 && slot.Role == model.Vector {
		a.size /= m.Cols
	}
	out := &qtensor.Matrix{Scheme: m.Scheme, Rows: m.Rows, Cols: m.Cols, Source: a}
	switch block := blockOf(m.Scheme); {
	case !o.cols.moves():
	case o.cols.unit%block == 0:
		a.cols, a.run = o.cols.runs(), a.size*o.cols.unit/m.Cols
	default:
		out.Scheme, out.Source = qtensor.Scheme{Kind: qtensor.F32}, &decoded{m, o.cols, sync.Pool{New: func() any { return new(columns) }}}
	}
	return out
}

// blockOf returns the number of columns that a scheme stores together.
func blockOf(s qtensor.Scheme) int {
	if s.Layout == nil {
		return 1
	}
	return s.Layout.Cols
}

// arranged reads rows in the model's order.
type arranged struct {
	stored      []byte // the file's tensor
	size        int    // of a row, or of a value of a vector, in bytes
	first       int    // row of the model's tensor, before mixed
	mixed, rows swap
	cols        swap // of runs of columns
	run         int  // size of a run, in bytes
}

func (a *arranged) Row(dst []byte, r int) {
	for r *= len(dst) / a.size; len(dst) > 0; r++ {
		stored := a.stored[a.mixed.at(a.first+a.rows.at(r))*a.size:][:a.size]
		if copy(dst, stored); a.cols.moves() {
			for i := range a.size / a.run {
				copy(dst[i*a.run:][:a.run], stored[a.cols.at(i)*a.run:])
			}
		}
		dst = dst[a.size:]
	}
}

func (a *arranged) Release() { mmap.Release(a.stored) }

// decoded reads a matrix as float32, with its columns in the model's order.
type decoded struct {
	stored  *qtensor.Matrix
	cols    swap
	scratch sync.Pool // of *columns
}

// columns is scratch memory for a row.
type columns struct {
	reader qtensor.Reader
	row    []float32
}

func (d *decoded) Row(dst []byte, r int) {
	s := d.scratch.Get().(*columns)
	defer d.scratch.Put(s)
	s.row = append(s.row[:0], make([]float32, d.stored.Cols)...)
	s.reader.Row(s.row, d.stored, r)
	for c := range s.row {
		le.PutUint32(dst[4*c:], math.Float32bits(s.row[d.cols.at(c)]))
	}
}

func (d *decoded) Release() { d.stored.Release() }
