package rounding

import (
	"math"
	"testing"

	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
)

// A sparing rounded matrix has the source's output at one input, and the rounded one's at inputs
// that are orthogonal to it.
func TestSparing(t *testing.T) {
	const rows, cols = 5, 40
	src := quantizetest.Weights(rows, cols, 1)
	q, err := qtensor.New(scheme(t, "int3/g32"), rows, cols)
	if err == nil {
		err = ToNearest(t.Context(), q, src, Even(cols), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	loud, other := make([]float32, cols), make([]float32, cols)
	for i := range loud {
		loud[i] = float32(1000 * (i%7 - 2))
	}
	other[3], other[4] = loud[4], -loud[3]
	output := func(m *qtensor.Matrix, x []float32) (y []float64) {
		for _, row := range quantizetest.Values(m) {
			sum := 0.0
			for i, v := range row {
				sum += float64(v) * float64(x[i])
			}
			y = append(y, sum)
		}
		return y
	}
	spared := Sparing(q, src, loud)
	if err := spared.Check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		like *qtensor.Matrix
		x    []float32
	}{{src, loud}, {q, other}} {
		want := output(c.like, c.x)
		for r, y := range output(spared, c.x) {
			if off := math.Abs(output(q, loud)[r] - output(src, loud)[r]); !(math.Abs(y-want[r]) < 1e-4*off) {
				t.Errorf("row %d gives %g, want %g", r, y, want[r])
			}
		}
	}
}
