package kernel

import "math"

// A Comparison holds sums over the elements of two rows p and q, of which each has a weight e.
type Comparison struct {
	Weight     float64 // sum of e
	Difference float64 // sum of e (p - q)
	PQ, PP, QQ float64 // sums of p q, p p and q q
	Most       float64 // largest |p - q|
}

// compareLanes is the number of stripes of each sum of a Comparison.
const compareLanes = 8

// comparedStripes are the stripes of a Comparison's fields.
type comparedStripes = [6][compareLanes]float64

// Compare returns the Comparison of p and q with the weights e, in float64. Element i goes to
// stripe i mod 8 of each sum, products are fused, and a tree adds up the stripes. The elements
// must be finite. Compare panics unless p, q and e have the same length.
func Compare(p, q []float32, e []float64) Comparison {
	check(len(q) == len(p) && len(e) == len(p), "Compare")
	n := blocks(len(p))
	var s comparedStripes
	best.compare(p[:n], q[:n], e[:n], &s)
	comparePortable(p[n:], q[n:], e[n:], &s)
	var most float64
	for _, v := range s[5] {
		most = max(most, v)
	}
	return Comparison{treeOf(&s[0]), treeOf(&s[1]), treeOf(&s[2]), treeOf(&s[3]), treeOf(&s[4]), most}
}

func treeOf(s *[compareLanes]float64) float64 {
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

// comparePortable adds the elements to s.
func comparePortable(p, q []float32, e []float64, s *comparedStripes) {
	for i, w := range e {
		x, y, l := float64(p[i]), float64(q[i]), i%compareLanes
		d := x - y
		s[0][l] += w
		s[1][l] = math.FMA(w, d, s[1][l])
		s[2][l] = math.FMA(x, y, s[2][l])
		s[3][l] = math.FMA(x, x, s[3][l])
		s[4][l] = math.FMA(y, y, s[4][l])
		s[5][l] = max(s[5][l], math.Abs(d))
	}
}
