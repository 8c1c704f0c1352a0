package rounding

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync"

	"thimble/internal/ans"
	"thimble/internal/kernel"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// A matrix that will be entropy coded is rounded to multiples of one step, which no code limits:
// at equal entropy no scale per group is better (high-rate theory: Gish and Pierce 1968). Its
// rate chooses the step. Only a row with weights that 8 bits could not reach gets a wider one.

// A rateCurve relates steps to the entropy of a matrix, rounded to nearest, and to what that
// costs. It measures some rows for steps that are half an octave apart, when they are asked for.
type rateCurve struct {
	points []curvePoint // the widest step first; empty for a matrix of zeros

	x                             []float32 // (len(picked), cols), the rows, divided by their unit
	cols                          int
	picked, rowClass, columnClass []int
	represents, cost              []float64 // of each row, of each column
	most                          []float64 // the largest magnitude of each row
	scales                        float64   // bits per weight that they take
}

// A curvePoint is the entropy of a matrix for one step, in bits per weight, and its loss: the sum
// of cost times squared error.
type curvePoint struct {
	step, bits, loss float64
	known            bool
}

const (
	curveRows     = 96   // that are measured
	codedOverhead = 0.02 // bits per weight that the code takes beyond the entropy
	curvePoints   = 26   // from 16 deviations down to 1/512, more than 8 bits
	halfOctave    = 0.7071067811865476
)

// represented returns how much loss each picked row stands for: that of the rows around it.
func represented(picked []int, rows, stride int, unit []float32, weight []float64) []float64 {
	represents := make([]float64, len(picked))
	for i := range picked {
		from, to := i*stride, min(rows, (i+1)*stride)
		represents[i] = float64(to - from)
		if weight != nil {
			represents[i] = 0
			for _, w := range weight[from:to] {
				represents[i] += w
			}
		}
		if unit != nil {
			u := float64(unit[picked[i]])
			represents[i] *= float64(u * u)
		}
	}
	return represents
}

