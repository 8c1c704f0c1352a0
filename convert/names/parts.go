package names

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A Part says where a canonical tensor is in a stored one that also holds others, or that
// is stored otherwise. Biases are parts in the same way as their matrices.
type Part struct {
	// Row returns the stored row of row r of the canonical tensor, whose name has the given
	// number of an expert, or else of a block. nil means the same row.
	Row func(s *model.Spec, n, r int) int
	// Before is the number of stored rows before those, which no tensor is made of.
	Before int
	// Transposed means that the matrix is stored as (columns, rows), as Conv1D of GPT-2 does.
	Transposed bool
}

// Shares reports whether the stored tensor of a canonical one may hold others too.
func (n *Table) Shares(canonical string) bool {
	pattern, _ := Generalize(canonical)
	_, ok := n.parts[pattern]
	return ok
}

// sharedRows returns the number of rows that each stored tensor must have, by its name:
// those of all slots that are parts of it. Only the tensors of parts are listed.
func (n *Table) sharedRows(slots []model.Slot) map[string]int {
	rows := map[string]int{}
	for _, s := range slots {
		pattern, _ := Generalize(s.Name)
		p, ok := n.parts[pattern]
		if !ok {
			continue
		}
		name := n.Of(s.Name)
		if rows[name] == 0 {
			rows[name] = p.Before
		}
		rows[name] += partRows(s)
	}
	return rows
}

// partRows returns the number of rows of a matrix, or values of a vector.
func partRows(s model.Slot) int {
	if s.Rows == 1 {
		return s.Cols
	}
	return s.Rows
}

// shape returns the shape that the stored tensor of slot s has in a checkpoint.
func (b *binding) shape(s model.Slot) []int {
	rows, shared := b.rows[b.Of(s.Name)]
	pattern, _ := Generalize(s.Name)
	switch {
	case !shared:
		return shape(s)
	case s.Rows == 1:
		return []int{rows}
	case b.parts[pattern].Transposed:
		return []int{s.Cols, rows}
	}
	return []int{rows, s.Cols}
}

// part returns the part of t that is slot s, and t itself if it is the whole slot.
func (b *binding) part(t *checkpoint.Tensor, s model.Slot, spec *model.Spec) (*checkpoint.Tensor, error) {
	pattern, numbers := Generalize(s.Name)
	p, ok := b.parts[pattern]
	if !ok {
		return t, nil
	}
	want, got := b.shape(s), t.Shape
	if len(got) == 3 && !p.Transposed && s.Rows > 1 {
		got = []int{got[0] * got[1], got[2]} // one matrix for each expert
	}
	if !slices.Equal(got, want) {
		return nil, defect.Corrupt(t.File, t.Name, "shape is %v, %s requires %v", t.Shape, filepath.Base(b.file), want)
	}
	if b.scaling != nil && (t.DType == checkpoint.F8E4M3 || t.DType == checkpoint.F8E5M2) {
		return nil, fmt.Errorf("%s: %w; save the checkpoint as bfloat16", defect.Printable(t.File), defect.Unsupported(t.Name, "a matrix of 8-bit floats with scales that holds several of the model's"))
	}
	number := 0
	if n := len(numbers); n > 0 {
		number = numberOf(numbers[min(n, 2)-1])
	}
	from := func(r int) int { return p.Before + r }
	if p.Row != nil {
		from = func(r int) int { return p.Before + p.Row(spec, number, r) }
	}
	out := *t
	out.Shape, out.Data = shape(s), nil
	switch {
	case s.Rows == 1:
		out.Source, out.Data = nil, pickValues(t, s.Cols, from)
	case p.Transposed:
		out.Source = &columns{t, from}
	case t.Source == nil && consecutive(s.Rows, from):
		size := len(t.Data) / b.rows[b.Of(s.Name)] // of a row
		out.Data = t.Data[from(0)*size:][:s.Rows*size]
	default:
		out.Source = &picked{t, from}
	}
	return &out, nil
}

// consecutive reports whether from maps n rows to rows that follow one another.
func consecutive(n int, from func(r int) int) bool {
	for r := range n {
		if from(r) != from(0)+r {
			return false
		}
	}
	return true
}

