package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// lengths lie at and around the block and register sizes of all forms.
var lengths = []int{0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 127, 576, 1027}

// eachForm runs body once for each form that this processor can run.
func eachForm(t *testing.T, body func(t *testing.T)) {
	defer func(f *form) { best = f }(best)
	for _, f := range forms {
		best = f
		t.Run(f.name, body)
	}
}

// row returns n random values of mixed magnitudes and signs, some of them zero.
func row(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.Ldexp(float64(r.IntN(1<<24)-1<<23), r.IntN(24)-30))
		if r.IntN(20) == 0 {
			x[i] = 0
		}
	}
	return x
}

// anyFinite returns n random finite values of any bit pattern.
func anyFinite(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		for {
			x[i] = math.Float32frombits(r.Uint32())
			if x[i]-x[i] == 0 {
				break
			}
		}
	}
	return x
}

func seeded(n int) *rand.Rand { return rand.New(rand.NewPCG(3, uint64(n))) }

// same fails unless got and want have the same bits, except that any NaN matches
// any other.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range want {
		g, w := got[i], want[i]
		if math.Float32bits(g) != math.Float32bits(w) && (g == g || w == w) {
			t.Fatalf("%s: element %d of %d is %g (%#08x), want %g (%#08x)", what, i, len(want),
				g, math.Float32bits(g), w, math.Float32bits(w))
		}
	}
}

func equal(t *testing.T, what string, got, want float32) {
	t.Helper()
	same(t, what, []float32{got}, []float32{want})
}

// The slow functions are the package comment in the simplest loops.

func slowReduce(s []float32) float32 {
	for n := len(s) / 2; n > 0; n /= 2 {
		for i := range n {
			s[i] += s[i+n]
		}
	}
	return s[0]
}

func slowDot(a, b []float32) float32 {
	s := make([]float32, 16)
	for i := range (len(a) + 15) / 16 * 16 {
		var x, y float32
		if i < len(a) {
			x, y = a[i], b[i]
		}
		s[i%16] = slowFMA(x, y, s[i%16])
	}
	return slowReduce(s)
}

func slowSum(x []float32) float32 {
	s := make([]float32, 16)
	for i, v := range x {
		s[i%16] += v
	}
	return slowReduce(s)
}

func TestDot(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			for _, fill := range []func(*rand.Rand, int) []float32{row, anyFinite} {
				r := seeded(n)
				a, b := fill(r, n), fill(r, n)
				equal(t, fmt.Sprint("Dot ", n), Dot(a, b), slowDot(a, b))
			}
		}
		// A product that underflows is -0; adding the padding's +0 makes it +0.
		tiny := []float32{-1e-40}
		equal(t, "Dot of underflow", Dot(tiny, []float32{1e-40}), 0)
	})
}

func TestSum(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			x := row(seeded(n), n)
			equal(t, fmt.Sprint("Sum ", n), Sum(x), slowSum(x))
		}
	})
}

func TestGemm(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, k := range []int{0, 16, 32, 48, 64, 80, 576, 1536} {
			for _, size := range [][2]int{{1, 1}, {1, 2}, {1, 5}, {1, 6}, {1, 7}, {1, 13}, {2, 1}, {2, 3}, {3, 2}, {3, 3}, {4, 6}, {5, 7}, {7, 5}, {13, 1}, {8, 12}, {9, 25}, {17, 23}, {34, 49}} {
				gemmAt(t, size[0], size[1], k)
			}
		}
		gemmAt(t, 150, 100, 64) // more than one cache block in each direction
		for _, size := range [][3]int{{12, 16, 64}, {13, 17, 64}, {17, 31, 80}, {18, 48, 576}, {24, 12, 256}, {30, 15, 1536}} {
			gemmAt(t, size[0], size[1], size[2])
		}
	})
}

