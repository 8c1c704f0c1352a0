package gguf

import (
	"encoding/binary"
	"math"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// xieluKeys returns the keys of the numbers of the activation xielu, by kind.
func xieluKeys(m *metadata) map[string]*[]float32 {
	return map[string]*[]float32{
		model.XIELUAbove: &m.xieluAbove, model.XIELUBelow: &m.xieluBelow, model.XIELULinear: &m.xieluLinear, model.XIELULast: &m.xieluLast,
	}
}

// listOf returns the key that has the numbers of slot's kind, and the block of slot, or nil
// if the file has slot as a tensor.
func (a *architecture) listOf(m *metadata, slot model.Slot) (list *[]float32, block int) {
	block, kind, ok := model.SplitName(slot.Name)
	if !ok || a.lists == nil {
		return nil, 0
	}
	return a.lists(m)[kind], block
}

// putLists fills the keys that have numbers of m's blocks. stored is the Spec of m in the
// file's context, s the same in the form of asGGUF.
func (a *architecture) putLists(keys *metadata, m *model.Model, stored, s *model.Spec) {
	var r qtensor.Reader
	for _, slot := range s.Slots() {
		if list, _ := a.listOf(keys, slot); list != nil {
			x := []float32{0}
			r.Row(x, m.Tensors[stored.StoredName(slot.Name)], 0)
			*list = append(*list, x[0])
		}
	}
}

// number returns the number of a block in a key, as a tensor.
func (f *file) number(keys *metadata, list *[]float32, block int, s *model.Spec) (*qtensor.Matrix, error) {
	if len(*list) != s.Blocks {
		return nil, defect.Corrupt(f.path, keys.nameOf(list), "%d numbers for %d blocks", len(*list), s.Blocks)
	}
	bits := math.Float32bits((*list)[block])
	return &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: qtensor.F32}, Rows: 1, Cols: 1, Codes: binary.LittleEndian.AppendUint32(nil, bits)}, nil
}
