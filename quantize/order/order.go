// Package order chooses an order of the channels of a model's residual stream that suits groups.
//
// A group of columns has one scale, which its largest weights determine. Embeddings and the
// layers that read the stream have columns of very different magnitude, and inputs of very
// different power. Where columns that need similar steps are neighbours, fewer groups have a step
// that is too large for most of their weights. Any order computes the same
// ([model.Model.Reordered]), so this costs nothing in the file, nor when it runs.
package order

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/quantize"
	"thimble/quantize/power"
	"thimble/quantize/rounding"
)

const (
	sampleRows  = 512  // of a layer that give its profile
	sampleVocab = 4096 // of an embedding or head
)

// A profile is what a matrix that reads the stream, or those of a block's experts, make of an order.
type profile struct {
	weights   float64   // number of weights
	magnitude []float64 // by channel: the fourth power of the mean square, about the eighth power of the largest weight
	power     []float64 // by channel: the cost of an error
}

// Group returns the number of columns of the groups for which a run of r on m reorders m's
// channels: that of most of the schemes that matrices get, each of which counts by its weights,
// if they are given. It is 0 if the run does not reorder channels: no scheme has groups, a matrix
// is stored in integers already, or parts of the model that write into the stream were left out.
func Group(m *model.Model, r *quantize.Recipe, schemes []qtensor.Scheme, weights []int64) int {
	method, err := rounding.Choose(cmp.Or(r.Method, rounding.MethodRTN), r.Without)
	if err != nil || !method.Reorders() || !m.Spec.Reorders() || m.Partial || len(m.Provenance.Channels) > 0 {
		return 0
	}
	for _, t := range m.Tensors {
		if !t.Scheme.Float() {
			return 0
		}
	}
	votes, best := map[int]int64{}, 0
	for i, s := range schemes {
		if s.Kind != qtensor.Int || s.Groups(m.Spec.Hidden) == 1 {
			continue
		}
		n := int64(1)
		if weights != nil {
			n = weights[i]
		}
		votes[s.Group] += n
		if v := votes[s.Group]; best == 0 || v > votes[best] || v == votes[best] && s.Group < best {
			best = s.Group
		}
	}
	return best
}

// GroupOf returns the Group of a run of p, which is r's plan.
func GroupOf(m *model.Model, r *quantize.Recipe, p *quantize.Plan) int {
	var schemes []qtensor.Scheme
	var weights []int64
	for _, e := range p.Tensors {
		if _, cols := m.Spec.StreamAxes(e.Slot); cols {
			schemes, weights = append(schemes, e.To), append(weights, int64(e.Rows)*int64(e.Cols))
		}
	}
	return Group(m, r, schemes, weights)
}

// Expected returns m as it is before the order of its channels is known. Files of it have the size
// that they have in any order.
func Expected(m *model.Model) *model.Model { return m.Reordered(natural(m.Spec.Hidden)) }

// natural returns n channels in their order.
func natural(n int) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	return order
}

// Reordered returns m with its channels in an order for groups of the given number of columns, and
// for larger ones of several such groups. The order depends on the weights alone: second moments of
// a text make it hardly better there, and worse on other texts. guessed is what power.Inputs returns
// for the model.
func Reordered(ctx context.Context, m *model.Model, group int) (_ *model.Model, guessed map[string]*rounding.Input, err error) {
	if guessed, err = power.Inputs(ctx, m); err != nil {
		return nil, nil, err
	}
	var cost []float64
	for _, v := range guessed[m.HeadName()].Power {
		cost = append(cost, float64(v))
	}
	channels, err := channelsFor(ctx, m, cost, group)
	if err != nil {
		return nil, nil, err
	}
	return m.Reordered(channels), turned(m, guessed, channels), nil
}

// turned returns the guessed inputs of m with the channels of the stream in the given order.
func turned(m *model.Model, guessed map[string]*rounding.Input, channels []int32) map[string]*rounding.Input {
	out := maps.Clone(guessed)
	for _, slot := range m.Spec.Slots() {
		in := guessed[slot.Name]
		if _, cols := m.Spec.StreamAxes(slot); !cols || in == nil {
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

// channelsFor returns the order, given what an error costs in each column of the head. In layers it
// takes all columns for alike: there, guesses make the order worse.
func channelsFor(ctx context.Context, m *model.Model, cost []float64, group int) ([]int32, error) {
	profiles, err := profilesOf(ctx, m, cost)
	if err != nil {
		return nil, err
	}
	channels, head := natural(m.Spec.Hidden), profiles[0].magnitude
	slices.SortStableFunc(channels, func(a, b int32) int { return cmp.Compare(head[a], head[b]) })
	return arrange(profiles, channels, group), nil
}

// profilesOf returns the profile of the head, and then all others.
func profilesOf(ctx context.Context, m *model.Model, cost []float64) ([]*profile, error) {
	n := m.Spec.Hidden
	var all []*profile
	classes := map[string]*profile{}
	var slots []model.Slot
	for _, slot := range m.Spec.Slots() {
		_, cols := m.Spec.StreamAxes(slot)
		if slot.Role == model.Vector || !cols {
			continue
		}
		slots = append(slots, slot)
		if classes[classOf(slot)] == nil {
			p := &profile{magnitude: make([]float64, n), power: slices.Repeat([]float64{1}, n)}
			classes[classOf(slot)] = p
			if slot.Name == m.HeadName() {
				p.power = normalized(cost)
				all = slices.Insert(all, 0, p)
			} else {
				all = append(all, p)
			}
		}
	}
	squares := make([][]float64, len(slots))
	err := parallel.Do(ctx, len(slots), func(_, i int) error {
		t := m.Tensors[slots[i].Name]
		squares[i] = normalized(meanSquares(t, slots[i].Role))
		t.Release()
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, slot := range slots {
		p, rows := classes[classOf(slot)], float64(slot.Rows)
		p.weights += float64(rows * float64(n))
		for c, v := range squares[i] {
			p.magnitude[c] += float64(v * v * v * v * rows)
		}
	}
	for _, p := range all {
		p.magnitude = normalized(p.magnitude)
	}
	return all, nil
}

// classOf names the profile of a matrix: its own, but one for all experts of a block.
func classOf(slot model.Slot) string {
	if b, kind, ok := model.SplitName(slot.Name); ok {
		return model.Name(b, model.Class(kind))
	}
	return slot.Name
}

// meanSquares returns sums over a sample of rows of the squares of each column.
func meanSquares(t *qtensor.Matrix, role model.Role) []float64 {
	limit := sampleRows
	if role != model.Linear {
		limit = sampleVocab
	}
	sums, x := make([]float64, t.Cols), make([]float32, t.Cols)
	var reader qtensor.Reader
	n := min(t.Rows, limit)
	for i := range n {
		reader.Row(x, t, i*t.Rows/n)
		for c, v := range x {
			sums[c] += float64(float64(v) * float64(v))
		}
	}
	return sums
}

// normalized returns x over its mean; if that is not positive, ones.
func normalized(x []float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		if out[i] = 1; sum > 0 && sum < 1e300 {
			out[i] = v / sum * float64(len(x))
		}
	}
	return out
}
