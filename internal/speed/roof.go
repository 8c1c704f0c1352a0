// Package speed measures what a machine can do at most, how much energy it takes, and how
// fast llama.cpp runs the same model on it.
package speed

import (
	"context"
	"runtime/debug"
	"time"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// A Roof holds what all cores of a machine reach together. Speeds are compared with it, as
// in the roofline model (Williams, Waterman and Patterson, 2009).
type Roof struct {
	Bandwidth float64 `json:"bytes_per_second"`              // reading memory in order
	Float     float64 `json:"flop_per_second"`               // of float32 products whose operands are in the caches
	Integer   float64 `json:"integer_operations_per_second"` // of int8 products whose operands are in the caches
}

const (
	streamed = 256 << 20 // bytes, more than any cache holds
	passes   = 8         // of which the fastest counts
)

// MeasureRoof measures the roof in about half a second.
func MeasureRoof(ctx context.Context) (r Roof, err error) {
	memory := make([]float32, streamed/4)
	for i := range memory {
		memory[i] = 1 // otherwise all pages are the same page of zeros
	}
	const part = 1 << 20 // floats
	read := func(_, i int) error {
		kernel.Sum(memory[i*part:][:part])
		return nil
	}
	if r.Bandwidth, err = fastest(ctx, len(memory)/part, streamed, read); err != nil {
		return r, err
	}
	memory = nil
	debug.FreeOSMemory() // so that it does not count as memory of the model

	const tasks = 64
	all := make([]operands, parallel.Workers())
	for i := range all {
		all[i].fill()
	}
	float := func(worker, _ int) error { all[worker].multiplyFloats(); return nil }
	if r.Float, err = fastest(ctx, tasks, tasks*repeats*floatWork, float); err != nil {
		return r, err
	}
	// A model uses whichever of the two kernels is faster.
	for _, multiply := range []func(o *operands){(*operands).multiplyPanel, (*operands).multiplyStored} {
		rate, err := fastest(ctx, tasks, tasks*repeats*integerWork, func(worker, _ int) error { multiply(&all[worker]); return nil })
		if err != nil {
			return r, err
		}
		r.Integer = max(r.Integer, rate)
	}
	return r, nil
}

// fastest runs n tasks, which do the given amount of work together, several times, and
// returns the most work per second.
func fastest(ctx context.Context, n int, amount float64, task func(worker, i int) error) (rate float64, err error) {
	for range passes + 1 { // the first warms up
		start := time.Now()
		if err := parallel.Do(ctx, n, task); err != nil {
			return 0, err
		}
		rate = max(rate, amount/time.Since(start).Seconds())
	}
	return rate, nil
}

// The shapes of the products, in the units of the kernels: a panel of weights by some
// positions. Rows of 2 kB, a power of two, would share the same few lines of a cache.
const (
	columns, rows, positions = 576, 48, 128
	group                    = 32
	bits                     = 4 // of the stored codes
	repeats                  = 4
	floatWork                = 2 * columns * rows * positions
	integerWork              = 2 * columns * kernel.PanelRows * positions
)

// operands are the operands and results of one core.
type operands struct {
	x, w, y []float32
	panel   kernel.IntegerPanel
	inputs  kernel.PanelInputs
	stored  kernel.StoredRows
	rounded kernel.StoredInputs
}

func (o *operands) fill() {
	const segments = columns / group
	lanes := kernel.StoredLanes()
	o.x, o.w, o.y = make([]float32, positions*columns), make([]float32, rows*columns), make([]float32, positions*rows)
	o.panel = kernel.IntegerPanel{Codes: make([]int16, columns*kernel.PanelRows), Scales: make([]float32, segments*kernel.PanelRows)}
	o.inputs = kernel.PanelInputs{
		Codes: make([]int16, positions*columns), Sums: make([]int32, positions*segments),
		Scales: make([]float32, positions*segments), Mins: make([]float32, positions*segments),
	}
	o.stored = kernel.StoredRows{
		Bits: bits, Stride: columns * bits / 8, Codes: make([]byte, lanes*columns*bits/8), Scales: make([]float32, segments*lanes),
	}
	for range segments {
		o.inputs.Columns = append(o.inputs.Columns, group)
	}
	o.rounded.Reset(positions, o.inputs.Columns, kernel.StoredOrder(bits))
	for t := range positions {
		for k := range segments {
			o.rounded.Round(t, k, k*group, o.x[t*columns+k*group:][:group], 1, 1)
		}
	}
}

func (o *operands) multiplyFloats() {
	for range repeats {
		kernel.Gemm(o.y, rows, o.x, columns, o.w, columns, positions, rows, columns)
	}
}

func (o *operands) multiplyPanel() {
	for range repeats {
		kernel.MulPanel(o.y, rows, &o.panel, &o.inputs, 0, positions)
	}
}

func (o *operands) multiplyStored() {
	lanes := kernel.StoredLanes()
	for range repeats {
		for r := 0; r < kernel.PanelRows; r += lanes {
			kernel.MulStored(o.y[r:], rows, &o.stored, &o.rounded, 0, positions, lanes)
		}
	}
}
