package verify

import (
	"context"
	"fmt"
	"math"

	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A Layer is what one operation of one step makes of a model's activations. The
// errors are relative to the root mean square of the reference's.
type Layer struct {
	Step      int    `json:"step"`            // -1 for the embedding; the number of steps for the final norm and the head
	Block     int    `json:"block"`           // that the step runs; -1 outside of the blocks
	Operation string `json:"operation"`       // what is written: docs/NUMERICS.md lists them
	Tensor    string `json:"tensor"`          // that makes it; "" if none does
	Added     Value  `json:"added_error"`     // of the operation, given what the reference gives it
	Inherited Value  `json:"inherited_error"` // that comes of what the model gives it instead
	Expected  Value  `json:"expected_error"`  // that rounding explains, by the scheme of what is stored
}

// A deviation is a Layer and what it is made of, channel by channel, in sums over
// positions of squares.
type deviation struct {
	Layer
	ref, added, inherited []float64
	total                 []float64 // of the model's own course to the reference's
	expected              []float64 // nil for nothing
	bias                  float64   // of it what the biases differ by, beyond their own rounding
	worst                 []float64 // the largest |added|
	at                    []int     // and the position where it is
	turned                bool      // the reference's, into the model's frame
	lock                  *lockstep
}

func (l *lockstep) deviation(step, block int, operation, tensor string) *deviation {
	return &deviation{Layer: Layer{Step: step, Block: block, Operation: operation, Tensor: tensor}, lock: l}
}

// deviationChannels is how many channels are one task.
const deviationChannels = 64

// add counts the positions [from, from+n): a is the reference's, c the model's given
// the reference's inputs, b the model's own.
func (d *deviation) add(ctx context.Context, from, n int, a, c, b view) {
	width := len(a(from))
	if d.ref == nil {
		for _, sums := range []*[]float64{&d.ref, &d.added, &d.inherited, &d.total, &d.worst} {
			*sums = make([]float64, width)
		}
		d.at = make([]int, width)
	}
	_ = parallel.Do(context.WithoutCancel(ctx), (width+deviationChannels-1)/deviationChannels, func(_, task int) error {
		lo := task * deviationChannels
		hi := min(lo+deviationChannels, width)
		for t := from; t < from+n; t++ {
			wants, gives, has := a(t)[lo:hi], c(t)[lo:hi], b(t)[lo:hi]
			for i, v := range wants {
				x, y, z := float64(v), float64(gives[i]), float64(has[i])
				r := lo + i
				d.ref[r] += float64(x * x)
				d.added[r] += float64((y - x) * (y - x))
				d.inherited[r] += float64((z - y) * (z - y))
				d.total[r] += float64((z - x) * (z - x))
				if e := math.Abs(y - x); e > d.worst[r] {
					d.worst[r], d.at[r] = e, t
				}
			}
		}
		return nil
	})
}

// settle joins the channels.
func (d *deviation) settle() error {
	var ref, added, inherited float64
	for r := range d.ref {
		ref += d.ref[r]
		added += d.added[r]
		inherited += d.inherited[r]
	}
	if !isFinite(ref) || !isFinite(added) || !isFinite(inherited) {
		return fmt.Errorf("step %d, %s: a value is not finite, so the models cannot be compared", d.Step, d.place())
	}
	d.Added, d.Inherited = ratio(added, ref), ratio(inherited, ref)
	d.Expected = ratio(sum(d.expected), ref)
	return nil
}

// place names an operation: blocks.7.q.
func (l *Layer) place() string {
	if l.Block == noBlock {
		return l.Operation
	}
	return model.Name(l.Block, l.Operation)
}

func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// ratio is the root of a/b; nothing is nothing of whatever it is.
func ratio(a, b float64) Value {
	switch {
	case a == 0:
		return 0
	case b == 0:
		return math.MaxFloat64
	}
	return Value(math.Sqrt(a / b))
}

// What an added error may be. As a multiple of what rounding explains: of all
// channels together, and of one, whose errors are those of one row of weights and
// so the same few numbers at every position. And relative to the reference's root
// mean square, for what is stored as it was.
const (
	roundingMargin = 2.5
	channelMargin  = 8.0
	exactMargin    = 1e-6
	turnedMargin   = 1e-4 // where turning rounds
)

// excess says by how much the added error is more than rounding explains, as a
// ratio that is above 1 where it is, and in which channel most.
func (d *deviation) excess() (times float64, channel int) {
	exact := exactMargin
	if d.turned {
		exact = turnedMargin
	}
	floor := sum(d.ref) * exact * exact
	all := over(d.own(sum(d.added), sum(d.total), sum(d.inherited)), float64(sum(d.expected)*roundingMargin*roundingMargin)+floor)
	channel, most := 0, -1.0
	for r, e := range d.added {
		limit := floor
		if d.expected != nil {
			limit += float64(d.expected[r] * channelMargin * channelMargin)
		}
		if x := over(d.own(e, d.total[r], d.inherited[r]), limit); x > most {
			channel, most = r, x
		}
	}
	return math.Sqrt(max(all, most, over(d.bias, floor))), channel
}

// own is how much of an added error counts. A quantizer may move weights so that
// they make up for what they inherit (see calibration in docs/QUANTIZATION.md):
// given the reference's inputs that is an error, in the model's own course it is
// none. So an error counts where it is one in both.
func (d *deviation) own(added, total, inherited float64) float64 {
	if d.expected == nil {
		return added
	}
	return min(added, max(0, total-inherited))
}

// over is a/b, nothing being nothing of nothing too.
func over(a, b float64) float64 {
	if a == 0 {
		return 0
	}
	return min(a/b, math.MaxFloat64)
}
