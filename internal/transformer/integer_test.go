package transformer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// slowInteger computes one output by the formula in docs/NUMERICS.md, in plain
// loops over integers. Weights are scale*(code-zero), or scale*code + offset in an
// asymmetric scheme.
func slowInteger(x []float32, codes []uint8, scale, offset []float32, s qtensor.Scheme, weightGroup, inputGroup int) float32 {
	y := float32(0)
	var step, inverse float32
	for lo, hi := 0, 0; lo < len(x); lo = hi {
		if lo%inputGroup == 0 {
			step, inverse = slowScale(x[lo:min(lo+inputGroup, len(x))])
		}
		var dot, sum int32
		for ; hi < len(x) && hi/weightGroup == lo/weightGroup && hi/inputGroup == lo/inputGroup; hi++ {
			a := int32(math.RoundToEven(float64(float32(x[hi] * inverse))))
			q := int32(codes[hi])
			if !s.Asym {
				q -= int32(s.Zero())
			}
			dot += q * a
			sum += a
		}
		g := lo / weightGroup
		y = kernel.FMA(step, scale[g]*float32(dot), y)
		if s.Asym {
			y = kernel.FMA(step*float32(sum), offset[g], y)
		}
	}
	return y
}

func slowScale(x []float32) (step, inverse float32) {
	maxAbs := 0.0
	for _, v := range x {
		maxAbs = max(maxAbs, math.Abs(float64(v)))
	}
	if 127/maxAbs > math.MaxFloat32 {
		return 0, 0
	}
	return float32(maxAbs) / 127, 127 / float32(maxAbs)
}

