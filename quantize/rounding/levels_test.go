package rounding

import (
	"testing"

	"thimble/internal/qtensor"
)

// Moving levels lowers the loss further than moving codes alone, whatever the row.
func TestMovedLevelsLowerTheLoss(t *testing.T) {
	skipQuality(t)
	const rows, cols = 24, 160
	for _, text := range []string{"int3/g16/s4", "int4/g16/s4", "int5/g32/s4"} {
		total := func(move bool) (sum float64) {
			p := swept(t, rows, cols, text)
			if !move {
				p.choice = nil
			}
			p.descend()
			for _, loss := range p.losses() {
				sum += loss
			}
			p.store()
			for r := range rows { // what is stored has the scales that the loss is of
				_, scales, _ := new(qtensor.Reader).Codes(p.dst, r)
				for g, bits := range p.scale[r] {
					if scales[g] != bits {
						t.Fatalf("%s: row %d, group %d: scale %#x is stored as %#x", text, r, g, bits, scales[g])
					}
				}
			}
			return sum
		}
		codes, levels := total(false), total(true)
		t.Logf("%s: loss %g, %g with levels as the search chose them", text, levels, codes)
		if !(levels < codes) {
			t.Errorf("%s: moving levels takes the loss from %g to %g", text, codes, levels)
		}
	}
}
