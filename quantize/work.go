package quantize

import (
	"context"
	"slices"

	"thimble/internal/model"
	"thimble/internal/transformer"
)

// A work counts the work of a long operation in multiply-adds, so that equal shares of it
// take about equal times, and reports it.
type work struct {
	done, total float64
	report      func(done, total int64) // may be nil
}

// add counts n multiply-adds as done.
func (w *work) add(n float64) {
	w.done = min(w.done+n, w.total)
	if w.report != nil {
		w.report(int64(w.done), int64(w.total))
	}
}

// The costs of work other than products of activations and weights, in multiply-adds:
// estimates, only for progress and the time left.
const (
	costOfLoss  = 12 // of predicting the loss of a weight in one scheme
	costOfRound = 3  // of rounding a weight, for each column of its matrix
)

// size returns the number of weights of a slot.
func size(s Slot) float64 { return float64(s.Rows) * float64(s.Cols) }

// groupWork returns the work of running n positions through the layers of a group.
func groupWork(m *Model, g *transformer.Group, n int) (sum float64) {
	for _, kind := range g.Kinds {
		t := m.Tensors[model.Name(g.Block, kind)]
		sum += float64(n) * float64(t.Rows) * float64(t.Cols)
	}
	return sum
}

// blockWork returns the work of running n positions through each step of m.
func blockWork(m *Model, n int) []float64 {
	blocks := make([]float64, m.Spec.Blocks)
	for _, s := range m.Spec.Slots() {
		if part := partOf(s.Name); s.Role == model.Linear && isBlock(part) {
			blocks[part] += float64(n) * size(s)
		}
	}
	steps := make([]float64, len(m.Spec.Schedule))
	for i, b := range m.Spec.Schedule {
		steps[i] = blocks[b]
	}
	return steps
}

// sum returns the sum of x.
func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}

// tokensOf returns the number of tokens of all texts.
func tokensOf(texts [][]int) (n int) {
	for _, t := range texts {
		n += len(t)
	}
	return n
}

// headStates returns the work of ranking the rows of m's head by n positions: their logits,
// and those of every binSample-th position.
func headStates(m *Model, n int) float64 {
	return float64(n) * (1 + 1.0/binSample) * float64(m.Spec.Vocab) * float64(m.Spec.Hidden)
}

// runAhead runs t, of m, to its end, reports the work, and returns the final states.
func runAhead(ctx context.Context, m *Model, t *transformer.Trace, report func(done, total int64)) (*finalStates, error) {
	w := &work{total: sum(blockWork(m, t.Len())) + headStates(m, t.Len()), report: report}
	w.add(0)
	for {
		g, err := t.Next()
		if err != nil {
			return nil, err
		}
		if g == nil {
			break
		}
		if err := t.Run(ctx); err != nil {
			return nil, err
		}
		w.add(groupWork(m, g, t.Len()))
	}
	h, err := t.Hidden()
	if err != nil {
		return nil, err
	}
	final, err := newFinalStates(ctx, m, h)
	w.add(headStates(m, t.Len()))
	return final, err
}

// Work returns a function that converts the weights that a run of p on m with the texts of c
// has written into the work it has done, and the total: multiply-adds, which take about
// equal times. c may be nil, for a run without texts.
func (p *Plan) Work(m *Model, c *Calibration) func(weights int64) (done, total int64) {
	var weights, work []int64 // sums
	var n, all int64
	for _, e := range p.Tensors {
		n += int64(e.Rows) * int64(e.Cols)
		all += p.workOf(m, c, &e)
		weights, work = append(weights, n), append(work, all)
	}
	return func(done int64) (int64, int64) {
		i, found := slices.BinarySearch(weights, done)
		if !found {
			i--
		}
		if i < 0 {
			return 0, all
		}
		return work[i], all
	}
}

// workOf returns the work of one tensor.
func (p *Plan) workOf(m *Model, c *Calibration, e *Entry) int64 {
	weights := size(e.Slot)
	if c == nil || e.Role == model.Vector || !p.quantizes() {
		return int64(weights)
	}
	cost := weights
	if e.rounds() {
		cost += weights * float64(e.Cols) * costOfRound
	}
	if isBlock(partOf(e.Name)) {
		passes := 1
		if p.method.ComparesStreams() && c.Tokens() >= driftPositions*m.Spec.Hidden {
			passes = 2
		}
		cost += float64(passes) * float64(c.Tokens()) * weights
	}
	return int64(cost)
}
