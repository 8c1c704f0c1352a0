package quantize

import (
	"context"

	"thimble/internal/qtensor"
)

// uncorrected is gptq whose target is the weights themselves.
type uncorrected struct{}

func (uncorrected) Quantize(ctx context.Context, dst, src *qtensor.Matrix, in *Input) error {
	alone, m := *in, *in.moments
	m.c = nil
	alone.moments = &m
	return gptq{}.Quantize(ctx, dst, src, &alone)
}

// Uncorrected makes p leave out the correction for what was quantized upstream.
func (p *Plan) Uncorrected() { p.method = uncorrected{} }
