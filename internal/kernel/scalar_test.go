package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// slowFMA computes the exact result and rounds it once.
func slowFMA(a, b, c float32) float32 {
	product := new(big.Float).SetPrec(48).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
	sum := new(big.Float).SetPrec(700).Add(product, big.NewFloat(float64(c)))
	if sum.Sign() == 0 { // big.Float does not follow IEEE 754 for the sign of zero
		return float32(float64(a)*float64(b) + float64(c))
	}
	f, _ := sum.Float32()
	return f
}

func TestFMA(t *testing.T) {
	r := seeded(0)
	try := func(a, b, c float32) {
		if got, want := FMA(a, b, c), slowFMA(a, b, c); math.Float32bits(got) != math.Float32bits(want) {
			t.Fatalf("FMA(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	}
	signs := func(a, b, c float32) {
		for i := range 8 {
			x, y, z := a, b, c
			if i&1 != 0 {
				x = -x
			}
			if i&2 != 0 {
				y = -y
			}
			if i&4 != 0 {
				z = -z
			}
			try(x, y, z)
		}
	}
	for range 40000 {
		x := anyFinite(r, 3)
		try(x[0], x[1], x[2])
		// Product and addend of similar size, so that the sum needs rounding.
		exponent := r.IntN(80) - 120
		x[0] = float32(math.Ldexp(1+float64(r.IntN(1<<23))/(1<<23), exponent))
		x[1] = float32(math.Ldexp(1+float64(r.IntN(1<<23))/(1<<23), r.IntN(60)-30))
		x[2] = float32(math.Ldexp(float64(x[0])*float64(x[1]), r.IntN(60)-30))
		signs(x[0], x[1], x[2])
		// Products with few bits often end on a midpoint.
		x[0] = float32(r.IntN(1<<13)) * float32(math.Ldexp(1, r.IntN(40)-160))
		x[1] = float32(r.IntN(1<<13)) * float32(math.Ldexp(1, r.IntN(40)-20))
		signs(x[0], x[1], x[2])
	}
	// The float64 sum is a midpoint of two float32 numbers, and the remainder is
	// far below it.
	midpoint := float32(0x1p-24)
	for _, below := range []float32{0x1p-60, 0x1p-80, 0x1p-100, 0x1p-149} {
		for _, c := range []float32{1, 1 + 0x1p-23, 2 - 0x1p-23} {
			signs(c, 1+0x1p-23, below)
			signs(midpoint*(1+0x1p-12), 1-0x1p-12, c)
			signs(0x1p24+2, 0x1p-24, below)
			signs(below, 1, 0x1.000001p0)
			signs(0x1p-74*c, 0x1p-75, below)
			signs(0x1.8p-75, 0x1p-75, 0x1p-149)
			signs(0x1p-126, 1-0x1p-24, 0x1p-149)
			signs(0x1p-126, c, below)
		}
	}
	signs(math.MaxFloat32, 1, 0x1p103) // the midpoint between MaxFloat32 and 2^128
	signs(math.MaxFloat32, 1, 0x1.fffffep102)
	signs(0x1p64, 0x1p64, math.MaxFloat32)
	signs(0, 1, 0)
	signs(0x1p-100, 0x1p-100, 0)
	signs(0x1p-75, 0x1p-75, 0) // half the smallest subnormal
	signs(0x1.000002p-75, 0x1p-75, 0)
}

// ulps returns the distance between got and want, in units in the last place of
// want.
func ulps(got float32, want float64) float64 {
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

func TestExp(t *testing.T) {
	worst := 0.0
	for u := uint64(0); u < 1<<32; u += 997 {
		x := math.Float32frombits(uint32(u))
		got, want := Exp(x), math.Exp(float64(x))
		switch {
		case x != x:
			if got == got {
				t.Fatalf("Exp(NaN) = %g", got)
			}
		case float32(want) > math.MaxFloat32:
			if got <= math.MaxFloat32 {
				t.Fatalf("Exp(%g) = %g, want +Inf", x, got)
			}
		default:
			e := ulps(got, want)
			worst = max(worst, e)
			if e > 1.5 {
				t.Fatalf("Exp(%g) = %g, want %g: %.2f ulp", x, got, want, e)
			}
		}
	}
	for _, c := range []struct{ x, want float32 }{
		{0, 1}, {float32(math.Copysign(0, -1)), 1}, {float32(math.Inf(-1)), 0}, {float32(math.Inf(1)), float32(math.Inf(1))},
		{88.72283, 3.4027985e+38}, {88.72284, float32(math.Inf(1))}, {-103.97208, 0x1p-149}, {-103.97209, 0}, {-1e30, 0},
		{1e-30, 1},
	} {
		if got := Exp(c.x); got != c.want && ulps(got, float64(c.want)) > 2 {
			t.Errorf("Exp(%g) = %g, want %g", c.x, got, c.want)
		}
	}
	t.Logf("worst error %.3f ulp", worst)
}

func TestRoundToEven(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 100000 {
		x := float32(r.NormFloat64() * 200)
		if i%2 == 0 {
			x = RoundToEven(x) + 0.5
		}
		if got, want := RoundToEven(x), float32(math.RoundToEven(float64(x))); got != want {
			t.Fatalf("RoundToEven(%v) = %v, want %v", x, got, want)
		}
	}
}
