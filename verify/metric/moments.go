package metric

import "math"

// Moments are the count, mean and sum of squared deviations of some numbers.
type Moments struct {
	n        int
	mean, m2 float64
}

// MomentsOf returns the Moments of x.
func MomentsOf(x []float32) Moments {
	m := Moments{n: len(x)}
	for _, v := range x {
		m.mean += float64(v)
	}
	m.mean /= float64(m.n)
	for _, v := range x {
		d := float64(v) - m.mean
		m.m2 += float64(d * d)
	}
	return m
}

// Add merges the numbers of b into m (Chan, Golub and LeVeque 1979).
func (m *Moments) Add(b Moments) {
	if m.n == 0 {
		*m = b
		return
	}
	n, d := m.n+b.n, b.mean-m.mean
	share := float64(b.n) / float64(n)
	m.m2 += b.m2 + float64(float64(float64(d*d)*float64(m.n))*share)
	m.mean += float64(d * share)
	m.n = n
}

// Deviation returns the standard deviation, or NaN if there are no numbers.
func (m *Moments) Deviation() float64 {
	if m.n == 0 {
		return math.NaN()
	}
	return math.Sqrt(m.m2 / float64(m.n))
}
