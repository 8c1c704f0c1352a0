// Package routing computes which experts of a mixture compute at a position, and their weights.
package routing

import (
	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A Router has the scratch memory for positions of one model.
type Router struct {
	e             *model.Experts
	order, groups []int
	scores, ranks []float32 // of experts, and of groups
}

// New returns a Router for models with experts e.
func New(e *model.Experts) *Router {
	return &Router{e, make([]int, e.Count), make([]int, e.Groups), make([]float32, e.Count), make([]float32, e.Groups)}
}

// Weigh sets weights to those of the experts, 0 for those that do not compute, given their
// logits, all (Count). Of equal scores the first counts as larger.
func (r *Router) Weigh(weights, logits, bias []float32) {
	e, scores := r.e, r.scores
	copy(scores, logits)
	if e.Sigmoid {
		for i, x := range scores {
			scores[i] = Sigmoid(x)
		}
	} else {
		kernel.Softmax(scores)
	}
	for i := range r.order {
		r.order[i] = i
	}
	rank := func(i int) float32 {
		if bias == nil {
			return scores[i]
		}
		return scores[i] + bias[i]
	}
	clear(weights)
	order := r.order
	if e.Groups > 0 {
		order = r.inGroups(rank)
	}
	first(order, e.Used, rank)
	var sum float32
	for _, i := range order[:e.Used] {
		weights[i] = scores[i]
		sum += scores[i]
	}
	scale := float32(1)
	if e.Scale != 0 {
		scale = float32(e.Scale)
	}
	for _, i := range order[:e.Used] {
		if e.Normalized {
			weights[i] /= sum
		}
		weights[i] *= scale
	}
}

// first moves the n of order with the largest ranks to its front. Of equal ones the first counts as
// larger.
func first(order []int, n int, rank func(i int) float32) {
	for k := range n {
		best := k
		for j := k + 1; j < len(order); j++ {
			if a, b := rank(order[j]), rank(order[best]); a > b || a == b && order[j] < order[best] {
				best = j
			}
		}
		order[k], order[best] = order[best], order[k]
	}
}

// inGroups returns the experts of the groups that are used, at the front of r.order.
func (r *Router) inGroups(rank func(i int) float32) []int {
	s := r.e
	size := s.Count / s.Groups
	for g := range r.groups {
		all := r.order[g*size:][:size]
		first(all, s.GroupBest, rank)
		r.groups[g], r.ranks[g] = g, 0
		for _, e := range all[:s.GroupBest] {
			r.ranks[g] += rank(e)
		}
	}
	first(r.groups, s.UsedGroups, func(g int) float32 { return r.ranks[g] })
	all := r.order[:0]
	for _, g := range r.groups[:s.UsedGroups] {
		for e := range size {
			all = append(all, g*size+e)
		}
	}
	return all
}

// Sigmoid returns 1/(1+exp(-x)).
func Sigmoid(x float32) float32 { return 1 / (1 + kernel.Exp(-x)) }
