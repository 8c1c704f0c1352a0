package quantize

import (
	"math"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Tiny weights, such as those of k where q takes the inverse factor, are reported.
func TestSmallScales(t *testing.T) {
	for _, c := range []struct {
		factor float64
		want   string // of the warning; "" for none
	}{
		{1, ""}, {math.Ldexp(1, -14), "of 4 scales, 4 are below the smallest normal float16 and 0 became zero"}, {math.Ldexp(1, -40), "0 are below the smallest normal float16 and 4 became zero"}, {0, ""},
	} {
		for _, asym := range []bool{false, true} {
			scheme := Scheme{Kind: qtensor.Int, Bits: 4, Group: 8, Asym: asym}
			src, _ := qtensor.New(Scheme{}, 2, 16)
			out, _ := qtensor.New(scheme, 2, 16)
			x := make([]float32, 16)
			for r := range 2 {
				for i := range x {
					x[i] = float32(float64(i%8-3) * 0.1 * c.factor)
				}
				if err := src.SetFloats(r, x); err != nil {
					t.Fatal(err)
				}
				if err := new(qtensor.Rounder).Row(out, r, x); err != nil {
					t.Fatal(err)
				}
			}
			p := &Plan{}
			p.examine(&Entry{Slot: Slot{Name: model.Name(0, model.K)}, To: scheme}, src, out)
			got := strings.Join(p.Warnings(), "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) || got != "" && !strings.HasPrefix(got, "blocks.0.k: ") {
				t.Errorf("factor %g, asym %v: %q, want %q", c.factor, asym, got, c.want)
			}
		}
	}
}
