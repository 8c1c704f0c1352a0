package kernel

import (
	"math"
	"slices"
	"testing"
)

// The quantiles are those of torch.distributions.normal.Normal(0, 1).icdf in float64 (torch 2.15).
func TestNormalQuantile(t *testing.T) {
	for p, want := range map[float64]float64{
		0.95: 1.6448536269514724, 0.5: 0, 0.3: -0.5244005127080409, 0.999: 3.0902323061678136,
	} {
		if got := NormalQuantile(p); !(math.Abs(got-want) <= 1e-13*max(1, math.Abs(want))) {
			t.Errorf("quantile %g is %v, want %v", p, got, want)
		}
	}
}

// Gates 0 to 4 have the mean 2 and the deviation sqrt 2.
func TestCutGates(t *testing.T) {
	for deviations, want := range map[float64][]float32{
		1 / math.Sqrt2: {0, 0, 0, 0, 1}, 0: {0, 0, 0, 1, 2}, -math.Sqrt2: {0, 1, 2, 3, 4},
	} {
		got := []float32{0, 1, 2, 3, 4}
		CutGates(got, deviations)
		for i := range got {
			if math.Abs(float64(got[i]-want[i])) > 1e-6 {
				t.Errorf("%g deviations: %v, want %v", deviations, got, want)
				break
			}
		}
	}
	same := []float32{3, 3, 3}
	if CutGates(same, 1); !slices.Equal(same, []float32{0, 0, 0}) {
		t.Errorf("equal gates: %v, want zeros", same)
	}
}
