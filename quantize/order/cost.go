package order

import (
	"context"
	"slices"

	"thimble/internal/model"
	"thimble/quantize"
	"thimble/quantize/power"
	"thimble/quantize/rounding"
)

// headPositions is the least number of positions of texts that costsOn runs.
const headPositions = 2048

// costsOn returns what an error in each column of m's head costs on the texts of c, if the columns
// that are rounded later compensate for it: D_j of rounding.Factor.
func costsOn(ctx context.Context, m *model.Model, c *quantize.Calibration) (map[string][]float64, error) {
	h, err := c.HeadStates(ctx, m, max(headPositions, 2*m.Spec.Hidden))
	if err != nil {
		return nil, err
	}
	positions := rounding.Positions{N: h.Len(), Row: h.Row}
	moments, err := rounding.MomentsOf(ctx, positions, slices.Repeat([]float32{1}, h.Len()))
	if err != nil {
		return nil, err
	}
	in, err := rounding.NewInput(ctx, moments, rounding.Damping)
	if err != nil {
		return nil, err
	}
	cost := make([]float64, m.Spec.Hidden)
	for i, column := range in.Factor.Order {
		cost[column] = in.Factor.D[i]
	}
	return map[string][]float64{m.HeadName(): cost}, nil
}

// guessedCosts returns what an error in each column of any matrix costs, by the weights alone: the
// power of its input.
func guessedCosts(ctx context.Context, m *model.Model) (map[string][]float64, error) {
	inputs, err := power.Inputs(ctx, m)
	if err != nil {
		return nil, err
	}
	costs := map[string][]float64{}
	for name, in := range inputs {
		for _, v := range in.Power {
			costs[name] = append(costs[name], float64(v))
		}
	}
	return costs, nil
}
