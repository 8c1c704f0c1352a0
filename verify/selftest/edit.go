package selftest

import (
	"maps"
	"slices"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// withTensors returns a copy of m with some tensors replaced. The copy shares the
// other tensors with m.
func withTensors(m *model.Model, changed map[string]*qtensor.Matrix) *model.Model {
	c := *m
	c.Tensors = maps.Clone(m.Tensors)
	maps.Copy(c.Tensors, changed)
	return &c
}

// withSpec returns a copy of m with its Spec changed.
func withSpec(m *model.Model, change func(s *model.Spec)) *model.Model {
	c := *m
	c.Spec.Attention, c.Spec.Schedule = slices.Clone(c.Spec.Attention), slices.Clone(c.Spec.Schedule)
	change(&c.Spec)
	return &c
}

// writable returns a copy of m that may be written to.
func writable(m *qtensor.Matrix) *qtensor.Matrix {
	return gather(m.Rows, func(r int) (*qtensor.Matrix, int) { return m, r })
}

// gather returns a matrix whose row r is the row that pick(r) returns. It keeps the
// scheme of the sources, and uses float32 if they have several schemes.
func gather(rows int, pick func(r int) (src *qtensor.Matrix, row int)) *qtensor.Matrix {
	first, _ := pick(0)
	for r := range rows {
		if src, _ := pick(r); src.Scheme != first.Scheme {
			return floatMatrix(rows, first.Cols, func(read *qtensor.Reader, dst []float32, r int) {
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
		out.Scales = append(out.Scales, planeRow(src.Scales, src.Rows, row)...)
		out.Mins = append(out.Mins, planeRow(src.Mins, src.Rows, row)...)
	}
	return out
}

// planeRow returns row r of a plane that has rows rows.
func planeRow(plane []byte, rows, r int) []byte {
	n := len(plane) / rows
	return plane[r*n:][:n]
}

// floatMatrix returns a float32 matrix whose rows fill writes.
func floatMatrix(rows, cols int, fill func(read *qtensor.Reader, dst []float32, r int)) *qtensor.Matrix {
	out := zeros(rows, cols)
	var read qtensor.Reader
	row := make([]float32, cols)
	for r := range rows {
		fill(&read, row, r)
		_ = out.SetFloats(r, row) // float32 represents any value
	}
	return out
}

// zeros returns a float32 matrix of zeros.
func zeros(rows, cols int) *qtensor.Matrix {
	return &qtensor.Matrix{Rows: rows, Cols: cols, Codes: make([]byte, 4*rows*cols)}
}

// asIntegers returns the matrix as integers in one of Thimble's schemes. It keeps the
// matrix's own scheme if that is, or is equivalent to, such a scheme; otherwise it
// rounds to int4/g32.
func asIntegers(m *qtensor.Matrix) (out *qtensor.Matrix, rounded bool, err error) {
	if m.Scheme.Kind == qtensor.Int {
		return writable(m), false, nil
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
