package rounding

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

// ExpectedLoss predicts, for each scheme, the loss tr((W-Q) H (W-Q)^T) of src after gptq.
// In column j of (W-Q) M, gptq leaves the error of rounding some number to the grid of that
// column, which is about as large as the error of rounding the weight itself. The
// prediction is therefore
//
//	sum over rows and columns j of D_j (w_j - q_j)^2
//
// with q rounded to nearest on the same scales, for every surveyRows-th row. weight
// multiplies each row's loss; nil means 1 for all rows. Loss, OutputPower and ExpectedLoss
// need calibrated moments.
func (in *Input) ExpectedLoss(ctx context.Context, src *qtensor.Matrix, schemes []qtensor.Scheme, weight []float64) ([]float64, error) {
	cost := make([]float64, src.Cols) // D by column
	for j, column := range in.Factor.Order {
		cost[column] = in.Factor.D[j]
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
		src.ReleaseBehind(r, surveyRows)
		x := make([]float32, src.Cols)
		new(qtensor.Reader).Row(x, src, r)
		for k, s := range schemes {
			l, err := rowLoss(x, s, in.Power, cost)
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
func rowLoss(x []float32, scheme qtensor.Scheme, power []float32, cost []float64) (float64, error) {
	s := newScaleSearch(scheme, power, false)
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

// Loss returns tr((W-Q) (H + lambda I) (W-Q)^T) for stored matrices w and q, and the same with
// the part of each row multiplied by its weight; nil means 1 for all rows.
func (in *Input) Loss(ctx context.Context, w, q *qtensor.Matrix, weight []float64) (plain, weighted float64, err error) {
	stride := in.Stride
	type losses struct{ plain, weighted float64 }
	parts := make([]losses, (w.Rows+PanelRows-1)/PanelRows)
	err = parallel.Ranges(ctx, w.Rows, PanelRows, func(_, from, to int) error {
		part := &parts[from/PanelRows]
		w.ReleaseBehind(from, PanelRows)
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
		kernel.Gemm(g, stride, e, stride, in.H, stride, n, w.Cols, stride)
		for r := range n {
			l := float64(kernel.Dot(e[r*stride:][:w.Cols], g[r*stride:][:w.Cols]))
			part.plain += l
			if weight != nil {
				l *= weight[from+r]
			}
			part.weighted += l
		}
		return nil
	})
	for _, part := range parts {
		plain += part.plain
		weighted += part.weighted
	}
	return plain, weighted, err
}

// OutputPower estimates the power of src's output as if the columns of its input
// were independent: sum of w^2 H_jj.
func (in *Input) OutputPower(ctx context.Context, src *qtensor.Matrix) (float64, error) {
	rows := make([]float64, src.Rows)
	err := EachRow(ctx, src, func(_, r int, x []float32) error {
		for c, v := range x {
			rows[r] += float64(float64(v*v) * float64(in.H[c*in.Stride+c]))
		}
		return nil
	})
	sum := 0.0
	for _, v := range rows {
		sum += v
	}
	return sum, err
}

// Optimism returns the ratio of the true loss to the one that ExpectedLoss predicts from
// the second moments of n positions. Like a regression on d columns, error feedback is
// fitted to these positions, so the predicted loss is too small by a fraction of d/n.
// Rounding is fitted to its own positions, so on others its loss is larger by a fraction
// of d/tokens.
func (m *Moments) Optimism(tokens float64) float64 {
	d := float64(m.Width)
	return (1 + d/tokens) / max(1-d/m.EffectivePositions(), 0.25)
}
