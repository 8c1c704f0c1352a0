package kernel

import (
	"math"
	"testing"
)

// slowCompare is the documented order of Compare in the simplest loops.
func slowCompare(p, q []float32, e []float64) Comparison {
	sum := func(term func(i int) (a, b float64)) float64 {
		s := make([]float64, compareLanes)
		for i := range p {
			a, b := term(i)
			s[i%len(s)] = math.FMA(a, b, s[i%len(s)])
		}
		for n := len(s) / 2; n > 0; n /= 2 {
			for i := range n {
				s[i] += s[i+n]
			}
		}
		return s[0]
	}
	c := Comparison{
		Weight:     sum(func(i int) (float64, float64) { return e[i], 1 }),
		Difference: sum(func(i int) (float64, float64) { return e[i], float64(p[i]) - float64(q[i]) }),
		PQ:         sum(func(i int) (float64, float64) { return float64(p[i]), float64(q[i]) }),
		PP:         sum(func(i int) (float64, float64) { return float64(p[i]), float64(p[i]) }),
		QQ:         sum(func(i int) (float64, float64) { return float64(q[i]), float64(q[i]) }),
	}
	for i := range p {
		c.Most = max(c.Most, math.Abs(float64(p[i])-float64(q[i])))
	}
	return c
}

func TestCompare(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			p, q, e := row(r, n), row(r, n), make([]float64, n)
			for i := range e {
				e[i] = math.Ldexp(r.Float64(), -r.IntN(40))
			}
			if got, want := Compare(p, q, e), slowCompare(p, q, e); got != want {
				t.Errorf("Compare of %d elements is %v, want %v", n, got, want)
			}
		}
	})
}

func BenchmarkCompare(b *testing.B) {
	const n = 49152
	p, q, e := row(seeded(1), n), row(seeded(2), n), make([]float64, n)
	for _, f := range forms {
		b.Run(f.name, func(b *testing.B) {
			defer func(f *form) { best = f }(best)
			best = f
			for b.Loop() {
				Compare(p, q, e)
			}
		})
	}
}
