package metric

import (
	"math"

	"thimble/internal/kernel"
)

// Doubt is the probability, over the random draws that made the reference file,
// that a bound from its sample is wrong.
const Doubt = 1e-6

// slopes are the values of s in the doc comment of Sample, in 1/nat. The best s is
// about sqrt(2 log(1/Doubt) / sum of (step y)^2), which is 30 for 500 positions of
// a large vocabulary and falls with the square root of the number of positions.
var slopes = [...]float64{0.25, 0.35, 0.5, 0.7, 1, 1.4, 2, 2.8, 4, 5.6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 180, 256, 360, 512}

// A Sample is the contribution that the sampled tail of one position makes to the
// bounds of the mean divergence.
//
// Let P be the reference, Q the model, T the set of tokens from which the sample is
// drawn, t and u the total probability of T under P and under Q, and
//
//	y = log(p/q) - log(t/u)
//
// for a token of T. The divergence is the part of the other tokens, plus t log(t/u),
// plus the sum of p y over T, which has to be estimated. A token is in the sample
// with probability p/step, independently of the others. For any a >= -1 that does
// not depend on the draw, the expectation of the product of 1+a over the sample is
// the product of 1 + a p/step over T, which is at most exp(sum of a p/step). By
// Markov's inequality, with a probability of at least 1 - exp(-L),
//
//	sum over the sample of log(1+a) <= sum over T of a p/step + L
//
// With a = -s step y this bounds the divergence from above, for each s small enough
// that a >= -1. With a = s step z and z = y - 1 + exp(-y), which is never negative
// and has the same sum of p z, it bounds the divergence from below, for each s.
// T may extend over many positions.
type Sample struct {
	low, high [len(slopes)]float64 // bounds without the term in L, nats; high is infinite if s is too large
}

// closeSpread is a limit on the mean of log(p/q)^2 over the tokens outside T. Below
// it the model is so close to the reference that z varies less than y.
const closeSpread = 0.1

// NewSample returns the Sample of a position, and an unbiased estimate of its
// divergence. exact is the divergence without the sum of p y, ys holds the y of
// each sampled token, most is the largest y that a token of T can have, and spread
// is the mean of log(p/q)^2 over the tokens outside T.
//
// The estimate is exact plus step times the sum of y over the sample. For a model
// close to the reference it sums z instead, which is only about y^2/2 for small y.
// For other models a drawn token with a large q and a tiny p would spoil a sum of z.
func NewSample(exact, step, most, spread float64, ys []float64) (x *Sample, estimate float64) {
	x = new(Sample)
	estimate = exact
	for _, y := range ys {
		if spread < closeSpread {
			y += kernel.Exp64(-y) - 1
		}
		estimate += float64(step * y)
	}
	for _, y := range ys {
		const enough = 1e12 // with a smaller z the bound is still valid
		z := min(y-1+kernel.Exp64(-y), enough)
		for i, s := range slopes {
			x.low[i] += kernel.Log64(1 + float64(s*step*z))
			x.high[i] -= kernel.Log64(max(1-float64(s*step*y), math.SmallestNonzeroFloat64))
		}
	}
	for i, s := range slopes {
		x.low[i], x.high[i] = exact+x.low[i]/s, exact+x.high[i]/s
		if !(s*step*most < 1) {
			x.high[i] = math.Inf(1)
		}
	}
	return x, estimate
}

// meanBounds returns a lower and an upper bound of the mean divergence of scores:
// the tighter of the bounds that follow from each position by itself, and of those
// that follow from the samples of all positions together.
func meanBounds(scores []Score) (low, high float64) {
	var all Sample
	sampled := false
	for i := range scores {
		x := &scores[i]
		low += x.KL - x.Spare
		high += x.KL + x.Hidden
		sampled = sampled || x.Sample != nil
		for k := range slopes {
			if x.Sample != nil {
				all.low[k] += x.Sample.low[k]
				all.high[k] += x.Sample.high[k]
			} else {
				all.low[k] += x.KL - x.Spare
				all.high[k] += x.KL + x.Hidden
			}
		}
	}
	if sampled {
		l := kernel.Log64(2 * float64(len(slopes)) / Doubt)
		for k, s := range slopes {
			low = max(low, all.low[k]-l/s)
			high = min(high, all.high[k]+l/s)
		}
	}
	n := float64(len(scores))
	return low / n, high / n
}