// randomMatrix returns a matrix with random codes, and random scales and minimums
// of typical size.
func randomMatrix(t *testing.T, r *rand.Rand, s qtensor.Scheme, rows, cols int) *qtensor.Matrix {
	t.Helper()
	m, err := qtensor.New(s, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	if s.Kind == qtensor.Foreign {
		for i := range m.Codes {
			m.Codes[i] = byte(r.Uint32()) &^ 0x40 // so that no float16 is infinite
		}
		return m
	}
	half := func() uint16 { return uint16(0x1c00 + r.IntN(0x1800) | r.IntN(2)<<15) }
	groups := s.Groups(cols)
	codes, scales, mins := make([]uint8, cols), make([]uint16, groups), make([]uint16, groups)
	for i := range rows {
		for j := range codes {
			codes[j] = uint8(r.IntN(1 << s.Bits))
		}
		if i%2 == 0 { // sums that are nearly as large as possible
			for j := range codes {
				codes[j] = uint8(1<<s.Bits - 1 - r.IntN(2))
			}
		}
		for g := range groups {
			scales[g], mins[g] = half(), half()
		}
		m.SetRow(i, codes, scales, mins)
	}
	return m
}

// checkInteger compares the integer product of w and n random positions with
// slowInteger.
func checkInteger(t *testing.T, r *rand.Rand, w *qtensor.Matrix, a Activations, n int) {
	t.Helper()
	native, _ := w.Scheme.Native()
	weightGroup, inputGroup := native.Group, a.Group
	if weightGroup == 0 {
		weightGroup = w.Cols
	}
	if inputGroup == 0 {
		inputGroup = weightGroup
	}
	x, y := newRows(n, w.Cols), newRows(n, w.Rows)
	for i := range n {
		for j := range x.row(i) {
			x.row(i)[j] = float32(r.NormFloat64() * math.Ldexp(1, r.IntN(12)-6))
			if i == 0 {
				x.row(i)[j] = float32(127 - r.IntN(2))
			}
			if i == 1 {
				x.row(i)[j] *= 1e-37
			}
			if i == 2 && j < 40 {
				x.row(i)[j] = 0
			}
		}
	}
	bias := make([]float32, w.Rows)
	for i := range bias {
		bias[i] = float32(r.NormFloat64())
	}
	d := (&Decoder{arithmetic: Arithmetic{Activations: a}}).prepare()
	if err := d.apply(t.Context(), x, product{y, linear{w: w, bias: bias}}); err != nil {
		t.Fatal(err)
	}
	var reader qtensor.Reader
	for j := range w.Rows {
		codes, scale, offset := reader.Integers(w, j)
		for i := range n {
			want := slowInteger(x.row(i), codes, scale, offset, native, weightGroup, inputGroup) + bias[j]
			if got := y.row(i)[j]; math.Float32bits(got) != math.Float32bits(want) {
				t.Fatalf("%v (%d, %d), %v: position %d of %d, row %d is %v, want %v", w.Scheme, w.Rows, w.Cols, a, i, n, j, got, want)
			}
		}
	}
}

// The product of codes in float32 has the same bits as plain loops over integers,
// for every width, group and shape.
func TestIntegerProduct(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	activations := []int{0, 0, WholeRow, 8, 32, 64, 1024}
	shapes := 3
	if testing.Short() { // the emulator
		shapes = 1
	}
	for bits := 2; bits <= 8; bits++ {
		for _, group := range []int{8, 16, 24, 32, 64, 256, 1024, 0} {
			for _, kind := range []string{"sym", "asym", "s4", "nl"} {
				s := qtensor.Scheme{Kind: qtensor.Int, Bits: bits, Group: group, Asym: kind == "asym", Short: kind == "s4", Uneven: kind == "nl"}
				if s.Short && group != 16 && group != 64 || s.Uneven && bits != 4 {
					continue
				}
				for range shapes {
					cols := 1 + r.IntN(300)
					if group > 256 || group == 0 {
						cols = 1 + r.IntN(2500)
					}
					if group == 16 {
						cols = kernel.Block * (1 + r.IntN(20))
					}
					n := []int{1, 3, 17, 33}[r.IntN(4)]
					w := randomMatrix(t, r, s, 1+r.IntN(70), cols)
					checkInteger(t, r, w, Activations{true, activations[r.IntN(len(activations))]}, n)
				}
			}
		}
	}
	for _, l := range []*qtensor.Layout{qtensor.Q4_0, qtensor.Q4_1, qtensor.Q5_0, qtensor.Q5_1, qtensor.Q8_0, qtensor.IQ4_NL, qtensor.Q4_K, qtensor.Q5_K, qtensor.Q6_K} {
		for _, group := range activations[1:] {
			checkInteger(t, r, randomMatrix(t, r, l.Foreign(), 5, l.Cols*3), Activations{true, group}, 4)
		}
	}
}

// Copies of other programs' blocks, whose scales may be float32 numbers, do too.
func TestIntegerProductPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	var d qtensor.Reader
	for _, l := range []*qtensor.Layout{qtensor.Q4_0, qtensor.Q2_K, qtensor.Q3_K, qtensor.Q4_K, qtensor.Q5_K, qtensor.Q6_K} {
		m := randomMatrix(t, r, l.Foreign(), 37, 1024)
		c := m.PlainCopy()
		for i := range m.Rows {
			d.CopyPlain(c, m, i)
		}
		for _, n := range []int{1, 3} {
			for _, group := range []int{0, WholeRow} {
				checkInteger(t, r, c, Activations{true, group}, n)
			}
		}
	}
}

// Sums that float32 cannot represent are added as integers and rounded once.
func TestIntegerProductLong(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, s := range []string{"int8/row", "int8/row/asym", "int8/g4096/asym", "int7/row"} {
		scheme, err := qtensor.ParseScheme(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, cols := range []int{511, 512, 513, 14336} {
			checkInteger(t, r, randomMatrix(t, r, scheme, 15, cols), Activations{true, WholeRow}, 2)
		}
	}
}

// Rounding activations changes each product by at most half a step.
func TestIntegerProductIsClose(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	w := randomMatrix(t, r, qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}, 40, 333)
	x, y, exact := newRows(6, w.Cols), newRows(6, w.Rows), newRows(6, w.Rows)
	for i := range x.n {
		for j := range x.row(i) {
			x.row(i)[j] = float32(r.NormFloat64())
		}
	}
	d := new(Decoder).prepare()
	if err := d.apply(t.Context(), x, product{exact, linear{w: w}}); err != nil {
		t.Fatal(err)
	}
	for _, group := range []int{0, WholeRow} {
		d.arithmetic.Activations = Activations{true, group}
		if err := d.apply(t.Context(), x, product{y, linear{w: w}}); err != nil {
			t.Fatal(err)
		}
		row := make([]float32, w.Cols)
		for j := range w.Rows {
			new(qtensor.Reader).Row(row, w, j)
			total := 0.0
			for _, v := range row {
				total += math.Abs(float64(v))
			}
			for i := range x.n {
				maxAbs := math.Abs(float64(x.row(i)[qtensor.LargestMagnitude(x.row(i))]))
				if e, limit := math.Abs(float64(y.row(i)[j]-exact.row(i)[j])), 0.51*total*maxAbs/127; e > limit {
					t.Errorf("group %d: output (%d, %d) has an error of %g, want at most %g", group, i, j, e, limit)
				}
			}
		}
	}
}

