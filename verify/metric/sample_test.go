package metric

import (
	"math"
	"testing"
)

// For every slope, the expectation of exp(s/step times the error of a bound), over
// all possible samples, is at most 1. By Markov's inequality, a bound is then wrong
// by L step/s or more with a probability of at most exp(-L). The estimate is
// unbiased.
func TestSampleExpectation(t *testing.T) {
	random := SplitMix(1)
	rounds := 60
	if testing.Short() {
		rounds = 5 // one of each spread
	}
	for round := range rounds {
		const tokens, step = 9, 0.125
		var p, q, y [tokens]float64
		var t0, u float64
		for i := range p {
			p[i] = step * math.Exp(-4*float64(random.Next()>>11)/(1<<53))
			q[i] = p[i] * math.Exp(float64(random.Below(1000)-500)/500*float64(1+round%5))
			t0, u = t0+p[i], u+q[i]
		}
		exact, mean, most := 0.0, 0.0, math.Inf(-1)
		for i := range p {
			y[i] = math.Log(p[i]/q[i]) - math.Log(t0/u)
			exact += p[i] * y[i]
			most = max(most, math.Log(step/q[i])-math.Log(t0/u))
		}
		for _, spread := range []float64{0, 1} {
			mean = 0
			var below, above [len(slopes)]float64
			for set := range 1 << tokens {
				chance, ys := 1.0, []float64(nil)
				for i := range p {
					if set>>i&1 == 1 {
						chance *= p[i] / step
						ys = append(ys, y[i])
					} else {
						chance *= 1 - p[i]/step
					}
				}
				x, estimate := NewSample(0, step, most, spread, ys)
				mean += chance * estimate
				for k, s := range slopes {
					below[k] += chance * math.Exp(s*(x.low[k]-exact))
					above[k] += chance * math.Exp(s*(exact-x.high[k]))
				}
			}
			if math.Abs(mean-exact) > 1e-9 {
				t.Errorf("round %d: the estimates have a mean of %v, want %v", round, mean, exact)
			}
			for k, s := range slopes {
				if below[k] > 1+1e-9 || above[k] > 1+1e-9 || s*step*most < 1 && above[k] < 0.1 {
					t.Errorf("round %d, slope %v: expectations %v and %v", round, s, below[k], above[k])
				}
			}
		}
	}
}
