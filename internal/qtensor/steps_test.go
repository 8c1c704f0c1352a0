package qtensor

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A value that is anywhere between two levels has the error that the steps of its level tell.
func TestStepsOfLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range []Scheme{unevenScheme, IQ4_NL.Foreign(), IQ4_XS.Foreign(), MXFP4.Foreign(), NVFP4.Foreign()} {
		steps := s.Steps()
		var levels []float64
		for code, step := range steps {
			if step > 0 {
				levels = append(levels, float64(code))
			}
		}
		if n := len(levels); n != 16 && n != 15 { // FP4 has two zeros
			t.Fatalf("%v: %d levels", s, n)
		}
		lowest, highest := levels[0], levels[len(levels)-1]
		squares, count := map[float64]float64{}, map[float64]float64{}
		for range 200_000 {
			v := lowest + (highest-lowest)*r.Float64()
			near := nearest(levels, v)
			squares[near] += (v - near) * (v - near)
			count[near]++
		}
		for _, l := range levels {
			want := float64(steps[int(l)] * steps[int(l)] / 12)
			if got := squares[l] / count[l]; math.Abs(got/want-1) > 0.1 {
				t.Errorf("%v: level %g has a mean square error of %g, its step tells %g", s, l, got, want)
			}
		}
	}
}

func nearest(levels []float64, v float64) (near float64) {
	near = levels[0]
	for _, l := range levels {
		if math.Abs(l-v) < math.Abs(near-v) {
			near = l
		}
	}
	return near
}

// Weights as models have them, rounded to the nearest point of a grid with the best scale, have
// the error that its steps tell, within half.
func TestStepsOfGrids(t *testing.T) {
	for _, c := range []struct {
		layout *Layout
		grid   []byte
		n      int
	}{{IQ2_XXS, gridIQ2XXS, 8}, {IQ2_XS, gridIQ2XS, 8}, {IQ2_S, gridIQ2S, 8}, {IQ3_XXS, gridIQ3XXS, 4}, {IQ3_S, gridIQ3S, 4}} {
		widest := 0.0
		for _, x := range c.grid {
			widest = max(widest, float64(x))
		}
		least := math.Inf(1) // relative to the square of the scale, where the error of weights is least
		tells := 0.0
		for _, widths := range []float64{1.6, 2, 2.4, 2.8, 3.2} { // deviations up to the widest value
			r := rand.New(rand.NewPCG(5, 6))
			scale, sum := widths/widest, 0.0
			const points = 200
			for range points {
				x := make([]float64, c.n)
				for i := range x {
					x[i] = math.Abs(r.NormFloat64())
				}
				best := math.Inf(1)
				for p := 0; p < len(c.grid); p += c.n {
					e := 0.0
					for i, v := range x {
						d := v - scale*float64(c.grid[p+i])
						e += d * d
					}
					best = min(best, e)
				}
				sum += best
			}
			if mean := sum / points / float64(c.n); mean < least {
				least, tells = mean, scale*float64(c.layout.steps[128])/math.Sqrt(12)
			}
		}
		if ratio := tells / math.Sqrt(least); ratio < 1/1.5 || ratio > 1.5 {
			t.Errorf("%s: the root of the mean square error is %.3f, its steps tell %.3f", c.layout.Name, math.Sqrt(least), tells)
		} else {
			t.Logf("%s: %.3f, its steps tell %.3f", c.layout.Name, math.Sqrt(least), tells)
		}
	}
}
