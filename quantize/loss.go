package quantize

import (
	"context"
	"fmt"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// surveyRows is the number of rows of a matrix that one sampled row represents when losses
// are predicted.
const surveyRows = 16

// expectedLoss predicts, for each scheme, the loss tr((W-Q) H (W-Q)^T) of src after gptq.
// In column j of (W-Q) M, gptq leaves the error of rounding some number to the grid of that
// column, which is about as large as the error of rounding the weight itself. The
// prediction is therefore
//
//	sum over rows and columns j of D_j (w_j - q_j)^2
//
// with q rounded to nearest on the same scales, for every surveyRows-th row. weight
// multiplies each row's loss; nil means 1 for all rows.
func expectedLoss(ctx context.Context, src *Matrix, in *input, schemes []Scheme, weight []float64) ([]float64, error) {
	cost := make([]float64, src.Cols) // D by column
	for j, column := range in.factor.order {
		cost[column] = in.factor.d[j]
	}
	losses := make([][]float64, (src.Rows+surveyRows-1)/surveyRows)
	err := parallel.Ranges(ctx, src.Rows, surveyRows, func(_, r, next int) error {
		total := float64(next - r) // weight of the rows that row r represents
		if weight != nil {
			total = 0
			for _, w := range weight[r:next] {
				total += w
			}
		}
		row := make([]float64, len(schemes))
		losses[r/surveyRows] = row
		if total == 0 {
			return nil
		}
		x := make([]float32, src.Cols)
		new(qtensor.Reader).Row(x, src, r)
		for k, s := range schemes {
			l, err := rowLoss(x, s, in.power, cost)
			if err != nil {
				return fmt.Errorf("row %d, %w", r, err)
			}
			row[k] = total * l
		}
		return nil
	})
	sums := make([]float64, len(schemes))
	for _, row := range losses {
		for k, v := range row {
			sums[k] += v
		}
	}
	return sums, err
}

// rowLoss returns the predicted loss of the row x in one scheme. cost is D by column.
func rowLoss(x []float32, scheme Scheme, power []float32, cost []float64) (float64, error) {
	s := newScaleSearch(scheme, power)
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

// loss returns tr((W-Q) H (W-Q)^T) for stored matrices w and q. H is the second
// moments h, (w.Cols, stride), its rows padded with zeros.
func loss(ctx context.Context, w, q *Matrix, h []float32, stride int) (float64, error) {
	losses := make([]float64, (w.Rows+panelRows-1)/panelRows)
	err := parallel.Ranges(ctx, w.Rows, panelRows, func(_, from, to int) error {
		n := to - from
		var reader qtensor.Reader
		e, g, y := make([]float32, n*stride), make([]float32, n*stride), make([]float32, w.Cols)
		for r := range n {
			row := e[r*stride:][:w.Cols]
			reader.Row(row, w, from+r)
			reader.Row(y, q, from+r)
			for c, v := range y {
				row[c] -= v
			}
		}
		kernel.Gemm(g, stride, e, stride, h, stride, n, w.Cols, stride)
		for r := range n {
			losses[from/panelRows] += float64(kernel.Dot(e[r*stride:][:w.Cols], g[r*stride:][:w.Cols]))
		}
		return nil
	})
	sum := 0.0
	for _, l := range losses {
		sum += l
	}
	return sum, err
}
