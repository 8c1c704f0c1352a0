package rounding

import (
	"crypto/sha256"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
)

// The search is no worse than no search in any group, and better in sum.
func TestSearchBeatsPlainRounding(t *testing.T) {
	src := quantizetest.Weights(40, 200, 1)
	for _, text := range []string{"int4/g32", "int4/g32/asym", "int8/g64", "int3/g32", "int2/g32/asym", "int5/row", "int6/g128/asym", "int8/row/asym"} {
		s := scheme(t, text)
		dst, err := qtensor.New(s, src.Rows, src.Cols)
		if err != nil {
			t.Fatal(err)
		}
		if err := ToNearest(t.Context(), dst, src, Even(src.Cols), nil); err != nil {
			t.Fatal(err)
		}
		searched := squaredError(quantizetest.Values(src), quantizetest.Values(dst), s, ones(src.Cols))
		naive := squaredError(quantizetest.Values(src), quantizetest.Nearest(src, s), s, ones(src.Cols))
		sum, plainSum := 0.0, 0.0
		for i := range naive {
			if searched[i] > naive[i]*1.0001 {
				t.Errorf("%s, group %d: squared error %g, without search %g", text, i, searched[i], naive[i])
			}
			sum, plainSum = sum+searched[i], plainSum+naive[i]
		}
		if !(sum < 0.99*plainSum) {
			t.Errorf("%s: squared error %g, without search %g", text, sum, plainSum)
		}
	}
}

// A column with a loud input is rounded more exactly.
func TestPowerIsHeeded(t *testing.T) {
	src := quantizetest.Weights(200, 32, 2)
	for _, text := range []string{"int4/g32", "int4/g32/asym"} {
		errorAt0 := func(loud float32) float64 {
			power := ones(32)
			power[0] = loud
			dst, err := qtensor.New(scheme(t, text), src.Rows, src.Cols)
			if err != nil {
				t.Fatal(err)
			}
			if err := ToNearest(t.Context(), dst, src, &Input{Power: power}, nil); err != nil {
				t.Fatal(err)
			}
			only := make([]float32, 32)
			only[0] = 1
			sum := 0.0
			for _, e := range squaredError(quantizetest.Values(src), quantizetest.Values(dst), dst.Scheme, only) {
				sum += e
			}
			return sum
		}
		if even, loud := errorAt0(1), errorAt0(1000); !(loud < even/2) {
			t.Errorf("%s: a loud column's squared error is %g, an ordinary one's %g", text, loud, even)
		}
	}
}

// Weights that lie on a grid come back exactly.
func TestLatticeIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := qtensor.Scheme{Kind: qtensor.Int, Bits: rapid.IntRange(2, 8).Draw(t, "bits"), Group: 32, Asym: rapid.Bool().Draw(t, "asym")}
		first, last := s.Codes()
		zero := 0
		if !s.Asym {
			zero = s.Zero()
		}
		codes := rapid.SliceOfN(rapid.IntRange(first, last), 32, 32).Draw(t, "codes")
		codes[0], codes[1] = first, last
		src, err := qtensor.New(qtensor.Scheme{}, 1, 32)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 32)
		for i, c := range codes {
			x[i] = float32(c-zero) / 256
		}
		if err := src.SetFloats(0, x); err != nil {
			t.Fatal(err)
		}
		dst, err := qtensor.New(s, 1, 32)
		if err != nil {
			t.Fatal(err)
		}
		if err := ToNearest(t.Context(), dst, src, Even(32), nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(x, quantizetest.Values(dst)[0]); diff != "" {
			t.Errorf("%v: %s", s, diff)
		}
	})
}

