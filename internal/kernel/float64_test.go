package kernel

import (
	"math"
	"math/big"
	"testing"
)

// The reference functions sum the plain series with 400 bits of precision, after
// the simplest argument reduction.

const precision = 400

func number(x float64) *big.Float { return new(big.Float).SetPrec(precision).SetFloat64(x) }

func zero() *big.Float { return new(big.Float).SetPrec(precision) }

var bigPi, _ = zero().SetString("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651")

// bigExp halves x 20 times, sums the series, and squares the sum 20 times.
func bigExp(x *big.Float) *big.Float {
	const halvings = 20
	r := zero().SetMantExp(x, -halvings)
	sum, term := number(1), number(1)
	for n := 1; n < 60; n++ {
		term.Quo(zero().Mul(term, r), number(float64(n)))
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum
}

// bigLog starts from an approximation with 50 correct bits and takes Newton
// steps y += x/exp(y) - 1. The start avoids math.Log(x), which is wrong for
// subnormal numbers on some architectures.
func bigLog(x float64) *big.Float {
	m, k := math.Frexp(x)
	y := number(math.Log(m) + float64(k)*math.Ln2)
	for range 3 {
		q := zero().Quo(number(x), bigExp(y))
		y.Add(y, q.Sub(q, number(1)))
	}
	return y
}

func bigSin(x *big.Float) *big.Float {
	turns, _ := zero().Quo(x, bigPi).Int64()
	r := zero().Sub(x, zero().Mul(number(float64(turns)), bigPi))
	if turns%2 != 0 {
		r.Neg(r)
	}
	sum, term, square := zero().Set(r), zero().Set(r), zero().Mul(r, r)
	for n := 2; n < 100; n += 2 {
		term.Quo(zero().Mul(term, square), number(-float64(n*(n+1))))
		sum.Add(sum, term)
	}
	return sum
}

// ulps64 returns the distance between got and want, in units in the last place
// of want.
func ulps64(got float64, want *big.Float) float64 {
	e := want.MantExp(nil)
	d := zero().Sub(number(got), want)
	f, _ := d.SetMantExp(d, -max(e-53, -1074)).Float64()
	return math.Abs(f)
}

func TestFloat64(t *testing.T) {
	r := seeded(0)
	tests := []struct {
		name string
		f    func(float64) float64
		want func(float64) *big.Float
		draw func() float64
	}{
		{"Exp64", Exp64, func(x float64) *big.Float { return bigExp(number(x)) }, func() float64 { return r.Float64()*1450 - 742 }},
		{"Exp64", Exp64, func(x float64) *big.Float { return bigExp(number(x)) }, func() float64 { return r.NormFloat64() }},
		{"Log64", Log64, bigLog, func() float64 { return math.Ldexp(1+r.Float64(), r.IntN(2000)-1070) }},
		{"Log64", Log64, bigLog, func() float64 { return 1 + r.NormFloat64()*math.Ldexp(1, -2-r.IntN(45)) }},
		{"Pow64", func(x float64) float64 { return Pow64(x, math.Sqrt(x)-9) }, func(x float64) *big.Float {
			return bigExp(zero().Mul(number(math.Sqrt(x)-9), bigLog(x)))
		}, func() float64 { return r.Float64() * 7000 }},
		{"Pow64", func(x float64) float64 { return Pow64(1e6, x) }, func(x float64) *big.Float {
			return bigExp(zero().Mul(number(x), bigLog(1e6)))
		}, func() float64 { return r.Float64()*2 - 1 }},
		{"Sin64", Sin64, func(x float64) *big.Float { return bigSin(number(x)) }, func() float64 { return r.NormFloat64() }},
		{"Sin64", Sin64, func(x float64) *big.Float { return bigSin(number(x)) }, func() float64 { return (r.Float64()*2 - 1) * (1 << 30) }},
		{"Sin64 near its zeros", Sin64, func(x float64) *big.Float { return bigSin(number(x)) }, func() float64 { return math.Pi * float64(r.IntN(1<<28)) }},
		{"Cos64", Cos64, func(x float64) *big.Float {
			return bigSin(zero().Add(number(x), zero().Quo(bigPi, number(2))))
		}, func() float64 { return (r.Float64()*2 - 1) * math.Ldexp(1, r.IntN(31)) }},
	}
	count := 1000
	if testing.Short() {
		count = 150
	}
	for _, c := range tests {
		worst := 0.0
		for range count {
			x := c.draw()
			e := ulps64(c.f(x), c.want(x))
			worst = max(worst, e)
			if e > 2 {
				t.Fatalf("%s: at %x got %x, want %.20g: %.2f ulp", c.name, x, c.f(x), c.want(x), e)
			}
		}
		t.Logf("%s: worst error %.3f ulp", c.name, worst)
	}
}

func TestFloat64Extremes(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"Exp64(0)", Exp64(0), 1}, {"Exp64(-Inf)", Exp64(-inf), 0}, {"Exp64(+Inf)", Exp64(inf), inf}, {"Exp64(NaN)", Exp64(nan), nan},
		{"Exp64(709.79)", Exp64(709.79), inf}, {"Exp64(-745.2)", Exp64(-745.2), 0}, {"Exp64(-745.1)", Exp64(-745.1), 0x1p-1074},
		{"Log64(0)", Log64(0), -inf}, {"Log64(1)", Log64(1), 0}, {"Log64(-1)", Log64(-1), nan}, {"Log64(+Inf)", Log64(inf), inf},
		{"Log64(NaN)", Log64(nan), nan}, {"Pow64(2, 0)", Pow64(2, 0), 1}, {"Pow64(2, 10)", Pow64(2, 10), 1024},
		{"Pow64(2, -1074)", Pow64(2, -1074), 0x1p-1074}, {"Pow64(2, 1024)", Pow64(2, 1024), inf}, {"Pow64(2, -1080)", Pow64(2, -1080), 0},
		{"Pow64(10, 15)", Pow64(10, 15), 1e15}, {"Pow64(1, NaN)", Pow64(1, nan), 1}, {"Pow64(2, NaN)", Pow64(2, nan), nan},
		{"Pow64(1e300, 1e300)", Pow64(1e300, 1e300), inf}, {"Pow64(1e300, -1e300)", Pow64(1e300, -1e300), 0},
		{"Pow64(0, 1)", Pow64(0, 1), 0}, {"Sin64(0)", Sin64(0), 0}, {"Cos64(0)", Cos64(0), 1}, {"Sin64(Inf)", Sin64(inf), nan},
		{"Cos64(NaN)", Cos64(nan), nan},
	} {
		if c.got != c.want && (c.got == c.got || c.want == c.want) {
			t.Errorf("%s = %g, want %g", c.name, c.got, c.want)
		}
	}
}

// Exps64 has the bits of Exp64 where that underflows, overflows or has no number, too.
func TestExps64(t *testing.T) {
	special := []float32{0, float32(math.Copysign(0, -1)), 1, -1, 88.7, 709.7, 709.8, 710, 711, 800, -707, -708.5, -720, -744, -745.2, -746, -747, -1e30, 1e30,
		math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1e-30, -1e-8}
	r := seeded(64)
	for range 5000 {
		special = append(special, float32(r.Float64()*1500-760), float32(r.NormFloat64()*8))
	}
	eachForm(t, func(t *testing.T) {
		for _, bias := range []float64{0, 0.1, -3, 17.25} {
			got := make([]float64, len(special))
			Exps64(got, special, bias)
			for i, x := range special {
				want := Exp64(float64(x) - bias)
				if math.Float64bits(got[i]) != math.Float64bits(want) && (got[i] == got[i] || want == want) {
					t.Fatalf("exp(%v - %v) is %v, want %v", x, bias, got[i], want)
				}
			}
		}
	})
}
