package names

import (
	"fmt"
	"slices"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A Scaling describes how a checkpoint stores the scales of 8-bit floats.
type Scaling struct {
	Suffix     string // appended to the weight's name for the scale's name
	Rows, Cols int    // of a block that shares a scale; 0 means all
}

// read returns the scale of w, a tensor with the shape of slot, from the tensor t.
func (s *Scaling) read(w, t *checkpoint.Tensor, slot model.Slot) (*scale, error) {
	rows, cols := s.Rows, s.Cols
	if rows == 0 {
		rows = slot.Rows
	}
	if cols == 0 {
		cols = slot.Cols
	}
	down, across := (slot.Rows+rows-1)/rows, (slot.Cols+cols-1)/cols
	fits := slices.Equal(t.Shape, []int{down, across}) || across == 1 && slices.Equal(t.Shape, []int{down}) || down*across == 1 && len(t.Shape) == 0
	kind, ok := Kinds[t.DType]
	if !fits || !ok {
		return nil, defect.Corrupt(t.File, t.Name, "is %s %v, %s requires floats (%d, %d)", t.DType, t.Shape, w.Name, down, across)
	}
	if t.Source != nil { // the size of its data does not bound the allocation below
		return nil, defect.Corrupt(t.File, t.Name, "is not stored in row-major order; call contiguous() on it and save it again")
	}
	out := &scale{rows, cols, across, make([]float32, down*across)}
	m := &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: kind}, Rows: 1, Cols: down * across, Codes: t.Data}
	err := parallel.Guard(func() error {
		new(qtensor.Reader).Row(out.values, m, 0)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(t.File), err)
	}
	return out, nil
}
