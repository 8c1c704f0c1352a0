package rounding

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"testing"

	"thimble/internal/ans"
	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
)

// A matrix takes about the bits that its rate says, with either method, and its bytes do not
// depend on the number of cores.
func TestRate(t *testing.T) {
	const rows, cols = 300, 160
	src := quantizetest.Weights(rows, cols, 7)
	scheme := qtensor.Scheme{Kind: qtensor.Int, Bits: 8}
	calibrated := newTarget(t, 1, cols, "int8/row").Input
	for name, in := range map[string]*Input{MethodRTN: Even(cols), MethodGPTQ: calibrated} {
		for _, rate := range []float64{2, 4, 6} {
			v, err := Choose(name, nil)
			if err != nil {
				t.Fatal(err)
			}
			var outs [2]*qtensor.Matrix
			for i := range outs {
				if outs[i], err = qtensor.New(scheme, rows, cols); err != nil {
					t.Fatal(err)
				}
				old := runtime.GOMAXPROCS(1 + i)
				err = v.Round(t.Context(), outs[i], src, in.At(rate, nil))
				runtime.GOMAXPROCS(old)
				if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(outs[0].Codes, outs[1].Codes) || !bytes.Equal(outs[0].Scales, outs[1].Scales) {
				t.Errorf("%s at %g bits depends on the number of cores", name, rate)
			}
			n, err := ans.Size(t.Context(), outs[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := float64(8*n) / (rows * cols); math.Abs(got-rate) > 0.25 { // this small, tables take a tenth of a bit
				t.Errorf("%s at %g bits takes %.3f", name, rate, got)
			}
		}
	}
}

// All rows have one step, but for a row that 8 bits could not reach with it.
func TestLatticeReach(t *testing.T) {
	const rows, cols = 100, 64
	src := quantizetest.Weights(rows, cols, 3)
	x := make([]float32, cols)
	new(qtensor.Reader).Row(x, src, 5)
	x[7] = 1000
	if err := src.SetFloats(5, x); err != nil {
		t.Fatal(err)
	}
	dst, err := qtensor.New(qtensor.Scheme{Kind: qtensor.Int, Bits: 8}, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	if err := ToNearest(t.Context(), dst, src, Even(cols).At(4, nil), nil); err != nil {
		t.Fatal(err)
	}
	new(qtensor.Reader).Row(x, dst, 5)
	if math.Abs(float64(x[7])-1000) > 5 {
		t.Errorf("an outlier of 1000 became %v", x[7])
	}
	for r := range rows {
		if same := bytes.Equal(dst.Scales[2*r:2*r+2], dst.Scales[:2]); same == (r == 5) {
			t.Errorf("row %d: step equal to that of row 0: %v", r, same)
		}
	}
}

// Weights that 8 bits do not reach must not raise the predicted loss at a higher rate, as if they
// were clipped: their rows get wider steps, so they only bound what a rate gains.
func TestRateLossOfOutliers(t *testing.T) {
	const rows, cols = 200, 64
	src := quantizetest.Weights(rows, cols, 3)
	x := make([]float32, cols)
	for r := 0; r < rows; r += 10 {
		new(qtensor.Reader).Row(x, src, r)
		x[7] *= 30
		if err := src.SetFloats(r, x); err != nil {
			t.Fatal(err)
		}
	}
	var schemes []qtensor.Scheme
	for rate := 3; rate <= 7; rate++ {
		schemes = append(schemes, qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Rate: uint16(100 * rate)})
	}
	losses, err := Even(cols).RateLoss(t.Context(), src, schemes, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range losses[1:] {
		most := losses[i]
		if i < 2 {
			most *= 0.8
		}
		if !(losses[i+1] < most) {
			t.Errorf("%v loses %g, %v %g", schemes[i], losses[i], schemes[i+1], losses[i+1])
		}
	}
}

// The steps of rows are in the ratio that they are asked to have.
func TestUnits(t *testing.T) {
	const rows, cols = 96, 64
	src := quantizetest.Weights(rows, cols, 3)
	unit := make([]float32, rows)
	for r := range unit {
		unit[r] = float32(1 + r%2)
	}
	for name, in := range map[string]*Input{MethodRTN: Even(cols), MethodGPTQ: newTarget(t, 1, cols, "int8/row").Input} {
		v, err := Choose(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		dst, err := qtensor.New(qtensor.Scheme{Kind: qtensor.Int, Bits: 8}, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Round(t.Context(), dst, src, in.At(4, unit)); err != nil {
			t.Fatal(err)
		}
		for r := range rows {
			got := qtensor.FromFloat16(binary.LittleEndian.Uint16(dst.Scales[2*r:])) / qtensor.FromFloat16(binary.LittleEndian.Uint16(dst.Scales))
			if got != unit[r] {
				t.Errorf("%s: row %d has %g times the step of row 0, want %g", name, r, got, unit[r])
			}
		}
		n, err := ans.Size(t.Context(), dst)
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(8*n) / (rows * cols); math.Abs(got-4) > 0.4 {
			t.Errorf("%s at 4 bits takes %.3f", name, got)
		}
	}
}
