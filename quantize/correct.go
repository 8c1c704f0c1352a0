package quantize

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// correct moves w, (rows, width), to where its product with the quantized
// model's input is closest to its product with the float model's:
//
//	W + W E[(x - x~) x~^T] (H + lambda I)^-1
//
// which minimizes the sum over positions of |W x - W' x~|^2, damped (QEP, arXiv
// 2504.09629; the target of Qronos, arXiv 2505.11695).
func correct(ctx context.Context, w []float32, in *Input) error {
	m, d := in.moments, in.moments.width
	rows, stride := len(w)/d, kernel.Padded(d)
	drift := make([]float32, d*stride) // transposed
	for i := range d {
		for j := range d {
			drift[j*stride+i] = float32(m.drift[i*d+j])
		}
	}
	moved := make([]float32, rows*d)
	err := parallel.Do(ctx, (rows+panelRows-1)/panelRows, func(_, p int) error {
		first := p * panelRows
		n := min(panelRows, rows-first)
		in := make([]float32, n*stride)
		for r := range n {
			copy(in[r*stride:], w[(first+r)*d:][:d])
		}
		kernel.Gemm(moved[first*d:], d, in, stride, drift, stride, n, d, stride)
		return nil
	})
	if err != nil {
		return err
	}
	if err := in.factor.solve(ctx, moved, rows); err != nil {
		return err
	}
	for i, v := range moved {
		w[i] += v
	}
	return nil
}
