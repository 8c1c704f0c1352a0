// Package quantizetest tests the requirements on every quantization method. A method's
// test is one call of Run.
package quantizetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A Target is a method under test.
type Target struct {
	// NeedsTexts is set if the method uses the inputs of a layer.
	NeedsTexts bool

	// Quantize fills dst from src, of the same shape. inputs are those of the layer,
	// (positions, src.Cols), the same slice in all calls; nil unless the method needs
	// texts.
	Quantize func(ctx context.Context, dst, src *qtensor.Matrix, inputs [][]float32) error

	// QuantizeModel quantizes all matrices of m to one scheme and discards the
	// result.
	QuantizeModel func(ctx context.Context, m *model.Model, scheme qtensor.Scheme) error
}

// Run quantizes matrices to schemes of every width, symmetric and not, in groups of 8, 32
// and 64 columns and of a whole row, including widths that are not a multiple of the
// group. It requires of every method
//
//   - codes within the scheme's range, and scales and minimums that are finite
//   - the same bytes each time, on one core and on eight, and an unchanged source
//   - zeros for a row of zeros and, from a method without texts, for a group
//   - an error that names row and column of a weight that is not finite, and in a
//     run the tensor too
//   - an error, never an infinite scale, for weights beyond float16's scales
//   - the context's error when that is cancelled
//   - an error at most a percent larger than that of plain rounding to nearest: of
//     the weights, or, if the method needs texts, of the layer's output on inputs
//     that it has not seen
//
// Run changes GOMAXPROCS, so it must not run in parallel with other tests.
func Run(t *testing.T, target Target) {
	var inputs [][]float32
	if target.NeedsTexts {
		inputs = activations(positions, cols, 1)
	}
	for _, scheme := range schemes() {
		t.Run(scheme.String(), func(t *testing.T) {
			k := &kit{t, target, scheme, inputs}
			k.bytes()
			k.zeros()
			k.nonFinite()
			k.overflow()
			k.cancelled()
			k.quality()
		})
	}
	t.Run("Model", func(t *testing.T) { namesTensor(t, target) })
}

func schemes() (all []qtensor.Scheme) {
	step := 1
	if testing.Short() {
		step = 3
	}
	for bits := 2; bits <= 8; bits += step {
		for _, group := range []int{8, 32, 64, 0} {
			for _, asym := range []bool{false, true} {
				all = append(all, qtensor.Scheme{Kind: qtensor.Int, Bits: bits, Group: group, Asym: asym})
			}
		}
	}
	return append(all, qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32, Uneven: true})
}

// The shape of the matrices: more rows than a core takes at a time, and columns
// that no group divides.
const rows, cols = 50, 75

// positions is how many inputs a method that needs texts gets.
const positions = 300

// A kit tests one method in one scheme.
type kit struct {
	*testing.T
	target Target
	scheme qtensor.Scheme
	inputs [][]float32
}

// quantize returns the method's result for src.
func (k *kit) quantize(ctx context.Context, src *qtensor.Matrix) (*qtensor.Matrix, error) {
	dst, err := qtensor.New(k.scheme, src.Rows, src.Cols)
	if err != nil {
		k.Fatal(err)
	}
	return dst, k.target.Quantize(ctx, dst, src, k.inputs)
}

// must returns the method's result for src, which must not be an error.
func (k *kit) must(src *qtensor.Matrix) *qtensor.Matrix {
	k.Helper()
	dst, err := k.quantize(k.Context(), src)
	if err != nil {
		k.Fatal(err)
	}
	k.valid(dst)
	return dst
}

// valid requires codes in range and finite scales.
func (k *kit) valid(m *qtensor.Matrix) {
	k.Helper()
	if err := m.Check(); err != nil {
		k.Fatal(err)
	}
	var reader qtensor.Reader
	first, last := k.scheme.Codes()
	for r := range m.Rows {
		codes, scale, least := reader.Codes(m, r)
		for c, code := range codes {
			if int(code) < first || int(code) > last {
				k.Fatalf("row %d, column %d: code %d, want %d to %d", r, c, code, first, last)
			}
		}
		for g := range scale {
			if !finite(qtensor.FromFloat16(scale[g])) || k.scheme.Asym && !finite(qtensor.FromFloat16(least[g])) {
				k.Fatalf("row %d, group %d: the scale or minimum is not finite", r, g)
			}
		}
	}
}

func finite(x float32) bool { return x-x == 0 }

// bytes requires the same bytes on any number of cores and each time.
func (k *kit) bytes() {
	src := Weights(rows, cols, 1)
	before := bytes.Clone(src.Codes)
	var first [3][]byte
	for i, procs := range []int{1, 8, 8} {
		old := runtime.GOMAXPROCS(procs)
		planes := k.must(src).Planes()
		runtime.GOMAXPROCS(old)
		if i == 0 {
			first = planes
		}
		for p := range planes {
			if !bytes.Equal(planes[p], first[p]) {
				k.Errorf("run %d, on %d cores: other bytes than at first on one", i+1, procs)
			}
		}
	}
	if !bytes.Equal(before, src.Codes) {
		k.Error("the source was changed")
	}
}

