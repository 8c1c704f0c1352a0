package quantize

import (
	"context"
	"fmt"

	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// rtn rounds every weight to the nearest code and searches each group's scale,
// and minimum, for the least weighted squared error. It needs no data.
type rtn struct{}

func (rtn) Quantize(ctx context.Context, dst, src *qtensor.Matrix) error {
	searches := make([]search, parallel.Workers())
	return eachRow(ctx, src, func(worker, r int, x []float32) error {
		s := &searches[worker]
		s.prepare(dst.Scheme, dst.Cols)
		for g := range s.scale {
			lo, hi := dst.Scheme.Span(g, dst.Cols)
			if err := s.group(g, x[lo:hi], s.codes[lo:hi]); err != nil {
				return fmt.Errorf("row %d, columns %d to %d: %w", r, lo, hi-1, err)
			}
		}
		dst.SetRow(r, s.codes, s.scale, s.min)
		return nil
	})
}
