package rounding

import (
	"context"
	"fmt"

	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

func init() {
	Register(Method{Name: MethodRTN, Steps: []string{StepReorder, StepSearch}, Round: ToNearest})
}

// ToNearest rounds every weight to the nearest code. A search chooses the scale of each
// group; without StepSearch the group's largest value determines it. ToNearest is the
// method rtn, and ignores other steps in without.
func ToNearest(ctx context.Context, dst, src *qtensor.Matrix, in *Input, without Skips) error {
	if in.Rate > 0 {
		return toLattice(ctx, dst, src, in)
	}
	searches := make([]*scaleSearch, parallel.Workers())
	return EachRow(ctx, src, func(worker, r int, x []float32) error {
		if searches[worker] == nil {
			searches[worker] = newScaleSearch(dst.Scheme, in.Power, without.Has(StepSearch))
		}
		s := searches[worker]
		if err := s.row(x); err != nil {
			return fmt.Errorf("row %d, %w", r, err)
		}
		dst.SetRow(r, s.codes, s.scale, s.min)
		return nil
	})
}
