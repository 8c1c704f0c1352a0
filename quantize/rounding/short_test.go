package rounding

import (
	"math"
	"testing"

	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
)

// meanError returns the mean squared error of rounding src to a scheme, weighted by power, and
// the scheme's bits per weight.
func meanError(t *testing.T, src *qtensor.Matrix, text string, power []float32) (e, bits float64) {
	dst, err := qtensor.New(scheme(t, text), src.Rows, src.Cols)
	if err != nil {
		t.Fatal(err)
	}
	if err := ToNearest(t.Context(), dst, src, &Input{Power: power}, nil); err != nil {
		t.Fatal(err)
	}
	want, got := quantizetest.Values(src), quantizetest.Values(dst)
	for r := range want {
		for i, v := range want[r] {
			d := float64(v) - float64(got[r][i])
			e += float64(power[i]) * d * d
		}
	}
	return e / float64(src.Rows*src.Cols), dst.Scheme.BitsPerWeight(src.Cols)
}

// A bit more divides the error by four, so schemes of different sizes compare by bits plus half
// of log2 of the error. In groups of 16, short scales save a seventh of a bit or more against
// float16 scales in groups of 64 or 32.
func TestShortScalesSaveBits(t *testing.T) {
	skipQuality(t)
	src := quantizetest.Weights(60, 576, 4)
	power := make([]float32, 576)
	for i := range power {
		power[i] = float32(i%5 + 1)
	}
	for short, wide := range map[string][]string{
		"int3/g16/s4": {"int3/g32", "int3/g64"}, "int4/g16/s4": {"int4/g32", "int4/g64"},
		"int5/g16/s4": {"int5/g32", "int5/g64"}, "int6/g16/s4": {"int6/g32", "int6/g64"}, "int8/g16/s4": {"int8/g32", "int8/g64"},
	} {
		total := func(text string) float64 {
			e, bits := meanError(t, src, text, power)
			return bits + math.Log2(e)/2
		}
		for _, text := range wide {
			if saved := total(text) - total(short); saved < 1.0/7 {
				t.Errorf("%s saves %.3f bits against %s, want at least 0.143", short, saved, text)
			}
		}
	}
}

// The search finds the factor and the levels with the least error of all factors from half to
// twice what the largest value needs, or nearly.
func TestShortSearchIsNearlyBest(t *testing.T) {
	skipQuality(t)
	src := quantizetest.Weights(20, 96, 5)
	power := ones(96)
	for _, text := range []string{"int2/g16/s4", "int4/g16/s4", "int5/g16/s4", "int8/g32/s4"} {
		s := newScaleSearch(scheme(t, text), power, false)
		var found, best float64
		for _, x := range quantizetest.Values(src) {
			if err := s.row(x); err != nil {
				t.Fatal(err)
			}
			for i, c := range s.codes {
				v := qtensor.FromFloat16(s.scale[i/s.scheme.Group]) * float32(int(c)-s.scheme.Zero())
				found += float64(x[i]-v) * float64(x[i]-v)
			}
			most := x[qtensor.LargestMagnitude(x)]
			least, ideal := math.Inf(1), max(most, -most)/-s.bottom
			for f := qtensor.ShortFactor(ideal / 2); f <= 2*ideal; f = qtensor.NextShortFactor(f) {
				least = min(least, s.shortErrors(x, f))
			}
			best += least
		}
		if found > 1.02*best {
			t.Errorf("%s: squared error %g, %g with the best factors", text, found, best)
		}
	}
}