func gemmAt(t *testing.T, m, n, k int) {
	t.Helper()
	r := seeded(m<<20 + n<<10 + k)
	lda, ldb, ldc := k+r.IntN(3), k+r.IntN(3), n+r.IntN(3)
	a, b := row(r, (m-1)*lda+k), row(r, (n-1)*ldb+k)
	got := row(r, (m-1)*ldc+n)
	want := append([]float32(nil), got...)
	for i := range m {
		for j := range n {
			want[i*ldc+j] = portableDot(a[i*lda:i*lda+k], b[j*ldb:j*ldb+k])
		}
	}
	Gemm(got, ldc, a, lda, b, ldb, m, n, k)
	same(t, fmt.Sprintf("Gemm m=%d n=%d k=%d lda=%d ldb=%d ldc=%d", m, n, k, lda, ldb, ldc), got, want)
	var left Left
	left.Set(a, lda, m, k)
	clear(got)
	left.Gemm(got, ldc, b, ldb, n)
	for i := range m {
		same(t, fmt.Sprintf("Left.Gemm m=%d n=%d k=%d lda=%d ldb=%d ldc=%d row %d", m, n, k, lda, ldb, ldc, i), got[i*ldc:][:n], want[i*ldc:][:n])
	}
}

// portableDot is faster than slowDot; TestDot compares the two.
func portableDot(a, b []float32) float32 {
	s := dotPortable(a, b)
	return reduce(&s)
}

// MixRows gives the bits of Mix for each row.
func TestMixRows(t *testing.T) {
	for i, cols := range []int{16, 48, 64, 80, 128, 144, 7, 67} {
		for _, m := range []int{0, 1, 3, 4, 5, 8, 11} {
			n, ldd, ldv := (i+m)%5, cols+i, cols+m
			ldp := n + m + i
			r := seeded(100*i + m)
			p, v := row(r, m*ldp+1), row(r, (n+m)*ldv+cols)
			want := make([]float32, m*ldd+cols)
			for j := range m {
				for c := range cols {
					for k := range n + j {
						want[j*ldd+c] = slowFMA(p[j*ldp+k], v[k*ldv+c], want[j*ldd+c])
					}
				}
			}
			eachForm(t, func(t *testing.T) {
				got := make([]float32, len(want))
				MixRows(got, ldd, p, ldp, m, n, v, ldv, cols)
				same(t, fmt.Sprintf("MixRows %d of %d by %d", m, n, cols), got, want)
			})
		}
	}
}

func TestMix(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, d := range lengths {
			for _, n := range []int{0, 1, 2, 5, 33} {
				r := seeded(d<<10 + n)
				ldv := d + r.IntN(3)
				p, v := row(r, n), row(r, max(0, (n-1)*ldv+d))
				want := make([]float32, d)
				for i := range want {
					for j := range n {
						want[i] = FMA(p[j], v[j*ldv+i], want[i])
					}
				}
				got := row(r, d)
				Mix(got, p, v, ldv)
				same(t, fmt.Sprintf("Mix %d of %d", n, d), got, want)
			}
		}
	})
}

func TestMul(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			x, y := anyFinite(r, n), anyFinite(r, n)
			want := make([]float32, n)
			for i := range want {
				want[i] = x[i] * y[i]
			}
			Mul(x, y)
			same(t, fmt.Sprint("Mul ", n), x, want)
		}
	})
}

func TestRMSNorm(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			x, w, got, want := row(r, n), row(r, n), make([]float32, n), make([]float32, n)
			scale := float32(1 / math.Sqrt(float64(slowDot(x, x))/float64(n)+float64(float32(1e-5))))
			for i := range want {
				normed := x[i] * scale
				want[i] = w[i] * normed
			}
			RMSNorm(got, x, w, 1e-5)
			same(t, fmt.Sprint("RMSNorm ", n), got, want)
			RMSNorm(x, x, w, 1e-5)
			same(t, fmt.Sprint("RMSNorm in place ", n), x, want)
		}
	})
}

// slowSoftmax returns the softmax of x by its definition, with slowSum.
func slowSoftmax(x []float32) []float32 {
	top := float32(math.Inf(-1))
	for _, v := range x {
		top = max(top, v)
	}
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = Exp(v - top)
	}
	d := slowSum(y)
	for i := range y {
		y[i] /= d
	}
	return y
}

// softmaxCases returns rows of n elements: random ones, the same with extreme
// values at random places, and one that is -Inf throughout.
func softmaxCases(n int) (cases [][]float32) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	r := seeded(n)
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * 30)
	}
	cases = append(cases, x)
	for _, v := range []float32{-inf, inf, nan, -1e38} {
		y := slices.Clone(x)
		for i := range y {
			if r.IntN(5) == 0 {
				y[i] = v
			}
		}
		cases = append(cases, y)
	}
	return append(cases, slices.Repeat([]float32{-inf}, n))
}

