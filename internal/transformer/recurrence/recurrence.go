// Package recurrence has the arithmetic of layers that read the past from a state of fixed size
// instead of keys and values: the gated delta rule and state spaces.
//
// A state moves on by one position at a time, each head by itself. A text that is fed at once and
// one that is fed in parts therefore give the same bits, on any number of cores.
package recurrence

import (
	"context"

	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// A Layer says how a state moves on. Of each position it needs a row of inputs, of which a
// convolution reads the first channels at earlier positions, too.
type Layer interface {
	Inputs() int    // width of a row of inputs
	Channels() int  // of the convolution
	Heads() int     // which have equal parts of the state and of the outputs
	HeadState() int // numbers in the state of a head
	HeadWidth() int // of the outputs of a head

	// Convolve computes what the heads read of position t, (Channels), from inputs, (positions,
	// Inputs).
	Convolve(dst, inputs []float32, t int)
	// Update moves the state of head h on by one position. inputs is the row of the position,
	// convolved what Convolve made of it. Unless out is nil, Update sets it to the outputs.
	Update(state, convolved, inputs []float32, h int, out []float32)
}

// A State is that of a Layer after the first N positions.
type State struct {
	N int       // or unknown
	S []float32 // (Heads, HeadState)
}

// unknown is the N of a State that was moved on in part.
const unknown = -1

// An Advance moves a State on to the last of some positions.
type Advance struct {
	Layer  Layer
	State  *State
	Inputs []float32 // (positions from First on, Layer.Inputs())
	First  int

	Out    []float32 // receives the outputs of the last positions, (N, Stride)
	N      int
	Stride int

	convolved []float32 // (rows from from on, Channels)
	from, to  int       // rows of Inputs that Run adds
	headTask  func(worker, h int) error
}

// Start makes the state that of a Layer, and empties it for a text that begins.
func (a *Advance) Start(n int) {
	size := a.Layer.Heads() * a.Layer.HeadState()
	if len(a.State.S) != size {
		*a.State = State{S: make([]float32, size)}
	}
	if n == 0 {
		a.State.N = 0
		clear(a.State.S)
	}
}

// Run moves the state on. If ctx is done before, it returns an error and drops the state.
func (a *Advance) Run(ctx context.Context) error {
	from, to, channels := a.State.N-a.First, len(a.Inputs)/a.Layer.Inputs(), a.Layer.Channels()
	if a.from, a.to = from, to; a.headTask == nil { // bound once, so that single positions allocate nothing
		a.headTask = func(_, h int) error { a.head(h); return nil }
	}
	if size := (to - from) * channels; cap(a.convolved) < size {
		a.convolved = make([]float32, size)
	} else {
		a.convolved = a.convolved[:size]
	}
	if err := a.run(ctx, from, to); err != nil {
		a.State.N = unknown
		return err
	}
	a.State.N = a.First + to
	return nil
}

// run computes what the heads read of the rows [from, to), and moves all heads on.
func (a *Advance) run(ctx context.Context, from, to int) error {
	const (
		chunk = 16      // positions per task, so that short prompts stay on one core
		small = 1 << 15 // numbers of a state that one core moves on faster than several
	)
	single := to-from == 1
	if single {
		a.convolve(from)
	} else {
		err := parallel.Ranges(ctx, to-from, chunk, func(_, lo, hi int) error {
			for t := lo; t < hi; t++ {
				a.convolve(from + t)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if single && len(a.State.S) <= small {
		for h := range a.Layer.Heads() {
			a.head(h)
		}
		return nil
	}
	return parallel.Do(ctx, a.Layer.Heads(), a.headTask)
}

// convolve computes what the heads read of row t.
func (a *Advance) convolve(t int) {
	channels := a.Layer.Channels()
	a.Layer.Convolve(a.convolved[(t-a.from)*channels:][:channels], a.Inputs, t)
}

// head moves the state of head h on.
func (a *Advance) head(h int) {
	width, channels, outs, size := a.Layer.Inputs(), a.Layer.Channels(), a.Layer.HeadWidth(), a.Layer.HeadState()
	state := a.State.S[h*size:][:size]
	for t := a.from; t < a.to; t++ {
		var out []float32
		if r := t - (a.to - a.N); r >= 0 {
			out = a.Out[r*a.Stride+h*outs:][:outs]
		}
		a.Layer.Update(state, a.convolved[(t-a.from)*channels:][:channels], a.Inputs[t*width:][:width], h, out)
	}
}

// softplus returns log(1 + exp(x)). Like torch it returns x where that is larger than 20.
func softplus(x float64) float64 {
	if x > 20 {
		return x
	}
	return kernel.Log64(1 + kernel.Exp64(x))
}

// widened returns x in float64.
func widened(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// rates returns exp(x) of each number.
func rates(x []float32) []float64 {
	y := widened(x)
	for i, v := range y {
		y[i] = kernel.Exp64(v)
	}
	return y
}

// ones returns n ones: kernel.SiLUMul by them is SiLU.
func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}