func TestEdgeGroups(t *testing.T) {
	for _, c := range []struct {
		scheme string
		x      []float32
		want   []float32 // nil: want the error
		err    string
	}{
		{scheme: "int4/g32", x: []float32{0, 0, 0}, want: []float32{0, 0, 0}},
		{scheme: "int4/g32/asym", x: []float32{0, 0, 0}, want: []float32{0, 0, 0}},
		{scheme: "int4/g32/asym", x: []float32{0.5, 0.5}, want: []float32{0.5, 0.5}},
		{scheme: "int4/g32", x: []float32{1e-12, -1e-12}, want: []float32{0, 0}},
		{scheme: "int4/g32", x: []float32{3e-7}, want: []float32{float32(math.Ldexp(5, -24))}}, // subnormal scale of 2^-24
		{scheme: "int8/row", x: []float32{-127, 127, 0, 1}, want: []float32{-127, 127, 0, 1}},
		{scheme: "int4/g32", x: []float32{1e6, 1}, err: "row 0, columns 0 to 1: a weight of 1e+06 needs a scale beyond float16's largest, 65504"},
		{scheme: "int4/g32/asym", x: []float32{-1e7, 1e7}, err: "row 0, columns 0 to 1: weights from -1e+07 to 1e+07 need a scale beyond float16's largest, 65504"},
		{scheme: "int4/g32/asym", x: []float32{3e38, -3e38}, err: "row 0, columns 0 to 1: weights from -3e+38 to 3e+38 need a scale beyond float16's largest, 65504"},
		{scheme: "int4/g32", x: []float32{1, float32(math.NaN())}, err: "row 0, column 1 is NaN, but weights must be finite; download the file again, or take a checkpoint from before training diverged"},
		{scheme: "int4/g32", x: []float32{float32(math.Inf(-1))}, err: "row 0, column 0 is -Inf, but weights must be finite; download the file again, or take a checkpoint from before training diverged"},
	} {
		src, err := qtensor.New(qtensor.Scheme{}, 1, len(c.x))
		if err != nil {
			t.Fatal(err)
		}
		if err := src.SetFloats(0, c.x); err != nil {
			t.Fatal(err)
		}
		dst, err := qtensor.New(scheme(t, c.scheme), 1, len(c.x))
		if err != nil {
			t.Fatal(err)
		}
		err = ToNearest(t.Context(), dst, src, Even(len(c.x)), nil)
		if c.want == nil {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s of %v: %v, want %q", c.scheme, c.x, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s of %v: %v", c.scheme, c.x, err)
		} else if diff := cmp.Diff(c.want, quantizetest.Values(dst)[0]); diff != "" {
			t.Errorf("%s of %v: %s", c.scheme, c.x, diff)
		}
	}
}

// rtn writes the same bytes on any machine and number of cores.
func TestBytesAreTheSameEverywhere(t *testing.T) {
	src := quantizetest.Weights(50, 130, 3)
	power := make([]float32, 130)
	for i := range power {
		power[i] = float32(i%7 + 1)
	}
	for text, want := range map[string]string{
		"int4/g16/s4":   goldenInt4Short,
		"int5/g16/s4":   goldenInt5Short,
		"int4/g32":      goldenInt4,
		"int4/g32/asym": goldenInt4Asym,
		"int4/g32/nl":   goldenInt4Uneven,
		"int8/g64":      goldenInt8,
	} {
		for _, procs := range []int{1, 8} {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			dst, err := qtensor.New(scheme(t, text), src.Rows, src.Cols)
			if err != nil {
				t.Fatal(err)
			}
			if err := ToNearest(t.Context(), dst, src, &Input{Power: power}, nil); err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			h.Write(dst.Codes)
			h.Write(dst.Scales)
			h.Write(dst.Mins)
			if got := fmt.Sprintf("%x", h.Sum(nil))[:16]; got != want {
				t.Errorf("%s on %d cores: hash %s, want %s", text, procs, got, want)
			}
		}
	}
}

const (
	goldenInt4     = "f219d62008404e4c"
	goldenInt4Asym = "1854d7409914e53e"
	goldenInt8     = "54d2256926a68404"

	goldenInt4Uneven = "be21031ae7c210e8"

	goldenInt4Short = "6c16f71ed35d6205"
	goldenInt5Short = "2aed48710f69820d"
)