// zeros requires zeros to stay zeros.
func (k *kit) zeros() {
	const zeroRow = 3
	src := Weights(rows, cols, 2)
	x := make([]float32, cols)
	set(src, zeroRow, x)
	lo, hi := k.scheme.Span(k.scheme.Groups(cols)-1, cols)
	for r := zeroRow + 1; r < rows; r += 2 {
		read(x, src, r)
		clear(x[lo:hi])
		set(src, r, x)
	}
	dst := k.must(src)
	for r := zeroRow; r < rows; r++ {
		read(x, dst, r)
		for c, v := range x {
			if !finite(v) {
				k.Fatalf("row %d, column %d is %v", r, c, v)
			}
			inGroup := r > zeroRow && (r-zeroRow)%2 == 1 && c >= lo && c < hi && !k.target.NeedsTexts
			if (r == zeroRow || inGroup) && v != 0 {
				k.Fatalf("row %d, column %d is %v, was zero with all of its row or group", r, c, v)
			}
		}
	}
}

// nonFinite requires an error that names the weight that is not finite.
func (k *kit) nonFinite() {
	const row, column = 37, 70
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		src := Weights(rows, cols, 3)
		x := make([]float32, cols)
		read(x, src, row)
		x[column] = float32(v)
		set(src, row, x)
		_, err := k.quantize(k.Context(), src)
		if want := fmt.Sprintf("row %d, column %d", row, column); !sentence(err, want) {
			k.Errorf("a weight of %v: error is %v, want a line with %q", v, err, want)
		}
	}
}

// overflow requires an error if a scale is too large for float16.
func (k *kit) overflow() {
	const row = 41
	for _, v := range []float32{3e7, -1e20, math.MaxFloat32} {
		src := Weights(rows, cols, 4)
		x := make([]float32, cols)
		for c := range x {
			x[c] = v
			if c%2 == 1 {
				x[c] = -v
			}
		}
		set(src, row, x)
		_, err := k.quantize(k.Context(), src)
		if want := fmt.Sprintf("row %d", row); !sentence(err, want) {
			k.Errorf("weights of %g: error is %v, want a line with %q", v, err, want)
		}
	}
}

// sentence reports whether err is one line that contains want.
func sentence(err error, want string) bool {
	return err != nil && strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "\n") && !strings.Contains(err.Error(), "runtime error")
}

func (k *kit) cancelled() {
	ctx, cancel := context.WithCancel(k.Context())
	cancel()
	if _, err := k.quantize(ctx, Weights(rows, cols, 5)); !errors.Is(err, context.Canceled) {
		k.Errorf("cancelled: error is %v, want %v", err, context.Canceled)
	}
}

// quality requires an error about as small as that of plain rounding, or smaller.
func (k *kit) quality() {
	src := Weights(rows, cols, 6)
	got, plain := k.must(src), Nearest(src, k.scheme)
	var inputs [][]float32 // nil: the weights themselves
	if k.target.NeedsTexts {
		inputs = activations(positions, cols, 2)
	}
	var ours, theirs float64
	x, y := make([]float32, cols), make([]float32, cols)
	for r := range rows {
		read(x, src, r)
		read(y, got, r)
		ours += squaredError(x, y, inputs)
		theirs += squaredError(x, plain[r], inputs)
	}
	if !(ours <= 1.01*theirs) {
		k.Errorf("squared error %g, that of plain rounding is %g", ours, theirs)
	}
}

// squaredError returns the squared distance of two rows, or that of their products
// with inputs.
func squaredError(x, y []float32, inputs [][]float32) (sum float64) {
	if inputs == nil {
		for c, v := range x {
			d := float64(v) - float64(y[c])
			sum += d * d
		}
		return sum
	}
	for _, in := range inputs {
		d := 0.0
		for c, v := range in {
			d += (float64(x[c]) - float64(y[c])) * float64(v)
		}
		sum += d * d
	}
	return sum
}

// Values returns the values of m, row by row.
func Values(m *qtensor.Matrix) [][]float32 {
	x := make([][]float32, m.Rows)
	for r := range x {
		x[r] = make([]float32, m.Cols)
		read(x[r], m, r)
	}
	return x
}

// Nearest returns the values of src rounded to the nearest code without a search for
// scales: the largest value of a group gets the bottom code or, in asymmetric schemes, the
// codes span the range from the smallest to the largest value.
func Nearest(src *qtensor.Matrix, s qtensor.Scheme) [][]float32 {
	all := Values(src)
	for r := range all {
		for g := range s.Groups(src.Cols) {
			lo, hi := s.Span(g, src.Cols)
			nearestGroup(all[r][lo:hi], s)
		}
	}
	return all
}