// A non-finite input makes every output of its position NaN, and no other output.
func TestIntegerProductNotFinite(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, text := range []string{"int4/g32", "int4/g32/asym", "int8/row/asym"} {
		s, err := qtensor.ParseScheme(text)
		if err != nil {
			t.Fatal(err)
		}
		w := randomMatrix(t, r, s, 20, 1100)
		x, y := newRows(3, w.Cols), newRows(3, w.Rows)
		x.row(0)[7], x.row(2)[1000] = float32(math.NaN()), float32(math.Inf(-1))
		d := (&Decoder{arithmetic: Arithmetic{Activations: Activations{Int8: true}}}).prepare()
		if err := d.apply(t.Context(), x, product{y, linear{w: w}}); err != nil {
			t.Fatal(err)
		}
		for i := range x.n {
			for j, v := range y.row(i) {
				if isNaN := v != v; isNaN != (i != 1) {
					t.Fatalf("%s: output (%d, %d) is %v", text, i, j, v)
				}
			}
		}
	}
}

func TestSegmentRow(t *testing.T) {
	for _, c := range []struct {
		cols, weights, inputs int
		want                  string
		width                 int
		storable              bool
	}{
		{70, 32, 32, "[{0 0 0 32 0} {1 1 32 64 32} {2 2 64 70 64}]", 72, false},
		{41, 8, WholeRow, "[{0 0 0 8 0} {1 0 8 16 8} {2 0 16 24 16} {3 0 24 32 24} {4 0 32 40 32} {5 0 40 41 40}]", 48, false},
		{70, 32, 48, "[{0 0 0 32 0} {1 0 32 48 32} {1 1 48 64 48} {2 1 64 70 64}]", 72, false},
		{96, 64, WholeRow, "[{0 0 0 64 0} {1 0 64 96 64}]", 96, true},
		{1031, 1031, WholeRow, "[{0 0 0 1031 0}]", 1032, false},
		{32, 16, 16, "[{0 0 0 16 0} {1 1 16 32 16}]", 32, true},
		{48, 16, WholeRow, "[{0 0 0 16 0} {1 0 16 32 16} {2 0 32 48 32}]", 48, false},
		{12, 5, WholeRow, "[{0 0 0 5 0} {1 0 5 10 8} {2 0 10 12 16}]", 24, false},
	} {
		s := segmentRow(c.cols, c.weights, c.inputs)
		if got := fmt.Sprint(s.segments); got != c.want || s.width != c.width || s.storable != c.storable {
			t.Errorf("%d columns in groups of %d and %d: %s, width %d, storable %v, want %s, %d", c.cols, c.weights, c.inputs, got, s.width, s.storable, c.want, c.width)
		}
	}
}

// If the cache's type cannot hold a value, the error names its place.
func TestCacheRange(t *testing.T) {
	d := &Decoder{spec: &model.Spec{KVHeads: 2, HeadDim: 4, Schedule: []int{0}}}
	var err error
	if d.arithmetic, err = ParseArithmetic("", "int8"); err != nil {
		t.Fatal(err)
	}
	c, err := d.NewCache(3)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.reserve(2); err != nil {
		t.Fatal(err)
	}
	k, v := newRows(2, 8), newRows(2, 8)
	if err := c.append(0, k, v); err != nil {
		t.Fatal(err)
	}
	v.row(1)[6] = 1e9
	const want = "step 0, position 1, value of head 1, column 2: 1e+09 does not fit int8/row/sym; store values in a wider type"
	if err := c.append(0, k, v); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
