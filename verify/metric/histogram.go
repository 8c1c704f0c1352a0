package metric

import (
	"slices"
	"strconv"
)

// A Histogram counts the scored positions by their divergence. Counts[i] positions
// have a divergence of at least Edges[i] and less than Edges[i+1]. Edges are those
// values of the E6 series (1, 1.5, 2.2, 3.3, 4.7 and 6.8 times powers of ten) that
// the divergences need: nearly even steps on a logarithmic axis, and short to
// write. The first edge is 0 if a divergence is below the whole series.
type Histogram struct {
	Edges  []Value `json:"edges"` // nats
	Counts []int   `json:"counts"`
}

// The series runs from 1e-9 nats, about the rounding error in float64, to 1e4, more
// than any divergence in practice. The last bin also counts larger divergences.
const leastDecade, mostDecade = -9, 4

// histogramEdges holds all edges; the first is 0.
var histogramEdges = func() []float64 {
	edges := []float64{0}
	for e := leastDecade; e < mostDecade; e++ {
		for _, m := range []string{"1", "1.5", "2.2", "3.3", "4.7", "6.8"} {
			v, _ := strconv.ParseFloat(m+"e"+strconv.Itoa(e), 64)
			edges = append(edges, v)
		}
	}
	return edges
}()

// NewHistogram returns the histogram of scores, or nil if there are none or one of
// them has no divergence.
func NewHistogram(scores []Score) *Histogram {
	counts := make([]int, len(histogramEdges))
	first, last := len(counts), -1
	for i := range scores {
		kl := scores[i].KL
		if kl != kl {
			return nil
		}
		at, found := slices.BinarySearch(histogramEdges, kl)
		if !found {
			at--
		}
		at = min(max(at, 0), len(counts)-2)
		counts[at]++
		first, last = min(first, at), max(last, at)
	}
	if last < 0 {
		return nil
	}
	h := &Histogram{Counts: counts[first : last+1]}
	for _, e := range histogramEdges[first : last+2] {
		h.Edges = append(h.Edges, Value(e))
	}
	return h
}
