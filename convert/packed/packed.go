// Package packed reads the matrices of quantized checkpoints: integers of 2 to 8 bits, or
// indices of 16 levels, that a library packed into a tensor of words, with their scales and
// zero points in tensors beside it. It keeps the integers where a scheme of Thimble holds
// the same values, and otherwise makes rows of float32.
package packed

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Format is the way in which one library packs matrices.
type Format struct {
	name   string
	marker string // ending of the name of the tensor that only a packed matrix has
	read   func(m *module) (Source, error)

	// unpack, if not nil, is Unpack for a format whose tensors do not belong to one matrix each.
	unpack func(tensors map[string]*checkpoint.Tensor) (*Unpacked, error)
}

// A Source is a packed matrix, which supplies its rows as float32.
type Source interface {
	checkpoint.Source
	shape() (rows, cols int)
	// keep returns the matrix in a scheme of Thimble, or why there is none.
	keep() (m *qtensor.Matrix, why string)
}

// Unpacked is a checkpoint without packed tensors.
type Unpacked struct {
	Tensors map[string]*checkpoint.Tensor
	Kept    map[*checkpoint.Tensor]*qtensor.Matrix // the integers of some of Tensors, which are float32 there
	Notes   []string
}

// A module is the part of a network that owns one matrix: the tensors with its name.
type module struct {
	name    string // with the final dot
	format  string
	tensors map[string]*checkpoint.Tensor
	used    []string
}

// find returns the tensor with the given last part of its name, or nil.
func (m *module) find(suffix string) *checkpoint.Tensor {
	t := m.tensors[m.name+suffix]
	if t != nil {
		m.used = append(m.used, m.name+suffix)
	}
	return t
}

// tensor is find for a tensor that must exist, have one of the types and be a matrix, a
// vector or a scalar in row-major order.
func (m *module) tensor(suffix string, types ...checkpoint.DType) (*checkpoint.Tensor, error) {
	t := m.find(suffix)
	if t == nil {
		return nil, defect.Corrupt(m.file(), m.name+suffix, "tensor is missing, which a matrix of %s requires", m.format)
	}
	return t, m.check(t, types...)
}

func (m *module) check(t *checkpoint.Tensor, types ...checkpoint.DType) error {
	switch {
	case !slices.Contains(types, t.DType) || len(t.Shape) > 2 || slices.Contains(t.Shape, 0):
		return defect.Corrupt(t.File, t.Name, "is %s %v, a matrix of %s requires %v in two dimensions", t.DType, t.Shape, m.format, types)
	case t.Source != nil:
		return defect.Corrupt(t.File, t.Name, "is not stored in row-major order; call contiguous() on it and save it again")
	}
	return nil
}

// file returns the file of one of the module's tensors.
func (m *module) file() string {
	for _, name := range m.used {
		return m.tensors[name].File
	}
	return m.name
}

// misfit returns the error for a tensor whose shape contradicts the others.
func (m *module) misfit(t *checkpoint.Tensor, want string, args ...any) error {
	return defect.Corrupt(t.File, t.Name, "shape is %v, the other tensors of this matrix of %s require %s", t.Shape, m.format, fmt.Sprintf(want, args...))
}

// floats are the types of scales.
var floats = []checkpoint.DType{checkpoint.F16, checkpoint.BF16, checkpoint.F32}

// Unpack returns the tensors with one of float32, called weight, in place of each packed
// matrix. It keeps the integers of those that it can.
func (f *Format) Unpack(tensors map[string]*checkpoint.Tensor) (*Unpacked, error) {
	if f.unpack != nil {
		return f.unpack(tensors)
	}
	out := &Unpacked{Tensors: maps.Clone(tensors), Kept: map[*checkpoint.Tensor]*qtensor.Matrix{}}
	count := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		prefix, ok := strings.CutSuffix(name, f.marker)
		if !ok || prefix != "" && !strings.HasSuffix(prefix, ".") {
			continue
		}
		m := &module{name: prefix, format: f.name, tensors: tensors}
		m.find(f.marker)
		var s Source
		var kept *qtensor.Matrix
		var why string
		err := parallel.Guard(func() (err error) {
			if s, err = f.read(m); s != nil && err == nil {
				kept, why = s.keep()
			}
			return err
		})
		if err == parallel.ErrFault {
			err = fmt.Errorf("%s: %w", defect.Printable(m.file()), err)
		}
		if err != nil {
			return nil, err
		}
		if s == nil {
			continue // not packed after all
		}
		for _, name := range m.used {
			delete(out.Tensors, name)
		}
		t := &checkpoint.Tensor{Name: prefix + "weight", File: tensors[name].File, DType: checkpoint.F32, Source: s}
		rows, cols := s.shape()
		t.Shape = []int{rows, cols}
		out.Tensors[t.Name] = t
		if kept != nil {
			out.Kept[t] = kept
			count[fmt.Sprintf("of %s: integers kept as %v", f.name, kept.Scheme)]++
		} else {
			count[fmt.Sprintf("of %s: decoded to float32, because %s", f.name, why)]++
		}
	}
	out.Notes = notesOf(count)
	return out, nil
}

// notesOf returns a note for each thing that happened to matrices, and to how many of them.
func notesOf(count map[string]int) (notes []string) {
	for _, what := range slices.Sorted(maps.Keys(count)) {
		noun := "matrices "
		if count[what] == 1 {
			noun = "matrix "
		}
		notes = append(notes, fmt.Sprintf("%d %s%s", count[what], noun, what))
	}
	return notes
}