func nearestGroup(x []float32, s qtensor.Scheme) {
	half := func(v float64) float64 {
		bits, _ := qtensor.ToFloat16(float32(v))
		return float64(qtensor.FromFloat16(bits))
	}
	lo, hi := float64(x[0]), float64(x[0])
	for _, v := range x {
		lo, hi = min(lo, float64(v)), max(hi, float64(v))
	}
	first, last := s.Codes()
	bottom, top, low, step := 0.0, float64(last), half(lo), half((hi-lo)/float64(last))
	if !s.Asym {
		bottom, top, low = float64(first-s.Zero()), float64(last-s.Zero()), 0
		most := hi
		if -lo > hi {
			most = lo
		}
		step = half(most / bottom)
	}
	for i, v := range x {
		q := 0.0
		if step != 0 {
			q = min(max(math.RoundToEven((float64(v)-low)/step), bottom), top)
			if book := s.Codebook(); book != nil {
				q = float64(int(book[int(q)+s.Zero()]) - s.Zero())
			}
		}
		x[i] = float32(q*step + low)
	}
}

// namesTensor runs the method on models with a weight that is not finite.
func namesTensor(t *testing.T, target Target) {
	scheme := qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}
	if err := target.QuantizeModel(t.Context(), tiny(t), scheme); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{model.Embed, model.Name(0, model.Q), model.Name(0, model.V), model.Name(1, model.O), model.Name(1, model.Down)} {
		m := tiny(t)
		x := make([]float32, m.Tensors[name].Cols)
		read(x, m.Tensors[name], 1)
		x[2] = float32(math.NaN())
		set(m.Tensors[name], 1, x)
		err := target.QuantizeModel(t.Context(), m, scheme)
		if want := name + ": row 1, column 2"; !sentence(err, want) {
			t.Errorf("error is %v, want a line with %q", err, want)
		}
	}
}

// tiny returns a model whose weights distinguish tokens.
func tiny(t *testing.T) *model.Model {
	t.Helper()
	m := &model.Model{Path: "tiny", Tensors: map[string]*qtensor.Matrix{}, Spec: model.Spec{
		Hidden: 40, Heads: 2, KVHeads: 1, HeadDim: 16, FFN: 56, Vocab: 30, Context: 64, Blocks: 2, Schedule: model.InOrder(2, 1),
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true,
	}}
	for i, s := range m.Spec.Slots() {
		w := Weights(s.Rows, s.Cols, uint64(i))
		x := make([]float32, s.Cols)
		for r := range s.Rows {
			read(x, w, r)
			for c := range x {
				x[c] *= 8
				if s.Role == model.Vector {
					x[c] = 1
				}
			}
			set(w, r, x)
		}
		m.Tensors[s.Name] = w
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	return m
}

// Weights returns a float32 matrix of values that are exact on every machine: sums of
// uniform integers, and occasionally a large one.
func Weights(rows, cols int, seed uint64) *qtensor.Matrix {
	r := rand.New(rand.NewPCG(seed, 0))
	m, err := qtensor.New(qtensor.Scheme{Kind: qtensor.F32}, rows, cols)
	if err != nil {
		panic(err)
	}
	x := make([]float32, cols)
	for row := range rows {
		for c := range x {
			x[c] = float32(r.IntN(2001)+r.IntN(2001)+r.IntN(2001)-3000) / 65536
			if r.IntN(50) == 0 {
				x[c] *= 5
			}
		}
		set(m, row, x)
	}
	return m
}

// activations returns n positions of width columns, which are mixtures of fewer sources
// than there are columns, plus a little noise; columns differ in size.
func activations(n, width int, seed uint64) [][]float32 {
	mixing := rand.New(rand.NewPCG(7, 7))
	sources := max(1, width/4)
	mix := make([]float64, width*sources)
	for i := range mix {
		mix[i] = mixing.NormFloat64() / math.Sqrt(float64(sources))
	}
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([][]float32, n)
	source := make([]float64, sources)
	for t := range x {
		for k := range source {
			source[k] = r.NormFloat64()
		}
		x[t] = make([]float32, width)
		for c := range x[t] {
			v := 0.3 * r.NormFloat64()
			for k, y := range source {
				v += mix[c*sources+k] * y
			}
			x[t][c] = float32(v * (0.3 + float64(c%7)))
		}
	}
	return x
}

func read(dst []float32, m *qtensor.Matrix, r int) { new(qtensor.Reader).Row(dst, m, r) }

func set(m *qtensor.Matrix, r int, x []float32) {
	if err := m.SetFloats(r, x); err != nil {
		panic(err)
	}
}
