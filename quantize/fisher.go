package quantize

import (
	"context"
	"math"

	"thimble/internal/gradient"
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/quantize/rounding"
)

// The outputs of a linear layer differ in what their errors cost: near the float model, an error
// e of output r costs half of the second moment of the gradient of the log-probability by it
// (Fisher information) times e^2. One backward pass on a few of the texts gives that moment for
// all outputs. It tells the divergences of layers apart within what a survey measures together. At
// a rate, rows also have steps in proportion to its -1/2nd power.

const (
	fisherTexts  = 8   // that outputs are measured on
	fisherTokens = 256 // from the start of each
	fisherSeed   = 1

	// leastOutput is the least cost of an output, relative to the mean of its layer: rows have
	// positions and gradients that the texts do not show.
	leastOutput = 0.01
)

// An outputs holds what an error of each output of each linear layer costs, by name, (Rows), in
// nats per squared error and position, and the model that it is of.
type outputs struct {
	of   *Model
	cost map[string][]float64
}

// outputs returns the costs of m's outputs, or none for a model whose gradients are unknown. It
// computes them unless a survey of m already has.
func (c *Calibration) outputs(ctx context.Context, m *Model) (map[string][]float64, error) {
	if c.fisher != nil && c.fisher.of == m {
		return c.fisher.cost, nil
	}
	if gradient.Check(&m.Spec) != nil {
		return nil, nil
	}
	powers, positions := gradient.Powers{}, 0
	for i, text := range starts(c.first(), fisherTexts, fisherTokens) {
		if err := powers.Add(ctx, m, [][]int{text}, fisherSeed+uint64(i)); err != nil {
			return nil, err
		}
		positions += len(text)
	}
	for b := range m.Spec.Blocks {
		// A run may rotate the channels of a head, and then they share what they cost.
		share(powers[model.Name(b, model.V)], m.Spec.ValueDim())
	}
	for _, cost := range powers {
		least := leastOutput * meanOf(cost)
		for i := range cost {
			cost[i] = max(cost[i], least) / float64(2*positions)
		}
	}
	c.fisher = &outputs{m, powers}
	return powers, nil
}

// share replaces each n elements of x by their mean.
func share(x []float64, n int) {
	for ; len(x) >= n; x = x[n:] {
		mean := meanOf(x[:n])
		for i := range x[:n] {
			x[i] = mean
		}
	}
}

// fisherWork returns the work of outputs.
func (c *Calibration) fisherWork(m *Model) float64 {
	if gradient.Check(&m.Spec) != nil {
		return 0
	}
	n := tokensOf(starts(c.first(), fisherTexts, fisherTokens))
	return 3*sum(blockWork(m, n)) + 2*float64(n)*float64(m.Spec.Vocab)*float64(m.Spec.Hidden)
}

// fisherBytes returns the bytes that outputs takes.
func fisherBytes(m *Model, c *Calibration) int64 {
	if gradient.Check(&m.Spec) != nil {
		return 0
	}
	longest := 0
	for _, text := range starts(c.first(), fisherTexts, fisherTokens) {
		longest = max(longest, len(text))
	}
	return gradient.Bytes(&m.Spec, longest)
}

// finenesses lists the numbers of steps per octave to choose from: few different steps of rows
// take few bits, but are further from the best ones.
var finenesses = []float64{1, 2, 4}

// steps returns the steps of the rows of a matrix with cols columns, whose errors have the given
// costs, relative to one another, so that all rows add about equally to the divergence. It returns
// nil, for one step, if the scales would take more bits than that saves, or if cost is nil.
func steps(cost []float64, cols int) (best []float32) {
	mean := meanOf(cost)
	if !(mean > 0) {
		return nil
	}
	most := 0.0
	for _, fineness := range finenesses {
		unit, octaves, loss := make([]float32, len(cost)), 0.0, 0.0
		for i, v := range cost {
			x := math.Round(float64(fineness/(2*math.Ln2)*kernel.Log64(mean/v))) / fineness
			unit[i] = float32(kernel.Exp64(float64(x * math.Ln2)))
			octaves += x
			loss += float64(v * float64(float64(unit[i])*float64(unit[i])))
		}
		// A step twice as wide takes a bit less, and a loss four times as large is worth a bit.
		n := float64(len(cost))
		saved := octaves/n - kernel.Log64(loss/n/mean)/(2*math.Ln2) - rounding.ScaleBits(unit)/float64(cols)
		if saved > most {
			best, most = unit, saved
		}
	}
	return best
}

func meanOf(x []float64) (mean float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	return mean
}
