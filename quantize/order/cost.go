package order

import (
	"context"
	"maps"
	"slices"

	"thimble/internal/model"
	"thimble/quantize"
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

// costsOf returns what an error in each column of any matrix costs by a guess at its input: the
// power.
func costsOf(guessed map[string]*rounding.Input) map[string][]float64 {
	costs := map[string][]float64{}
	for name, in := range guessed {
		for _, v := range in.Power {
			costs[name] = append(costs[name], float64(v))
		}
	}
	return costs
}

// turned returns the guessed inputs of m with the channels of the stream in the given order.
func turned(m *model.Model, guessed map[string]*rounding.Input, channels []int32) map[string]*rounding.Input {
	out := maps.Clone(guessed)
	for _, slot := range m.Spec.Slots() {
		in := guessed[slot.Name]
		if _, cols := slot.StreamAxes(); !cols || in == nil {
			continue
		}
		same := *in
		same.Power = make([]float32, len(in.Power))
		for i, c := range channels {
			same.Power[i] = in.Power[c]
		}
		out[slot.Name] = &same
	}
	return out
}
