package rounding

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// correct changes w, (rows, width), so that its product with the quantized model's input
// x~ is as close as possible to the product of the original w with the float model's input
// x:
//
//	W + W E[(x - x~) x~^T] (H + lambda I)^-1
//
// which minimizes the sum over positions of |W x - W' x~|^2, damped (QEP, arXiv
// 2504.09629; the target of Qronos, arXiv 2505.11695).
func correct(ctx context.Context, w []float32, in *Input) error {
	m, d := in.Moments, in.Moments.Width
	rows, stride := len(w)/d, kernel.Padded(d)
	drift := make([]float32, d*stride) // transposed
	for i := range d {
		for j := range d {
			drift[j*stride+i] = float32(m.Drift[i*d+j])
		}
	}
	change := make([]float32, rows*d)
	err := parallel.Ranges(ctx, rows, PanelRows, func(_, from, to int) error {
		padded := make([]float32, (to-from)*stride)
		for r := from; r < to; r++ {
			copy(padded[(r-from)*stride:], w[r*d:][:d])
		}
		kernel.Gemm(change[from*d:], d, padded, stride, drift, stride, to-from, d, stride)
		return nil
	})
	if err != nil {
		return err
	}
	if err := in.Factor.Solve(ctx, change, rows); err != nil {
		return err
	}
	for i, v := range change {
		w[i] += v
	}
	return nil
}
