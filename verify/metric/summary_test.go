package metric

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuantile(t *testing.T) {
	x := []float64{1, 2, 4, 8}
	for _, c := range []struct{ q, want float64 }{{0, 1}, {1, 8}, {0.5, 3}, {0.99, 8 - 0.03*4}, {1. / 3, 2}} {
		if got := Quantile(x, c.q); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("quantile %v = %v, want %v", c.q, got, c.want)
		}
	}
	if got := Quantile([]float64{5}, 0.99); got != 5 {
		t.Errorf("quantile of one = %v", got)
	}
}

func TestMoments(t *testing.T) {
	var m Moments
	for _, x := range [][]float32{{1, 2}, {3}, {4, 5, 6}} {
		m.Add(MomentsOf(x))
	}
	if d := m.Deviation(); math.Abs(d-math.Sqrt(35./12)) > 1e-15 {
		t.Errorf("deviation of 1 to 6 is %v", d)
	}
}

func TestHistogram(t *testing.T) {
	scores := func(kls ...float64) (all []Score) {
		for _, kl := range kls {
			all = append(all, Score{KL: kl})
		}
		return all
	}
	for _, c := range []struct {
		scores []Score
		want   *Histogram
	}{
		{scores(0.1), &Histogram{[]Value{0.1, 0.15}, []int{1}}}, // an edge belongs to the bin above it
		{scores(0.0999, 0.2, 0.1), &Histogram{[]Value{0.068, 0.1, 0.15, 0.22}, []int{1, 1, 1}}},
		{scores(0, 1e-10, 1e-9), &Histogram{[]Value{0, 1e-9, 1.5e-9}, []int{2, 1}}},
		{scores(1e300), &Histogram{[]Value{4700, 6800}, []int{1}}},
		{scores(float64(Unknown)), nil},
		{nil, nil},
	} {
		if d := cmp.Diff(c.want, NewHistogram(c.scores)); d != "" {
			t.Errorf("%v: %s", c.scores, d)
		}
	}
}
