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
	operands := make([]operands, parallel.Workers())
	for i := range operands {
		operands[i].fill()
	}
	float := func(worker, _ int) error { operands[worker].multiplyFloats(); return nil }
	if r.Float, err = fastest(ctx, tasks, tasks*repeats*floatWork, float); err != nil {
		return r, err
	}
	integer := func(worker, _ int) error { operands[worker].multiplyIntegers(); return nil }
	r.Integer, err = fastest(ctx, tasks, tasks*repeats*integerWork, integer)
	return r, err
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
	repeats                  = 4
	floatWork                = 2 * columns * rows * positions
	integerWork              = 2 * columns * kernel.PanelRows * positions
)

// operands are the operands and results of one core.
type operands struct {
	x, w, y []float32
	panel   kernel.IntegerPanel
	inputs  kernel.PanelInputs
}

func (o *operands) fill() {
	const segments = columns / group
	o.x, o.w, o.y = make([]float32, positions*columns), make([]float32, rows*columns), make([]float32, positions*rows)
	o.panel = kernel.IntegerPanel{Codes: make([]int16, columns*kernel.PanelRows), Scales: make([]float32, segments*kernel.PanelRows)}
	o.inputs = kernel.PanelInputs{
		Codes: make([]int16, positions*columns), Sums: make([]int32, positions*segments),
		Scales: make([]float32, positions*segments), Mins: make([]float32, positions*segments),
	}
	for range segments {
		o.inputs.Columns = append(o.inputs.Columns, group)
	}
}

func (o *operands) multiplyFloats() {
	for range repeats {
		kernel.Gemm(o.y, rows, o.x, columns, o.w, columns, positions, rows, columns)
	}
}

func (o *operands) multiplyIntegers() {
	for range repeats {
		kernel.MulPanel(o.y, rows, &o.panel, &o.inputs, 0, positions)
	}
}
