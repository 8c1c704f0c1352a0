package quantize

import (
	"context"
	"math"

	"thimble/internal/ans"
	"thimble/quantize/rounding"
)

// The rate of a matrix is what its code should take, and what it takes is known only once it
// is rounded: error feedback adds to the weights, and the correction changes them. So that all
// matrices together take what the plan says, a run asks each for a little more or less: by what
// the last matrix of its kind was off, and by its share of what the matrices so far were off.

// A rateControl keeps the sizes of the matrices of one run to those of its plan.
type rateControl struct {
	left float64            // weights with a rate that are not rounded yet
	debt float64            // bits that the matrices so far took more than planned
	bias map[string]float64 // bits per weight that a kind takes more than asked for
}

func newRateControl(p *Plan) *rateControl {
	c := &rateControl{bias: map[string]float64{}}
	for _, e := range p.Tensors {
		if e.To.Rate > 0 {
			c.left += size(e.Slot)
		}
	}
	return c
}

// The most that a rate is changed by, in bits per weight.
const (
	maxChange = 0.25 // for what the matrices so far were off: none pays for all others
	maxBias   = 1    // for what its kind is off: tables and classes of small matrices take much
)

const leastRate = 0.5 // as of a scheme

// ask returns the rate to round e at.
func (c *rateControl) ask(e *Entry) float64 {
	planned := e.To.BitsRate()
	bias := c.bias[e.Kind()]
	debt := c.debt / max(c.left, size(e.Slot))
	return max(planned-min(max(bias, -maxBias), maxBias)-min(max(debt, -maxChange), maxChange), leastRate)
}

// took records that e, rounded at the rate that ask returned, takes so many bytes.
func (c *rateControl) took(e *Entry, bytes int64) {
	n := size(e.Slot)
	bits := float64(8 * bytes)
	c.bias[e.Kind()] = bits/n - c.ask(e)
	c.debt += bits - float64(n*e.To.BitsRate())
	c.left -= n
}

// account records what a rounded matrix of e takes.
func (r *calibratedRun) account(e *Entry, m *Matrix) error {
	if e.To.Rate == 0 {
		return nil
	}
	n, err := ans.Size(r.ctx, m)
	r.rates.took(e, n)
	return err
}

// The rows of a head differ in what their errors cost, so its bins have steps of their own: all
// weights then add equally to the divergence (reverse water-filling).
const (
	// leastSpread is the least p (1-p) / 2 that a bin's step is made for: also the rows of tokens
	// that the texts hardly have are looked up. Measured on SmolLM2-135M.
	leastSpread = 2e-6
	mostSpread  = 2e-4
)

// units returns for each row of a head the step of its bin, relative to those of other bins,
// and the divergence that an error of 1 in each of its weights makes.
func (f *finalStates) units(ctx context.Context) (unit []float32, weight []float64, err error) {
	unit, weight = make([]float32, f.m.Spec.Vocab), make([]float64, f.m.Spec.Vocab)
	for _, b := range f.bins {
		in, err := b.input(ctx, f.hidden)
		if err != nil {
			return nil, nil, err
		}
		cost := in.MeanCost()
		spread := max(b.spread()/2, leastSpread)
		u := math.Sqrt(1 / float64(min(spread, mostSpread)*cost))
		for _, r := range b.rows {
			unit[r] = float32(u)
			weight[r] = float64(spread*cost) * in.Moments.Optimism(in.Moments.EffectivePositions())
		}
	}
	return unit, weight, nil
}

// spread returns the mean of p (1-p) over positions and rows.
func (b *bin) spread() (mean float64) {
	for _, w := range b.weights {
		mean += float64(w) / float64(len(b.weights))
	}
	return mean
}

// roundHeadAt fills dst from src, the head of a model, at a rate.
func roundHeadAt(ctx context.Context, method rounding.Variant, dst, src *Matrix, final *finalStates, rate float64) error {
	unit, _, err := final.units(ctx)
	if err != nil {
		return err
	}
	step, err := rounding.RateStep(ctx, src, unit, rate)
	if err != nil {
		return err
	}
	return roundBins(ctx, method, dst, src, final, func(in *rounding.Input, b *bin) *rounding.Input {
		in = in.At(rate, nil)
		in.Step = float64(step * float64(unit[b.rows[0]]))
		return in
	})
}

// rateCosts predicts the divergence that the head adds in schemes with a rate.
func (s *surveyor) rateCosts(final *finalStates, src *Matrix, schemes []Scheme) ([]float64, error) {
	unit, weight, err := final.units(s.ctx)
	if err != nil {
		return nil, err
	}
	return rounding.Even(src.Cols).RateLoss(s.ctx, src, schemes, unit, weight)
}
