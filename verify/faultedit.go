package verify

import (
	"maps"
	"slices"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// with returns a copy of m with some tensors exchanged. All others are m's own.
func with(m *model.Model, changed map[string]*qtensor.Matrix) *model.Model {
	c := *m
	c.Tensors = maps.Clone(m.Tensors)
	maps.Copy(c.Tensors, changed)
	return &c
}

// respelled returns a copy of m with its Spec changed.
func respelled(m *model.Model, change func(s *model.Spec)) *model.Model {
	c := *m
	c.Spec.Attention, c.Spec.Schedule = slices.Clone(c.Spec.Attention), slices.Clone(c.Spec.Schedule)
	change(&c.Spec)
	return &c
}

// owned returns a copy of m that may be written to.
func owned(m *qtensor.Matrix) *qtensor.Matrix {
	return assembled(m.Rows, func(r int) (*qtensor.Matrix, int) { return m, r })
}

// assembled returns a matrix of as many rows, row r being the one that pick(r)
// names, as it is stored; as float32 where the sources have several schemes.
func assembled(rows int, pick func(r int) (src *qtensor.Matrix, row int)) *qtensor.Matrix {
	first, _ := pick(0)
	for r := range rows {
		if src, _ := pick(r); src.Scheme != first.Scheme {
			return widened(rows, first.Cols, func(read *qtensor.Reader, dst []float32, r int) {
				src, row := pick(r)
				read.Row(dst, src, row)
			})
		}
	}
	out := &qtensor.Matrix{Scheme: first.Scheme, Rows: rows, Cols: first.Cols}
	var read qtensor.Reader
	for r := range rows {
		src, row := pick(r)
		codes := read.Stored(src, row)
		if r == 0 {
			out.Codes = make([]byte, 0, rows*len(codes))
		}
		out.Codes = append(out.Codes, codes...)
		out.Scales = append(out.Scales, line(src.Scales, src.Rows, row)...)
		out.Mins = append(out.Mins, line(src.Mins, src.Rows, row)...)
	}
	return out
}

// line returns row r of a plane of so many rows.
func line(plane []byte, rows, r int) []byte {
	n := len(plane) / rows
	return plane[r*n:][:n]
}

// widened returns a float32 matrix of the rows that fill writes.
func widened(rows, cols int, fill func(read *qtensor.Reader, dst []float32, r int)) *qtensor.Matrix {
	out := zeros(rows, cols)
	var read qtensor.Reader
	row := make([]float32, cols)
	for r := range rows {
		fill(&read, row, r)
		_ = out.SetFloats(r, row) // float32 holds any
	}
	return out
}

// zeros returns a float32 matrix of zeros.
func zeros(rows, cols int) *qtensor.Matrix {
	return &qtensor.Matrix{Rows: rows, Cols: cols, Codes: make([]byte, 4*rows*cols)}
}

// integers returns the matrix as integers of a scheme of ours: its own where it
// has such, otherwise rounded to int4/g32, which is a change.
func integers(m *qtensor.Matrix) (out *qtensor.Matrix, rounded bool, err error) {
	if m.Scheme.Kind == qtensor.Int {
		return owned(m), false, nil
	}
	scheme, exact := m.Scheme.Native()
	if exact = exact && !m.Scheme.Float(); !exact {
		scheme = qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}
	}
	if out, err = qtensor.New(scheme, m.Rows, m.Cols); err != nil {
		return nil, false, err
	}
	var read qtensor.Reader
	var rounder qtensor.Rounder
	row := make([]float32, m.Cols)
	for r := range m.Rows {
		if exact {
			read.Transcode(out, m, r)
			continue
		}
		read.Row(row, m, r)
		if err := rounder.Row(out, r, row); err != nil {
			return nil, false, err
		}
	}
	return out, !exact, nil
}

// sameValues reports whether two matrices have the same values.
func sameValues(a, b *qtensor.Matrix) bool {
	if a.Rows != b.Rows || a.Cols != b.Cols {
		return false
	}
	var read qtensor.Reader
	x, y := make([]float32, a.Cols), make([]float32, a.Cols)
	for r := range a.Rows {
		read.Row(x, a, r)
		read.Row(y, b, r)
		if !slices.Equal(x, y) {
			return false
		}
	}
	return true
}
