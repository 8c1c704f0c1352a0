package rounding

import (
	"context"
	"errors"
	"fmt"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

func init() {
	Register(Method{
		Name:            MethodGPTQ,
		Steps:           []string{StepReorder, StepRotation, StepSearch, StepCorrection, StepRefit, StepDescent},
		NeedsTexts:      true,
		Rotates:         true,
		ComparesStreams: func(without Skips) bool { return !without.Has(StepCorrection) },
		Round:           gptq,
	})
}

// PanelRows is the number of rows that a core rounds together. The result of a row depends on
// the others in its panel.
const PanelRows = 48

const sweepBlock = 128 // columns between products with the errors of all earlier columns

// gptq rounds one column after another, each time adjusting the remaining columns to
// compensate for the errors so far (GPTQ, arXiv 2210.17323), then refits the scales and
// improves single codes. Groups consist of adjacent columns and get their scales before the
// first column is rounded, so columns may be rounded in any order. Before all this, gptq
// corrects the weights for quantization upstream, see correct.
func gptq(ctx context.Context, dst, src *qtensor.Matrix, in *Input, without Skips) error {
	if in.Moments == nil {
		return errors.New("gptq needs calibration")
	}
	w, err := rowsOf(ctx, src)
	if err != nil {
		return err
	}
	if in.Moments.Drift != nil {
		if err := correct(ctx, w, in); err != nil {
			return err
		}
	}
	t := target{in, dst, w, without, 0}
	if in.Rate > 0 {
		if t.step, err = in.step(ctx, floats(w, dst.Rows, dst.Cols)); err != nil {
			return err
		}
	}
	return roundPanels(ctx, t)
}

// A target is a matrix to be rounded, with its input.
type target struct {
	*Input
	dst *qtensor.Matrix
	w   []float32 // (dst.Rows, dst.Cols), such that w x~ is what the layer should give

	without Skips
	step    float64 // of a lattice, or 0
}

// floats returns w, (rows, cols), as a matrix.
func floats(w []float32, rows, cols int) *qtensor.Matrix {
	return &qtensor.Matrix{Scheme: qtensor.Scheme{Kind: qtensor.F32}, Rows: rows, Cols: cols, Source: floatRows{w, cols}}
}

// floatRows are the rows of a matrix in memory.
type floatRows struct {
	w    []float32
	cols int
}

func (f floatRows) Row(dst []byte, r int) { putFloats(dst, f.w[r*f.cols:][:f.cols]) }

func (f floatRows) Release() {}

// roundPanels fills t.dst, a few rows at a time on each core.
func roundPanels(ctx context.Context, t target) error {
	panels := make([]*panel, parallel.Workers())
	return parallel.Ranges(ctx, t.dst.Rows, PanelRows, func(worker, from, _ int) error {
		if panels[worker] == nil {
			panels[worker] = newPanel(t)
		}
		p := panels[worker]
		if err := p.begin(from); err != nil {
			return err
		}
		p.sweep()
		if p.fit != nil {
			p.refit()
		}
		if !p.without.Has(StepDescent) {
			p.descend()
		}
		p.store()
		return nil
	})
}

// A panel is a group of rows that are rounded together.
type panel struct {
	target
	first, rows int
	stride      int // of the buffers below: that of the input
	search      *scaleSearch
	grids       []*grid    // by row
	scale, min  [][]uint16 // by row
	codes       []float32  // (rows, stride), minus zero
	e           []float32  // (rows, stride), target minus value, in natural order
	g           []float32  // (rows, stride), e H

	ahead, errs []float32     // (rows, cols) of the sweep, in its order
	product     []float32     // (rows, stride), scratch for products
	bytes       []uint8       // (cols)
	fit         *leastSquares // nil without a refit
	factors     []float32     // (rows) of short scales
	choice      *levelChoice  // nil if levels stay as the search has chosen them
}

func newPanel(t target) *panel {
	n := PanelRows * t.Stride
	p := &panel{
		target: t, stride: t.Stride, search: newScaleSearch(t.dst.Scheme, t.Power, t.without.Has(StepSearch)),
		codes: make([]float32, n), e: make([]float32, n), g: make([]float32, n), product: make([]float32, n),
		ahead: make([]float32, n), errs: make([]float32, n), bytes: make([]uint8, t.dst.Cols),
	}
	groups := t.dst.Scheme.Groups(t.dst.Cols)
	for range PanelRows {
		p.grids = append(p.grids, newGrid(t.dst.Scheme, t.dst.Cols))
		p.scale, p.min = append(p.scale, make([]uint16, groups)), append(p.min, make([]uint16, groups))
	}
	switch s := t.dst.Scheme; {
	case t.step > 0 || t.without.Has(StepRefit):
	case s.Short: // levels are too far apart to refit, descend moves them
		p.factors, p.choice = make([]float32, PanelRows), newLevelChoice(s.Group)
	default:
		p.fit = newLeastSquares(p)
	}
	return p
}

// want returns the target of row r of the panel.
func (p *panel) want(r int) []float32 {
	return p.w[(p.first+r)*p.dst.Cols:][:p.dst.Cols]
}

// begin sets p to the panel of the rows from first on and chooses their scales.
func (p *panel) begin(first int) error {
	p.first, p.rows = first, min(PanelRows, p.dst.Rows-first)
	for r := range p.rows {
		if p.step > 0 {
			scale, err := latticeScale(p.want(r), float64(p.step*p.unit(first+r)), p.dst.Scheme)
			if err != nil {
				return fmt.Errorf("row %d: %w", first+r, err)
			}
			p.scale[r][0] = scale
			p.grids[r].set(p.scale[r], nil)
			continue
		}
		if err := p.search.row(p.want(r)); err != nil {
			return fmt.Errorf("row %d, %w", first+r, err)
		}
		copy(p.scale[r], p.search.scale)
		copy(p.min[r], p.search.min)
		if p.choice != nil {
			p.factors[r] = p.search.short.factor
		}
		p.grids[r].set(p.scale[r], p.min[r])
	}
	return nil
}

// sweep chooses the codes, column by column.
func (p *panel) sweep() {
	n, order, feedback := p.dst.Cols, p.Factor.Order, p.Factor.M
	clear(p.errs)
	for from := 0; from < n; from += sweepBlock {
		to := min(n, from+sweepBlock)
		// The feedback of the errors in the columns before from.
		kernel.Gemm(p.ahead, p.stride, p.errs, p.stride, feedback[from*n:], n, p.rows, to-from, from)
		for r := range p.rows {
			errs, ahead, grid, want := p.errs[r*p.stride:], p.ahead[r*p.stride:], p.grids[r], p.want(r)
			for j := from; j < to; j++ {
				column := order[j]
				k := min(kernel.Padded(j), n) // feedback is zero from j on
				aim := want[column] + (ahead[j-from] + kernel.Dot(errs[from:k], feedback[j*n+from:j*n+k]))
				c, value := grid.nearest(grid.group(column), aim)
				errs[j] = want[column] - value
				p.codes[r*p.stride+column] = c
				p.e[r*p.stride+column] = errs[j]
			}
		}
	}
}

// multiply computes g = e H.
func (p *panel) multiply() {
	kernel.Gemm(p.g, p.stride, p.e, p.stride, p.H, p.stride, p.rows, p.dst.Cols, p.stride)
}

// store writes the panel's codes and scales to the matrix.
func (p *panel) store() {
	for r := range p.rows {
		for c := range p.bytes {
			p.bytes[c] = uint8(int(p.codes[r*p.stride+c] + p.grids[r].zero))
		}
		p.dst.SetRow(p.first+r, p.bytes, p.scale[r], p.min[r])
	}
}
