package kernel

import (
	"fmt"
	"math"
	"testing"
)

// The errors and sums of ranges are those of plain loops with math.RoundToEven.
func TestRanges(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			x, power := row(r, n), row(r, n)
			var step, low, inverse, errors, wantErrors [Ranges]float32
			var sums, want [5][Ranges]float32
			for l := range step {
				step[l] = float32(math.Ldexp(r.Float64()+0.5, r.IntN(12)-14))
				low[l] = float32(r.NormFloat64() / 8)
				inverse[l] = 1 / step[l]
				for i, v := range x {
					q := float32(math.RoundToEven(min(max(float64(float32((v-low[l])*inverse[l])), 0), 15)))
					d := v - (float32(step[l]*q) + low[l])
					wantErrors[l] += float32(power[i] * float32(d*d))
					weighted := float32(power[i] * q)
					for j, term := range []float32{power[i], weighted, float32(weighted * q), float32(power[i] * v), float32(weighted * v)} {
						want[j][l] += term
					}
				}
			}
			RangeErrors(&errors, x, power, &step, &low, &inverse, 15)
			same(t, fmt.Sprint(n, " elements, errors"), errors[:], wantErrors[:])
			RangeSums(&sums, x, power, &low, &inverse, 15)
			for j := range sums {
				same(t, fmt.Sprint(n, " elements, sums ", j), sums[j][:], want[j][:])
			}
		}
	})
}
