package quantize

import (
	"context"
	"fmt"

	"thimble/internal/parallel"
)

func init() {
	register(method{name: MethodRTN, steps: []string{StepSearch}, quantize: roundToNearest})
}

// roundToNearest rounds every weight to the nearest code, on the scale of its
// group that a search found. It needs no texts.
func roundToNearest(ctx context.Context, dst, src *Matrix, in *input, without skips) error {
	searches := make([]*scaleSearch, parallel.Workers())
	return eachRow(ctx, src, func(worker, r int, x []float32) error {
		if searches[worker] == nil {
			searches[worker] = newScaleSearch(dst.Scheme, in.power)
			searches[worker].plain = without.has(StepSearch)
		}
		s := searches[worker]
		if err := s.row(x); err != nil {
			return fmt.Errorf("row %d, %w", r, err)
		}
		dst.SetRow(r, s.codes, s.scale, s.min)
		return nil
	})
}