// newRateCurve samples rows of src. Each is divided by its element of unit, and its loss is
// multiplied by that of weight; nil means 1 for all rows. cost is by column.
func newRateCurve(ctx context.Context, src *qtensor.Matrix, unit []float32, weight, cost []float64) (*rateCurve, error) {
	rows, cols := src.Rows, src.Cols
	var picked []int
	perRow, perColumn := make([]float64, rows), make([][]float64, (rows+rowsPerTask-1)/rowsPerTask)
	stride := (rows + curveRows - 1) / curveRows
	for r := stride / 2; r < rows; r += stride {
		picked = append(picked, r)
	}
	x := make([]float32, len(picked)*cols)
	err := EachRow(ctx, src, func(_, r int, row []float32) error {
		scale := float32(1)
		if unit != nil {
			scale = 1 / unit[r]
		}
		// Several rows share a task, and run in order.
		sums := perColumn[r/rowsPerTask]
		if sums == nil {
			sums = make([]float64, cols)
			perColumn[r/rowsPerTask] = sums
		}
		for i, v := range row {
			v *= scale
			square := float64(float64(v) * float64(v))
			perRow[r] += square
			sums[i] += square
			if at := r - stride/2; at >= 0 && at%stride == 0 {
				x[at/stride*cols+i] = v
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	columns, all := make([]float64, cols), 0.0
	for _, sums := range perColumn {
		for i, v := range sums {
			columns[i] += v
		}
	}
	for _, v := range columns {
		all += v
	}
	c := &rateCurve{x: x, cols: cols, picked: picked, cost: cost, scales: ScaleBits(unit) / float64(cols)}
	if all == 0 {
		return c, nil
	}
	deviation := math.Sqrt(all / float64(rows) / float64(cols))
	c.rowClass, c.columnClass = classes(perRow), classes(columns)
	c.represents = represented(picked, rows, stride, unit, weight)
	for i := range picked {
		c.most = append(c.most, magnitude(x[i*cols:][:cols]))
	}
	step := float64(deviation * 16)
	for range curvePoints {
		c.points = append(c.points, curvePoint{step: step})
		step *= halfOctave
	}
	return c, nil
}

// measure completes point k.
func (c *rateCurve) measure(k int) *curvePoint {
	p := &c.points[k]
	if !p.known {
		p.bits, p.loss = c.round(p.step)
		p.known = true
	}
	return p
}

// classes returns the class of each sum of squares, as package ans chooses them, without the
// rounding of its elements.
func classes(sums []float64) []int {
	positive := make([]float64, len(sums))
	for i, s := range sums {
		positive[i] = max(s, 1e-30)
	}
	return ans.Classes(positive)
}

// round rounds the rows to multiples of step. It returns their entropy, given the sum of the
// classes of row and column, in bits per weight, and their loss.
func (c *rateCurve) round(step float64) (bits, loss float64) {
	var counts []*[256]uint32 // by class
	for i, r := range c.picked {
		step := max(step, c.most[i]/widest) // as latticeScale
		inverse := float32(1 / step)
		sum := 0.0
		for j, v := range c.x[i*c.cols:][:c.cols] {
			q := code(v, inverse, -127, 127)
			e := float64(v) - float64(float64(q)*step)
			sum += float64(c.cost[j] * float64(e*e))
			class := c.rowClass[r] + c.columnClass[j]
			for class >= len(counts) {
				counts = append(counts, nil)
			}
			if counts[class] == nil {
				counts[class] = new([256]uint32)
			}
			counts[class][int(q)+128]++
		}
		loss += float64(c.represents[i] * sum)
	}
	for _, count := range counts {
		if count == nil {
			continue
		}
		n := uint32(0)
		for _, k := range count {
			bits -= nLogN(k)
			n += k
		}
		bits += nLogN(n)
	}
	return bits/float64(len(c.x)) + c.scales + codedOverhead, loss
}

// ScaleBits returns about the bits that a scale in proportion to an element of unit takes: its
// two bytes are coded apart, which takes half as much again as their entropy.
func ScaleBits(unit []float32) float64 {
	bits := nLogN(uint32(len(unit)))
	for rest := slices.Sorted(slices.Values(unit)); len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n] == rest[0] {
			n++
		}
		bits -= nLogN(uint32(n))
		rest = rest[n:]
	}
	return 1.5 * bits / float64(max(len(unit), 1))
}

// nLogN returns n log2 n.
func nLogN(n uint32) float64 {
	if n < smallLogs {
		return logsOfSmall()[n]
	}
	return float64(float64(n) * float64(log2E*kernel.Log64(float64(n))))
}

const (
	smallLogs = 1 << 12
	log2E     = 1.4426950408889634
)

var logsOfSmall = sync.OnceValue(func() *[smallLogs]float64 {
	var logs [smallLogs]float64
	for n := 2; n < smallLogs; n++ {
		logs[n] = float64(float64(n) * float64(log2E*kernel.Log64(float64(n))))
	}
	return &logs
})

// at returns the step for a rate, and the loss there. Both are 0 for a matrix of zeros.
func (c *rateCurve) at(rate float64) (step, loss float64) {
	if len(c.points) == 0 {
		return 0, 0
	}
	k := 1 + sort.Search(len(c.points)-2, func(i int) bool { return c.measure(i+1).bits >= rate })
	a, b := c.measure(k-1), c.measure(k)
	t := 0.0
	if d := b.bits - a.bits; d > 0 {
		t = min(max((rate-a.bits)/d, 0), 1)
	}
	between := func(x, y float64) float64 {
		if !(x > 0 && y > 0) {
			return y
		}
		return float64(x * kernel.Exp64(float64(t*kernel.Log64(y/x))))
	}
	return between(a.step, b.step), between(a.loss, b.loss)
}

// costs returns D by column, or ones for an input without calibration.
func (in *Input) costs(cols int) []float64 {
	cost := make([]float64, cols)
	for i := range cost {
		cost[i] = 1
	}
	if in.Factor != nil {
		for j, column := range in.Factor.Order {
			cost[column] = in.Factor.D[j]
		}
	}
	return cost
}

// MeanCost returns the mean of D over the columns: what an error of 1 in a weight costs.
func (in *Input) MeanCost() float64 {
	sum := 0.0
	for _, d := range in.Factor.D {
		sum += d
	}
	return sum / float64(len(in.Factor.D))
}

// step returns the step for rounding src, in float32, at in's rate.
func (in *Input) step(ctx context.Context, src *qtensor.Matrix) (float64, error) {
	if in.Step > 0 {
		return in.Step, nil
	}
	c, err := newRateCurve(ctx, src, in.Unit, nil, in.costs(src.Cols))
	if err != nil {
		return 0, err
	}
	step, _ := c.at(in.Rate)
	return step, nil
}

// widest is the largest code of a row that gets a wider step, which leaves room for feedback.
const widest = 124

// magnitude returns the largest magnitude in x.
func magnitude(x []float32) float64 { return math.Abs(float64(x[qtensor.LargestMagnitude(x)])) }

// latticeScale returns the float16 bits of the scale of the row x: step, or more if x has
// weights that codes of the scheme could not reach.
func latticeScale(x []float32, step float64, s qtensor.Scheme) (uint16, error) {
	reach := float64(s.Zero()-1) * widest / 127
	scale := max(step, magnitude(x)/reach)
	bits, ok := qtensor.ToFloat16(float32(scale))
	if !ok {
		return 0, fmt.Errorf("the step %g does not fit float16", scale)
	}
	return bits, nil
}

// toLattice rounds src to nearest at in's rate.
func toLattice(ctx context.Context, dst, src *qtensor.Matrix, in *Input) error {
	step, err := in.step(ctx, src)
	if err != nil {
		return err
	}
	type lane struct {
		grid  *grid
		codes []uint8
	}
	lanes := make([]lane, parallel.Workers())
	return EachRow(ctx, src, func(worker, r int, x []float32) error {
		l := &lanes[worker]
		if l.grid == nil {
			l.grid, l.codes = newGrid(dst.Scheme, dst.Cols), make([]uint8, dst.Cols)
		}
		scale, err := latticeScale(x, float64(step*in.unit(r)), dst.Scheme)
		if err != nil {
			return fmt.Errorf("row %d: %w", r, err)
		}
		l.grid.set([]uint16{scale}, nil)
		for i, v := range x {
			c, _ := l.grid.nearest(0, v)
			l.codes[i] = uint8(int(c + l.grid.zero))
		}
		dst.SetRow(r, l.codes, []uint16{scale}, nil)
		return nil
	})
}

// RateLoss predicts the loss of src in schemes with a rate, as ExpectedLoss does. unit and
// weight are those of rateCurve; nil means 1.
func (in *Input) RateLoss(ctx context.Context, src *qtensor.Matrix, schemes []qtensor.Scheme, unit []float32, weight []float64) ([]float64, error) {
	c, err := newRateCurve(ctx, src, unit, weight, in.costs(src.Cols))
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(schemes))
	for i, s := range schemes {
		_, out[i] = c.at(s.BitsRate())
	}
	return out, nil
}

// RateStep returns the step for a rate of src, whose rows are divided by unit.
func RateStep(ctx context.Context, src *qtensor.Matrix, unit []float32, rate float64) (float64, error) {
	c, err := newRateCurve(ctx, src, unit, nil, Even(src.Cols).costs(src.Cols))
	if err != nil {
		return 0, err
	}
	step, _ := c.at(rate)
	return step, nil
}
