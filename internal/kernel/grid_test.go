package kernel

import (
	"fmt"
	"math"
	"testing"

	"github.com/x448/float16"
)

// TestGridErrors compares each candidate's error with a plain loop that uses
// math.RoundToEven.
func TestGridErrors(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			x, power := row(r, n), row(r, n)
			var scale, inverse, want [Candidates]float32
			for l := range scale {
				scale[l] = float32(math.Ldexp(r.Float64()-0.5, r.IntN(12)-14))
				inverse[l] = 1 / scale[l]
			}
			scale[3], inverse[3] = 0, 0
			for l := range want {
				for i, v := range x {
					q := math.RoundToEven(min(max(float64(v*inverse[l]), -8), 7))
					d := v - float32(scale[l]*float32(q))
					want[l] += float32(power[i] * float32(d*d))
				}
			}
			for _, count := range []int{levels, Candidates} {
				got := row(r, count)
				GridErrors(got, x, power, scale[:count], inverse[:count], -8, 7)
				same(t, fmt.Sprint(n), got, want[:count])
			}
		}
	})
}

// Scales are quotients in float16, from its least to its largest and beyond both.
func TestGridScales(t *testing.T) {
	r := seeded(5)
	var divisor, want, inverse [Candidates]float32
	for range 500 {
		most := float32(math.Ldexp(r.Float64()-0.5, r.IntN(50)-30))
		for l := range divisor {
			divisor[l] = float32(math.Ldexp(r.Float64()+0.1, r.IntN(4)))
			if r.IntN(9) == 0 {
				divisor[l] = float32(math.Inf(1 - 2*(l%2)))
			}
			want[l], inverse[l] = float16.Fromfloat32(most/divisor[l]).Float32(), 0
			if want[l] == 0 || math.Abs(float64(want[l])) > 65504 {
				want[l] = 0
			} else {
				inverse[l] = 1 / want[l]
			}
		}
		eachForm(t, func(t *testing.T) {
			var scale, got [Candidates]float32
			GridScales(&scale, &got, &divisor, most)
			same(t, "scales", scale[:], want[:])
			same(t, "inverses", got[:], inverse[:])
		})
	}
}

// Codes are those of math.RoundToEven, also of clamped values.
func TestGridCodes(t *testing.T) {
	for _, c := range []struct {
		bottom, top float32
		zero        int
	}{{-8, 7, 8}, {-128, 127, 128}, {0, 255, 0}, {0, 3, 0}} {
		eachForm(t, func(t *testing.T) {
			for _, n := range lengths {
				r := seeded(n)
				x, got, want := make([]float32, n), make([]uint8, n), make([]uint8, n)
				low := float32(r.NormFloat64())
				for i := range x {
					x[i] = float32(r.IntN(1200)-600)/2 + low
					if r.IntN(9) == 0 {
						x[i] = float32(math.Ldexp(r.Float64()-0.5, 140))
					}
					v := min(max(float32((x[i]-low)*0.5), c.bottom), c.top)
					want[i] = uint8(int(math.RoundToEven(float64(v))) + c.zero)
				}
				GridCodes(got, x, low, 0.5, c.bottom, c.top, c.zero)
				if string(got) != string(want) {
					t.Errorf("%v, %d elements: %d, want %d", c, n, got, want)
				}
			}
		})
	}
}

func TestLeastAndLargest(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			if n == 0 {
				continue
			}
			r := seeded(n)
			for range 20 {
				x := anyFinite(r, n)
				lo, hi := x[0], x[0]
				for _, v := range x {
					lo, hi = min(lo, v), max(hi, v)
				}
				gotLo, gotHi := Bounds(x)
				same(t, fmt.Sprint(n), []float32{gotLo, gotHi}, []float32{lo + 0, hi + 0})
			}
		}
		negative := float32(math.Copysign(0, -1))
		for _, x := range [][]float32{{negative}, {negative, 0}, make([]float32, 17), {0, negative}} {
			x = append(x, negative)
			lo, hi := Bounds(x)
			same(t, "zeros", []float32{lo, hi}, []float32{0, 0})
		}
	})
}

// A group's descent with each of 16 scales is that of a plain loop with one scale.
func TestGridDescents(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range []int{1, 2, 15, 16, 32, 40} {
			r := seeded(n)
			stride := n + r.IntN(3)
			value, g, h := row(r, n), row(r, n), row(r, n*stride)
			var scale, inverse, change [Descents]float32
			for l := range scale {
				scale[l] = float32(math.Ldexp(r.Float64()-0.5, r.IntN(6)-4))
				inverse[l] = 1 / scale[l]
			}
			for i := range n {
				h[i*stride+i] = 1 + r.Float32()
			}
			codes, memory := make([][Descents]float32, n), make([][Descents]float32, n)
			GridDescents(&change, codes, memory, value, g, h[:(n-1)*stride+n], stride, &scale, &inverse, -8, 7)
			for l, s := range scale {
				want, left := float32(0), append([]float32(nil), g...)
				for i, v := range value {
					x := float64(float32((v + left[i]/h[i*stride+i]) * inverse[l]))
					c := float32(math.RoundToEven(min(max(x, -8), 7))) + 0 // never -0
					step := float32(s*c) - v
					want += float32(step * (float32(step*h[i*stride+i]) - float32(2*left[i])))
					for j := i + 1; j < n; j++ {
						left[j] -= float32(step * h[i*stride+j])
					}
					same(t, fmt.Sprintf("%d columns, scale %d, code %d", n, l, i), codes[i][l:l+1], []float32{c})
				}
				same(t, fmt.Sprintf("%d columns, scale %d", n, l), change[l:l+1], []float32{want})
			}
		}
	})
}
