package quantize

import (
	"context"
	"fmt"

	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// rtn rounds every weight to the nearest code of a searched scale. It needs no
// data.
type rtn struct{ without skips }

func (rtn) comparesStreams() bool { return false }

func (m rtn) Quantize(ctx context.Context, dst, src *qtensor.Matrix, in *Input) error {
	searches := make([]*search, parallel.Workers())
	return eachRow(ctx, src, func(worker, r int, x []float32) error {
		if searches[worker] == nil {
			searches[worker] = newSearch(dst.Scheme, in.power)
			searches[worker].plain = m.without.has(StepSearch)
		}
		s := searches[worker]
		if err := s.row(x); err != nil {
			return fmt.Errorf("row %d, %w", r, err)
		}
		dst.SetRow(r, s.codes, s.scale, s.min)
		return nil
	})
}
