package quantize

import (
	"context"

	"thimble/internal/qtensor"
	"thimble/quantize/rounding"
)

// noises lists the schemes for measuring sensitivities: a layer is rounded to the first
// with a loss that is not negligible. Weights may already be on the grid of a scheme, for
// example if the model was int4 before, or ternary. int4/g32 usually loses half a percent
// of the output's power.
var noises = []Scheme{
	{Kind: qtensor.Int, Bits: 4, Group: 32},
	{Kind: qtensor.Int, Bits: 3, Group: 32},
	{Kind: qtensor.Int, Bits: 2, Group: 32},
	{Kind: qtensor.Int, Bits: 2},
}

// fineNoise comes before noises for schemes with a rate, which usually leave smaller errors than
// int4/g32: in down projections with massive activations that costs several times as much for its
// loss as smaller errors do.
var fineNoise = Scheme{Kind: qtensor.Int, Bits: 6, Group: 32}

// noises returns those for the schemes of s.
func (s *surveyor) noises() []Scheme {
	if _, rated := s.split(); len(rated) > 0 {
		return append([]Scheme{fineNoise}, noises...)
	}
	return noises
}

// minLoss is the smallest loss for measuring a sensitivity, as a fraction of the output's
// power.
const minLoss = 1e-4

// A disturbance rounds a layer without a search, the same way each time: the rounded layers
// of a whole model would take too much memory.
type disturbance struct {
	scheme  Scheme    // of fineNoise or noises
	power   []float32 // of the input's columns
	loudest []float32 // an input whose output stays the same; nil for none
}

// of returns src with the disturbance.
func (d *disturbance) of(ctx context.Context, src *Matrix) (*Matrix, error) {
	q, err := qtensor.New(d.scheme, src.Rows, src.Cols)
	if err != nil {
		return nil, err
	}
	err = rounding.ToNearest(ctx, q, src, &rounding.Input{Power: d.power}, rounding.Skips{rounding.StepSearch})
	src.Release()
	if d.loudest != nil {
		q = rounding.Sparing(q, src, d.loudest)
	}
	return q, err
}

// disturb rounds src to the first of noises with a loss that is not negligible, or to the
// one with the largest loss, and returns that loss, that of each row times its cost; nil means 1.
// loudest is the input whose weight is the smallest, or nil.
//
// A massive activation is thousands of times louder than its weight tells. Rounding to nearest
// leaves an error there that makes most of the divergence and little of the loss; error feedback
// leaves less. So the output at the loudest input stays as it is.
func (s *surveyor) disturb(src *Matrix, in *rounding.Input, loudest []float32, cost []float64) (d *disturbance, made float64, err error) {
	power, err := in.OutputPower(s.ctx, src)
	if err != nil {
		return nil, 0, err
	}
	most := 0.0
	for _, noise := range s.noises() {
		next := &disturbance{noise, in.Power, loudest}
		q, err := next.of(s.ctx, src)
		if err != nil {
			return nil, 0, err
		}
		l, weighted, err := in.Loss(s.ctx, src, q, cost)
		if err != nil {
			return nil, 0, err
		}
		if d == nil || l > most {
			d, most, made = next, l, weighted
		}
		if most > minLoss*power {
			break
		}
	}
	if in.Silent {
		made = 0
	}
	return d, made, nil
}
