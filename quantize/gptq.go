package quantize

import (
	"context"
	"errors"
	"fmt"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// gptq rounds one column after another, each time moving the columns that are
// still to come so as to make up for the errors behind (GPTQ, arXiv
// 2210.17323), then refits the scales and improves single codes. The groups are
// those of the natural order and their scales are chosen before, so that any
// order of rounding can be stored. The target is corrected for what was
// quantized upstream, see correct.
type gptq struct{ without skips }

const (
	panelRows  = 48  // rows that a core rounds at a time
	sweepBlock = 128 // columns between two products over all columns behind
)

func (m gptq) comparesStreams() bool { return !m.without.has(StepCorrection) }

func (m gptq) Quantize(ctx context.Context, dst, src *qtensor.Matrix, in *Input) error {
	if in.moments == nil {
		return errors.New("gptq needs calibration")
	}
	w, err := rowsOf(ctx, src)
	if err != nil {
		return err
	}
	if in.moments.drift != nil {
		if err := correct(ctx, w, in); err != nil {
			return err
		}
	}
	return roundPanels(ctx, target{in, dst, w, m.without})
}

// A target is a matrix to be rounded, given what is known of its input.
type target struct {
	*Input
	dst *qtensor.Matrix
	w   []float32 // (dst.Rows, dst.Cols), what Q x~ is to come near

	without skips
}

// roundPanels fills t.dst, a few rows at a time on each core.
func roundPanels(ctx context.Context, t target) error {
	lanes := make([]*panel, parallel.Workers())
	return parallel.Do(ctx, (t.dst.Rows+panelRows-1)/panelRows, func(worker, i int) error {
		if lanes[worker] == nil {
			lanes[worker] = newPanel(t)
		}
		p := lanes[worker]
		if err := p.take(i * panelRows); err != nil {
			return err
		}
		p.sweep()
		if !p.without.has(StepRefit) {
			p.refit()
		}
		if !p.without.has(StepDescent) {
			p.descend()
		}
		p.store()
		return nil
	})
}

// A panel is a few rows on their way to codes.
type panel struct {
	target
	first, rows int
	search      *search
	grids       []*grid    // by row
	scale, min  [][]uint16 // by row
	codes       []float32  // (rows, stride), less zero
	e           []float32  // (rows, stride), target less value, in natural order
	g           []float32  // (rows, stride), e H

	ahead, errs []float32 // (rows, cols) of the sweep, in its order
	part        []float32 // (rows, stride), products
	bytes       []uint8   // (cols)
	fit         *leastSquares
}

func newPanel(t target) *panel {
	n := panelRows * t.stride
	p := &panel{
		target: t, search: newSearch(t.dst.Scheme, t.power),
		codes: make([]float32, n), e: make([]float32, n), g: make([]float32, n), part: make([]float32, n),
		ahead: make([]float32, n), errs: make([]float32, n), bytes: make([]uint8, t.dst.Cols),
	}
	p.search.plain = t.without.has(StepSearch)
	groups := t.dst.Scheme.Groups(t.dst.Cols)
	for range panelRows {
		p.grids = append(p.grids, newGrid(t.dst.Scheme, t.dst.Cols))
		p.scale, p.min = append(p.scale, make([]uint16, groups)), append(p.min, make([]uint16, groups))
	}
	p.fit = newLeastSquares(p)
	return p
}

// want is the target of row r of the panel.
func (p *panel) want(r int) []float32 {
	return p.w[(p.first+r)*p.dst.Cols:][:p.dst.Cols]
}

// take begins with rows from first on: their scales.
func (p *panel) take(first int) error {
	p.first, p.rows = first, min(panelRows, p.dst.Rows-first)
	for r := range p.rows {
		if err := p.search.row(p.want(r)); err != nil {
			return fmt.Errorf("row %d, %w", first+r, err)
		}
		copy(p.scale[r], p.search.scale)
		copy(p.min[r], p.search.min)
		p.grids[r].set(p.scale[r], p.min[r])
	}
	return nil
}

// sweep chooses the codes.
func (p *panel) sweep() {
	n, order, feedback := p.dst.Cols, p.factor.order, p.factor.m
	clear(p.errs)
	for from := 0; from < n; from += sweepBlock {
		to := min(n, from+sweepBlock)
		// What the columns behind have left to make up for.
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
	kernel.Gemm(p.g, p.stride, p.e, p.stride, p.h, p.stride, p.rows, p.dst.Cols, p.stride)
}

// store writes the codes to the matrix.
func (p *panel) store() {
	for r := range p.rows {
		for c := range p.bytes {
			p.bytes[c] = uint8(int(p.codes[r*p.stride+c] + p.grids[r].zero))
		}
		p.dst.SetRow(p.first+r, p.bytes, p.scale[r], p.min[r])
	}
}

// rowsOf returns the values of src, (src.Rows, src.Cols). One that is not finite
// is an error.
func rowsOf(ctx context.Context, src *qtensor.Matrix) ([]float32, error) {
	w := make([]float32, src.Rows*src.Cols)
	return w, eachRow(ctx, src, func(_, r int, x []float32) error {
		copy(w[r*src.Cols:], x)
		return nil
	})
}
