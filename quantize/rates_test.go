package quantize

import (
	"fmt"
	"math"
	"testing"
)

// However far the sizes of matrices are from their rates, all together they are close.
func TestRateControl(t *testing.T) {
	p := &Plan{}
	for b := range 20 {
		for _, kind := range []string{"q", "down"} {
			e := Entry{Slot: Slot{Name: fmt.Sprintf("blocks.%d.%s", b, kind), Rows: 100, Cols: 100}}
			e.To = scheme(t, "int8/row@4")
			p.Tensors = append(p.Tensors, e)
		}
	}
	c := newRateControl(p)
	sum := 0.0
	for i := range p.Tensors {
		e := &p.Tensors[i]
		off := 0.05 // more than asked for
		if i%2 > 0 {
			off = -0.02
		}
		bits := (c.ask(e) + off + 0.01*math.Sin(float64(i))) * size(e.Slot)
		sum += bits
		c.took(e, int64(bits/8))
	}
	if mean := sum / (40 * 1e4); math.Abs(mean-4) > 0.002 {
		t.Errorf("the matrices take %.4f bits per weight, want 4", mean)
	}
}
