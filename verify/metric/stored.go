package metric

import "math"

// A Storage is a floating-point type in which a reference keeps its logits: each is within
// half a step of the logit that was computed. The zero value rounds nothing.
type Storage struct {
	Name  string  // f16 or bf16
	Bits  int     // of the significand
	Least float64 // the step near zero
}

// step returns the distance of x, a value of s, to its neighbours.
func (s Storage) step(x float64) float64 {
	if x == 0 {
		return s.Least
	}
	_, exponent := math.Frexp(x)
	return max(math.Ldexp(1, exponent-s.Bits), s.Least)
}

// allow records what the rounding of the reference's logits, want, explains of a Score. exp
// holds exp(want - max), (Vocab), as logits.LogSumExp leaves it.
//
// Rounding adds to each logit an independent error of the variance step^2/12. To second
// order the divergence is then half the variance of the errors under p, whose mean is
// sum(p (1-p) step^2/24).
func (s Storage) allow(x *Score, want []float32, exp []float64) {
	if s.Bits == 0 {
		return
	}
	total := 0.0
	for _, e := range exp {
		total += e
	}
	x.Rounding = Rounding{}
	for i, v := range want {
		step, p := s.step(float64(v)), exp[i]/total
		x.Rounding.KL += float64(p*(1-p)) * float64(step*step) / 24
		x.Rounding.MaxAbs = max(x.Rounding.MaxAbs, step/2)
	}
}

// A Rounding is what the rounding of a reference's logits explains of a figure.
type Rounding struct {
	KL     float64 // the expected divergence, nats
	MaxAbs float64 // the largest possible difference of two logits
}

// RoundingOf returns the Rounding of a set of positions: the mean of KL, the largest MaxAbs.
func RoundingOf(scores []Score) (r Rounding) {
	for i := range scores {
		r.KL += scores[i].Rounding.KL
		r.MaxAbs = max(r.MaxAbs, scores[i].Rounding.MaxAbs)
	}
	r.KL /= max(1, float64(len(scores)))
	return r
}