func TestSoftmax(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			for i, x := range softmaxCases(n) {
				want := slowSoftmax(x)
				Softmax(x)
				same(t, fmt.Sprintf("Softmax %d, case %d", n, i), x, want)
			}
		}
	})
}

func TestAdd(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			x, y, want := row(r, n), row(r, n), make([]float32, n)
			for i := range want {
				want[i] = x[i] + y[i]
			}
			Add(x, y)
			same(t, fmt.Sprint("Add ", n), x, want)
		}
	})
}

func TestActivations(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			x, y, got, want := row(r, n), row(r, n), make([]float32, n), make([]float32, n)
			for i := range x {
				want[i] = x[i] / (1 + Exp(-x[i])) * y[i]
			}
			SiLUMul(got, x, y)
			same(t, fmt.Sprint("SiLUMul ", n), got, want)
			SiLUMul(y, x, y)
			same(t, fmt.Sprint("SiLUMul onto up ", n), y, want)

			for i, g := range x {
				u := g * slowFMA(gelu1, float32(g*g), gelu0)
				want[i] = g / (1 + Exp(-u)) * got[i]
			}
			GELUMul(got, x, got)
			same(t, fmt.Sprint("GELUMul onto up ", n), got, want)
		}
		g := []float32{float32(math.Inf(1)), -1e30, 1e30, -100, 100, 0, float32(math.Copysign(0, -1)), float32(math.NaN()),
			float32(math.Inf(-1)), 88.8, -88.8, -103.5, 1e-40, -1e-40, 5, -5}
		want := make([]float32, len(g))
		for i := range g {
			want[i] = g[i] / (1 + Exp(-g[i]))
		}
		SiLUMul(g, g, slices.Repeat([]float32{1}, len(g)))
		same(t, "SiLUMul of extreme values", g, want)
	})
}

func TestRotate(t *testing.T) {
	eachForm(t, func(t *testing.T) {
		for _, n := range lengths {
			r := seeded(n)
			x, cos, sin := row(r, 2*n), row(r, n), row(r, n)
			pairs, want := make([]float32, 2*n), make([]float32, 2*n)
			for i := range n {
				pairs[2*i], pairs[2*i+1] = x[i], x[i+n]
				want[i] = float32(x[i]*cos[i]) - float32(x[i+n]*sin[i])
				want[i+n] = float32(x[i+n]*cos[i]) + float32(x[i]*sin[i])
			}
			RotatePairs(pairs, cos, sin)
			for i := range n {
				same(t, fmt.Sprint("RotatePairs ", n), pairs[2*i:2*i+2], []float32{want[i], want[i+n]})
			}
			Rotate(x, cos, sin)
			same(t, fmt.Sprint("Rotate ", n), x, want)
		}
	})
}

// TestGELU compares GELUMul with the tanh formula in float64.
func TestGELU(t *testing.T) {
	one, got := []float32{1}, make([]float32, 1)
	for x := -12.0; x <= 12; x += 0.001 {
		g := float64(float32(x))
		want := g / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(g+0.044715*g*g*g)))
		GELUMul(got, []float32{float32(x)}, one)
		// Rounding the exponent u costs up to |u| units in the last place.
		if d := math.Abs(float64(got[0]) - want); d > 1e-6*math.Abs(want)+1e-8 {
			t.Fatalf("gelu(%g) = %g, want %g", g, got[0], want)
		}
	}
	inf := float32(math.Inf(1))
	for g, want := range map[float32]float32{0: 0, 1e30: 1e30, inf: inf, -1e30: 0} {
		if GELUMul(got, []float32{g}, one); got[0] != want {
			t.Errorf("gelu(%g) = %g, want %g", g, got[0], want)
		}
	}
}

