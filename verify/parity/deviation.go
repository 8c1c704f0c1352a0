package parity

import (
	"context"
	"fmt"
	"math"

	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/verify/metric"
)

// A Layer holds the error that one operation of one step makes in a model's
// activations. Errors are relative to the root mean square of the reference's
// activations.
type Layer struct {
	Step      int          `json:"step"`            // -1 for the embedding; the number of steps for the final norm and the head
	Block     int          `json:"block"`           // the block that the step runs; NoBlock outside the blocks
	Operation string       `json:"operation"`       // the activations it writes; docs/NUMERICS.md lists the names
	Tensor    string       `json:"tensor"`          // the tensor it uses; "" if none
	Added     metric.Value `json:"added_error"`     // the operation's own error, given the reference's inputs
	Inherited metric.Value `json:"inherited_error"` // the error from inputs that differ from the reference's
	Expected  metric.Value `json:"expected_error"`  // the error that rounding explains, according to the stored scheme
	Excess    metric.Value `json:"excess"`          // the error as a multiple of its limit; above 1, rounding does not explain it
}

// A deviation is a Layer with the sums from which it is computed. Each slice holds,
// by channel, a sum of squares over the positions.
type deviation struct {
	Layer
	ref, added, inherited []float64
	total                 []float64 // the difference of the subject's own pass from the reference
	passedOn              []float64 // inherited, if the reference's weights had the subject's inputs; nil if not computed
	expected              []float64 // nil if nothing is rounded
	bias                  float64   // the squared difference of the biases, beyond their own rounding
	worst                 []float64 // the largest |added|
	at                    []int     // the position of worst
	rotated               bool      // the reference's values were rotated; see headRotation
}

// deviationChannels is the number of channels in one parallel task.
const deviationChannels = 64

// A span is the range of positions [from, to).
type span struct{ from, to int }

// add adds the positions of at to the sums. want returns the reference's
// activations, fed the subject's given the reference's inputs, and own the
// subject's in its own pass.
func (d *deviation) add(ctx context.Context, at span, want, fed, own view) {
	width := len(want(at.from))
	if d.ref == nil {
		for _, sums := range []*[]float64{&d.ref, &d.added, &d.inherited, &d.total, &d.worst} {
			*sums = make([]float64, width)
		}
		d.at = make([]int, width)
	}
	_ = parallel.Do(context.WithoutCancel(ctx), (width+deviationChannels-1)/deviationChannels, func(_, task int) error {
		lo := task * deviationChannels
		hi := min(lo+deviationChannels, width)
		for t := at.from; t < at.to; t++ {
			wants, feds, owns := want(t)[lo:hi], fed(t)[lo:hi], own(t)[lo:hi]
			for i, v := range wants {
				x, y, z := float64(v), float64(feds[i]), float64(owns[i])
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

// finish computes the errors of the Layer from those of its channels.
func (d *deviation) finish() error {
	var ref, added, inherited float64
	for r := range d.ref {
		ref += d.ref[r]
		added += d.added[r]
		inherited += d.inherited[r]
	}
	if !logits.IsFinite(ref) || !logits.IsFinite(added) || !logits.IsFinite(inherited) {
		return fmt.Errorf("step %d, %s: a value is not finite, so the models cannot be compared; thimble convert names a weight that is not finite", d.Step, d.name())
	}
	d.Added, d.Inherited = relative(added, ref), relative(inherited, ref)
	d.Expected = relative(sum(d.expected), ref)
	return nil
}

// name returns the full name of an operation: blocks.7.q.
func (l *Layer) name() string {
	if l.Block == NoBlock {
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

// relative returns the square root of a/b, and 0 if a is 0.
func relative(a, b float64) metric.Value {
	switch {
	case a == 0:
		return 0
	case b == 0:
		return math.MaxFloat64
	}
	return metric.Value(math.Sqrt(a / b))
}

// The limits of an added error. The first two are multiples of the error that
// rounding explains. That of a single channel is wider: its errors come from one
// row of weights, so they repeat at every position. The last two are relative to
// the reference's root mean square.
const (
	roundingMargin = 2.5  // of all channels together
	channelMargin  = 8.0  // of a single channel
	exactMargin    = 1e-6 // of tensors that are stored unchanged
	correctedMost  = 1.5  // squared, of the error that a channel would inherit without compensation
	rotatedMargin  = 1e-4 // of values that the comparison has rotated, which rounds them
)

// excess returns the added error as a multiple of its limit, which is above 1 if
// rounding does not explain the error, and the channel that exceeds its limit most.
func (d *deviation) excess() (times float64, channel int) {
	exact := exactMargin
	if d.rotated {
		exact = rotatedMargin
	}
	floor := sum(d.ref) * exact * exact
	all := over(d.own(sum(d.added), sum(d.total), max(sum(d.inherited), sum(d.passedOn))), float64(sum(d.expected)*roundingMargin*roundingMargin)+floor)
	channel, most := 0, -1.0
	for r, e := range d.added {
		limit := floor
		if d.expected != nil {
			limit += float64(d.expected[r] * channelMargin * channelMargin)
		}
		inherited := d.inherited[r]
		if d.passedOn != nil { // compensation lowers the error of the texts calibrated on, and of most channels
			inherited = max(inherited, float64(correctedMost*d.passedOn[r]))
		}
		if x := over(d.own(e, d.total[r], inherited), limit); x > most {
			channel, most = r, x
		}
	}
	return math.Sqrt(max(all, most, over(d.bias, floor))), channel
}

// own returns the part of an added error that counts. A quantizer may move weights
// so that they compensate for inherited errors (see calibration in
// docs/QUANTIZATION.md). That shows as an error given the reference's inputs, but
// not in the model's own pass, so only an error that both passes show counts. Smaller
// weights also inherit less, which is why inherited is at least what the reference's
// weights would pass on.
func (d *deviation) own(added, total, inherited float64) float64 {
	if d.expected == nil {
		return added
	}
	return min(added, max(0, total-inherited))
}

// over returns a/b, and 0 if a is 0, whatever b is.
func over(a, b float64) float64 {
	if a == 0 {
		return 0
	}
	return min(a/b, math.MaxFloat64)
}