// pickValues returns n values of a vector, the i-th from value from(i).
func pickValues(t *checkpoint.Tensor, n int, from func(i int) int) []byte {
	row := t.Row(make([]byte, t.RowBytes()), 0)
	size := len(row) / t.Shape[0]
	var out []byte
	for i := range n {
		out = append(out, row[from(i)*size:][:size]...)
	}
	return out
}

// picked reads some rows of a matrix: row r is row from(r).
type picked struct {
	*checkpoint.Tensor
	from func(r int) int
}

func (p *picked) Row(dst []byte, r int) { copy(dst, p.Tensor.Row(dst, p.from(r))) }

// columns reads some columns of a matrix as rows: row r is column from(r).
type columns struct {
	*checkpoint.Tensor
	from func(r int) int
}

func (c *columns) Row(dst []byte, r int) {
	size := c.RowBytes() / c.Shape[1]
	at := c.from(r) * size
	if c.Data == nil { // rows on demand
		row := make([]byte, c.RowBytes())
		for i := range c.Shape[0] {
			copy(dst[i*size:][:size], c.Tensor.Row(row, i)[at:])
		}
		return
	}
	for i := range c.Shape[0] {
		copy(dst[i*size:][:size], c.Data[i*c.RowBytes()+at:])
	}
}

var _ qtensor.Source = (*picked)(nil)

// InOrder returns the parts of matrices of which one stored matrix is the concatenation, by
// kind: for example all of the queries, then all of the keys, then all of the values.
func InOrder(kinds ...string) map[string]Part {
	return Grouped(func(*model.Spec) int { return 1 }, kinds...)
}

// Grouped is inOrder for a stored matrix that consists of groups, each with an equal share
// of every kind.
func Grouped(groups func(s *model.Spec) int, kinds ...string) map[string]Part {
	parts := map[string]Part{}
	for i, kind := range kinds {
		parts[kind] = Part{Row: func(s *model.Spec, _, r int) int {
			n := groups(s)
			before, all := 0, 0
			for j, k := range kinds {
				rows := kindRows(s, k) / n
				if j < i {
					before += rows
				}
				all += rows
			}
			mine := kindRows(s, kind) / n
			return r/mine*all + before + r%mine
		}}
	}
	return parts
}

// kindRows returns the rows of the linear layers of a kind.
func kindRows(s *model.Spec, kind string) int {
	switch kind {
	case model.Q, model.AttnGate:
		return s.Heads * s.HeadDim
	case model.K:
		return s.KVHeads * s.KeyRows()
	case model.V:
		return s.KVHeads * s.ValueDim()
	case model.DeltaA, model.DeltaB:
		return s.Delta.ValueHeads
	case model.ScanGate:
		return s.Scan.Values()
	case model.ScanIn:
		return s.Scan.Mixed()
	case model.ScanStep:
		return s.Scan.Heads
	case model.Shared(model.Gate), model.Shared(model.Up):
		return s.Experts.Shared
	}
	return s.FFN
}

// Sharing returns n with parts of the tensors of blocks. stored is the checkpoint's pattern
// for the weight, without "weight"; the bias has the same name.
func (n Table) Sharing(stored string, parts map[string]Part) Table {
	more, byPattern := map[string]string{}, map[string]Part{}
	for kind, p := range parts {
		for suffix, name := range map[string]string{"": "weight", model.BiasSuffix: "bias"} {
			more["blocks.*."+kind+suffix] = stored + name
			byPattern["blocks.*."+kind+suffix] = p
		}
	}
	return n.With(more).WithParts(byPattern)
}

// WithParts returns n with more parts, by canonical pattern.
func (n Table) WithParts(more map[string]Part) Table {
	all := maps.Clone(more)
	for pattern, p := range n.parts {
		if _, replaced := more[pattern]; !replaced {
			all[pattern] = p
		}
	}
	n.parts = all
	return n
}

// Transposed returns parts stored as (columns, rows).
func Transposed(parts map[string]Part) map[string]Part {
	for kind, p := range parts {
		p.Transposed = true
		parts[kind] = p
	}
	return parts
}

// numberOf returns the number that generalize found.
func numberOf(text string) (n int) {
	for _, digit := range text {
		n = 10*n + int(digit-'0')
	}
	return n
}
