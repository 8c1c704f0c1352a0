package quantize

import (
	"context"
	"fmt"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// surveyRows is how many rows of a matrix one row speaks for when losses are
// predicted.
const surveyRows = 16

// expectedLoss predicts, for each scheme, what gptq makes of the loss
// tr((W-Q) H (W-Q)^T) of src. It leaves in column j of (W-Q) M the error of
// rounding some number to the grid of that column, which is about as large as that
// of rounding the weight itself, so
//
//	sum over rows and columns j of D_j (w_j - q_j)^2
//
// where q is rounded to nearest on the same scales, for every surveyRows-th row.
// weight multiplies each row's part, nil is 1 for all.
func expectedLoss(ctx context.Context, src *qtensor.Matrix, in *Input, schemes []qtensor.Scheme, weight []float64) ([]float64, error) {
	cost := make([]float64, src.Cols) // D by column
	for j, column := range in.factor.order {
		cost[column] = in.factor.d[j]
	}
	tasks := (src.Rows + surveyRows - 1) / surveyRows
	parts := make([][]float64, tasks)
	err := parallel.Do(ctx, tasks, func(_, i int) error {
		r := i * surveyRows
		share := float64(min(surveyRows, src.Rows-r))
		if weight != nil {
			share = 0
			for _, w := range weight[r:min(src.Rows, r+surveyRows)] {
				share += w
			}
		}
		parts[i] = make([]float64, len(schemes))
		if share == 0 {
			return nil
		}
		x := make([]float32, src.Cols)
		new(qtensor.Reader).Row(x, src, r)
		for k, s := range schemes {
			l, err := rowLoss(x, s, in.power, cost)
			if err != nil {
				return fmt.Errorf("row %d, %w", r, err)
			}
			parts[i][k] = share * l
		}
		return nil
	})
	sums := make([]float64, len(schemes))
	for _, p := range parts {
		for k, v := range p {
			sums[k] += v
		}
	}
	return sums, err
}

// rowLoss is one row's part.
func rowLoss(x []float32, scheme qtensor.Scheme, power []float32, cost []float64) (float64, error) {
	s := newSearch(scheme, power)
	if err := s.row(x); err != nil {
		return 0, err
	}
	g := newGrid(scheme, len(x))
	g.set(s.scale, s.min)
	sum := 0.0
	for i, c := range s.codes {
		k := g.group(i)
		e := float64(x[i]) - float64(float32(g.scale[k]*(float32(c)-g.zero))+g.min[k])
		sum += float64(cost[i] * float64(e*e))
	}
	return sum, nil
}

// loss returns tr((W-Q) H (W-Q)^T) for stored matrices w and q, H the second
// moments h of stride floats, rows padded with zeros.
func loss(ctx context.Context, w, q *qtensor.Matrix, h []float32, stride int) (float64, error) {
	tasks := (w.Rows + panelRows - 1) / panelRows
	parts := make([]float64, tasks)
	err := parallel.Do(ctx, tasks, func(_, i int) error {
		first := i * panelRows
		n := min(panelRows, w.Rows-first)
		var reader qtensor.Reader
		e, g, y := make([]float32, n*stride), make([]float32, n*stride), make([]float32, w.Cols)
		for r := range n {
			row := e[r*stride:][:w.Cols]
			reader.Row(row, w, first+r)
			reader.Row(y, q, first+r)
			for c, v := range y {
				row[c] -= v
			}
		}
		kernel.Gemm(g, stride, e, stride, h, stride, n, w.Cols, stride)
		for r := range n {
			parts[i] += float64(kernel.Dot(e[r*stride:][:w.Cols], g[r*stride:][:w.Cols]))
		}
		return nil
	})
	sum := 0.0
	for _, p := range parts {
		sum += p
	}
	return sum, err
}