func TestLayerNorm(t *testing.T) {
	const eps = 1e-5
	for _, n := range []int{1, 2, 15, 16, 17, 60, 576, 1027} {
		r := seeded(n)
		x, w, b := make([]float32, n), row(r, n), row(r, n)
		for i := range x {
			x[i] = float32(r.NormFloat64()*3 + 5)
		}
		var mean, square float64
		for _, v := range x {
			mean += float64(v) / float64(n)
		}
		for _, v := range x {
			square += (float64(v) - mean) * (float64(v) - mean) / float64(n)
		}
		got := make([]float32, n)
		LayerNorm(got, x, w, b, eps)
		for i, v := range x {
			y := (float64(v) - mean) / math.Sqrt(square+eps)
			want := y*float64(w[i]) + float64(b[i])
			if d := math.Abs(float64(got[i]) - want); d > 2e-6*(1+math.Abs(y))*math.Abs(float64(w[i]))+1e-6*math.Abs(want) && n > 1 {
				t.Fatalf("element %d of %d is %g, want %g", i, n, got[i], want)
			}
		}
		LayerNorm(x, x, w, b, eps)
		same(t, "LayerNorm in place", x, got)
	}
	x := []float32{7}
	LayerNorm(x, x, []float32{3}, []float32{-2}, eps)
	equal(t, "LayerNorm of one element", x[0], -2)
}

// TestLengths checks that mismatched lengths panic before any loop runs.
func TestLengths(t *testing.T) {
	x, y, b := make([]float32, 32), make([]float32, 31), make([]byte, 32)
	for name, f := range map[string]func(){
		"Dot":                 func() { Dot(x, y) },
		"Gemm, k":             func() { Gemm(x, 1, x, 15, x, 15, 1, 1, 15) },
		"Gemm, a":             func() { Gemm(x, 1, y, 16, x, 16, 2, 1, 16) },
		"Gemm, b":             func() { Gemm(x, 2, x, 16, y, 16, 1, 2, 16) },
		"Gemm, c":             func() { Gemm(x, 31, x, 0, x, 0, 2, 2, 16) },
		"Gemm, rows of c":     func() { Gemm(x, 1, x, 0, x, 0, 2, 2, 16) },
		"Mix":                 func() { Mix(x, x[:2], y, 0) },
		"MixRows":             func() { MixRows(x, 1, x, 1, 3, 1, y[:2], 1, 1) },
		"Add":                 func() { Add(x, y) },
		"RMSNorm":             func() { RMSNorm(x, x, y, 0) },
		"LayerNorm":           func() { LayerNorm(y, x, x, x, 0) },
		"LayerNorm, bias":     func() { LayerNorm(x, x, x, y, 0) },
		"GELUMul":             func() { GELUMul(x, x, y) },
		"SiLUMul":             func() { SiLUMul(y, x, x) },
		"Rotate":              func() { Rotate(y, x[:16], x[:16]) },
		"RotatePairs":         func() { RotatePairs(y, x[:16], x[:16]) },
		"FromF16":             func() { FromF16(x, b) },
		"FromBF16":            func() { FromBF16(x, b) },
		"FromF32":             func() { FromF32(x, b) },
		"Unpack":              func() { Unpack(b, b, 4, 0, false) },
		"Unpack, bits":        func() { Unpack(b, b[:12], 3, 0, false) },
		"Unpack, shift":       func() { Unpack(b, b[:16], 4, 5, false) },
		"Affine":              func() { Affine(y, b, x[:1], x[:1], 32) },
		"Affine, groups":      func() { Affine(x, b, x[:1], x[:1], 16) },
		"Affine, empty group": func() { Affine(x, b, x[:1], x[:1], 0) },
	} {
		func() {
			defer func() {
				if _, ok := recover().(string); !ok {
					t.Errorf("%s: want a panic about lengths", name)
				}
			}()
			f()
		}()
	}
}

// DotRows has the bits of Dot over widened rows.
func TestDotRows(t *testing.T) {
	widen := []func(dst []float32, src []byte){F32: FromF32, F16: FromF16, BF16: FromBF16}
	for kind, from := range widen {
		for _, k := range []int{0, 16, 48, 576} {
			for _, n := range []int{0, 1, 5, 6, 7, 12, 13, 31} {
				r := seeded(k + n)
				w, x := make([]byte, n*k*Float(kind).size()), row(r, k)
				for i := range w {
					w[i] = byte(r.IntN(120) | r.IntN(2)<<7) // no NaN
				}
				want := make([]float32, n)
				for j := range want {
					wide := make([]float32, k)
					from(wide, w[j*k*Float(kind).size():][:k*Float(kind).size()])
					want[j] = Dot(x, wide)
				}
				eachForm(t, func(t *testing.T) {
					got := make([]float32, n)
					DotRows(got, x, w, Float(kind))
					same(t, fmt.Sprintf("type %d, %d rows of %d", kind, n, k), got, want)
				})
			}
		}
	}
}
