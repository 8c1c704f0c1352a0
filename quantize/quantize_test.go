package quantize

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// matrix returns a float32 matrix of values that are exact on every machine:
// sums of uniform integers, with now and then a large one.
func matrix(rows, cols int, seed uint64) *qtensor.Matrix {
	r := rand.New(rand.NewPCG(seed, 0))
	m, err := qtensor.New(qtensor.Scheme{}, rows, cols)
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
		if err := m.SetFloats(row, x); err != nil {
			panic(err)
		}
	}
	return m
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 1
	}
	return x
}

// guess is an input of which nothing is known.
func guess(cols int) *Input { return &Input{power: ones(cols)} }

func scheme(t testing.TB, text string) qtensor.Scheme {
	s, err := qtensor.ParseScheme(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func values(m *qtensor.Matrix) [][]float32 {
	var d qtensor.Reader
	x := make([][]float32, m.Rows)
	for r := range x {
		x[r] = make([]float32, m.Cols)
		d.Row(x[r], m, r)
	}
	return x
}

// squaredError is the weighted error of b, group by group of scheme s.
func squaredError(a, b [][]float32, s qtensor.Scheme, power []float32) []float64 {
	var sums []float64
	for r := range a {
		for g := range s.Groups(len(a[r])) {
			sum := 0.0
			lo, hi := s.Span(g, len(a[r]))
			for c := lo; c < hi; c++ {
				d := float64(a[r][c]) - float64(b[r][c])
				sum += float64(power[c]) * d * d
			}
			sums = append(sums, sum)
		}
	}
	return sums
}

// plain is round-to-nearest without a search: the largest value on the last
// code, or the range from least to largest.
func plain(src *qtensor.Matrix, s qtensor.Scheme) [][]float32 {
	x := values(src)
	for _, row := range x {
		for g := range s.Groups(len(row)) {
			lo, hi := s.Span(g, len(row))
			plainGroup(row[lo:hi], s)
		}
	}
	return x
}

func plainGroup(x []float32, s qtensor.Scheme) {
	half := func(v float64) float64 {
		bits, _ := qtensor.Half(float32(v))
		return float64(qtensor.FromHalf(bits))
	}
	lo, hi := bounds(x)
	first, last := s.Codes()
	step, low, top := half(float64(hi-lo)/float64(last)), half(float64(lo)), float64(last)
	bottom := 0.0
	if !s.Asym {
		bottom, top, low = float64(first-s.Zero()), float64(last-s.Zero()), 0
		most := float64(hi)
		if -lo > hi {
			most = float64(lo)
		}
		step = half(most / bottom)
	}
	for i, v := range x {
		if step == 0 {
			x[i] = float32(low)
			continue
		}
		q := math.RoundToEven((float64(v) - low) / step)
		x[i] = float32(min(max(q, bottom), top)*step + low)
	}
}

// The search may not be worse than no search, group by group, and must be
// better on the whole.
func TestSearchBeatsPlainRounding(t *testing.T) {
	src := matrix(40, 200, 1)
	for _, text := range []string{"int4/g32", "int4/g32/asym", "int8/g64", "int3/g32", "int2/g32/asym", "int5/row", "int6/g128/asym", "int8/row/asym"} {
		s := scheme(t, text)
		dst, err := qtensor.New(s, src.Rows, src.Cols)
		if err != nil {
			t.Fatal(err)
		}
		if err := (rtn{}).Quantize(t.Context(), dst, src, guess(src.Cols)); err != nil {
			t.Fatal(err)
		}
		searched := squaredError(values(src), values(dst), s, ones(src.Cols))
		naive := squaredError(values(src), plain(src, s), s, ones(src.Cols))
		sum, plainSum := 0.0, 0.0
		for i := range naive {
			if searched[i] > naive[i]*1.0001 {
				t.Errorf("%s, group %d: squared error %g, without search %g", text, i, searched[i], naive[i])
			}
			sum, plainSum = sum+searched[i], plainSum+naive[i]
		}
		if !(sum < 0.99*plainSum) {
			t.Errorf("%s: squared error %g, without search %g", text, sum, plainSum)
		}
	}
}

// A column whose input is loud must come out more exact.
func TestPowerIsHeeded(t *testing.T) {
	src := matrix(200, 32, 2)
	for _, text := range []string{"int4/g32", "int4/g32/asym"} {
		errorAt0 := func(loud float32) float64 {
			power := ones(32)
			power[0] = loud
			dst, err := qtensor.New(scheme(t, text), src.Rows, src.Cols)
			if err != nil {
				t.Fatal(err)
			}
			if err := (rtn{}).Quantize(t.Context(), dst, src, &Input{power: power}); err != nil {
				t.Fatal(err)
			}
			only := make([]float32, 32)
			only[0] = 1
			sum := 0.0
			for _, e := range squaredError(values(src), values(dst), dst.Scheme, only) {
				sum += e
			}
			return sum
		}
		if even, loud := errorAt0(1), errorAt0(1000); !(loud < even/2) {
			t.Errorf("%s: a loud column's squared error is %g, an ordinary one's %g", text, loud, even)
		}
	}
}

// What fits the grid must come back exactly.
func TestLatticeIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := qtensor.Scheme{Kind: qtensor.Int, Bits: rapid.IntRange(2, 8).Draw(t, "bits"), Group: 32, Asym: rapid.Bool().Draw(t, "asym")}
		first, last := s.Codes()
		zero := 0
		if !s.Asym {
			zero = s.Zero()
		}
		codes := rapid.SliceOfN(rapid.IntRange(first, last), 32, 32).Draw(t, "codes")
		codes[0], codes[1] = first, last
		src, err := qtensor.New(qtensor.Scheme{}, 1, 32)
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 32)
		for i, c := range codes {
			x[i] = float32(c-zero) / 256
		}
		if err := src.SetFloats(0, x); err != nil {
			t.Fatal(err)
		}
		dst, err := qtensor.New(s, 1, 32)
		if err != nil {
			t.Fatal(err)
		}
		if err := (rtn{}).Quantize(t.Context(), dst, src, guess(32)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(x, values(dst)[0]); diff != "" {
			t.Errorf("%v: %s", s, diff)
		}
	})
}

func TestEdgeGroups(t *testing.T) {
	for _, c := range []struct {
		scheme string
		x      []float32
		want   []float32 // nil: want the error
		err    string
	}{
		{scheme: "int4/g32", x: []float32{0, 0, 0}, want: []float32{0, 0, 0}},
		{scheme: "int4/g32/asym", x: []float32{0, 0, 0}, want: []float32{0, 0, 0}},
		{scheme: "int4/g32/asym", x: []float32{0.5, 0.5}, want: []float32{0.5, 0.5}},
		{scheme: "int4/g32", x: []float32{1e-12, -1e-12}, want: []float32{0, 0}},
		{scheme: "int4/g32", x: []float32{3e-7}, want: []float32{float32(math.Ldexp(5, -24))}}, // subnormal scale of 2^-24
		{scheme: "int8/row", x: []float32{-127, 127, 0, 1}, want: []float32{-127, 127, 0, 1}},
		{scheme: "int4/g32", x: []float32{1e6, 1}, err: "row 0, columns 0 to 1: a weight of 1e+06 needs a scale beyond float16's largest, 65504"},
		{scheme: "int4/g32/asym", x: []float32{-1e7, 1e7}, err: "row 0, columns 0 to 1: weights from -1e+07 to 1e+07 need a scale beyond float16's largest, 65504"},
		{scheme: "int4/g32/asym", x: []float32{3e38, -3e38}, err: "row 0, columns 0 to 1: weights from -3e+38 to 3e+38 need a scale beyond float16's largest, 65504"},
		{scheme: "int4/g32", x: []float32{1, float32(math.NaN())}, err: "row 0, column 1 is NaN; a checkpoint with non-finite weights cannot be converted"},
		{scheme: "int4/g32", x: []float32{float32(math.Inf(-1))}, err: "row 0, column 0 is -Inf; a checkpoint with non-finite weights cannot be converted"},
	} {
		src, err := qtensor.New(qtensor.Scheme{}, 1, len(c.x))
		if err != nil {
			t.Fatal(err)
		}
		if err := src.SetFloats(0, c.x); err != nil {
			t.Fatal(err)
		}
		dst, err := qtensor.New(scheme(t, c.scheme), 1, len(c.x))
		if err != nil {
			t.Fatal(err)
		}
		err = (rtn{}).Quantize(t.Context(), dst, src, guess(len(c.x)))
		if c.want == nil {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s of %v: %v, want %q", c.scheme, c.x, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s of %v: %v", c.scheme, c.x, err)
		} else if diff := cmp.Diff(c.want, values(dst)[0]); diff != "" {
			t.Errorf("%s of %v: %s", c.scheme, c.x, diff)
		}
	}
}

// The same bytes on any number of cores and any machine.
func TestBytesAreTheSameEverywhere(t *testing.T) {
	src := matrix(50, 130, 3)
	power := make([]float32, 130)
	for i := range power {
		power[i] = float32(i%7 + 1)
	}
	for text, want := range map[string]string{
		"int4/g32":      goldenInt4,
		"int4/g32/asym": goldenInt4Asym,
		"int8/g64":      goldenInt8,
	} {
		for _, procs := range []int{1, 8} {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			dst, err := qtensor.New(scheme(t, text), src.Rows, src.Cols)
			if err != nil {
				t.Fatal(err)
			}
			if err := (rtn{}).Quantize(t.Context(), dst, src, &Input{power: power}); err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			h.Write(dst.Codes)
			h.Write(dst.Scales)
			h.Write(dst.Mins)
			if got := fmt.Sprintf("%x", h.Sum(nil))[:16]; got != want {
				t.Errorf("%s on %d cores: hash %s, want %s", text, procs, got, want)
			}
		}
	}
}

func TestPlanSentences(t *testing.T) {
	m := testModel(t)
	for _, c := range []struct {
		r    Recipe
		want string
	}{
		{Recipe{}, "the recipe names no scheme"},
		{Recipe{Scheme: "int4"}, `scheme "int4" is not one of`},
		{Recipe{Scheme: "int4/g32", Method: "rtm"}, `there is no method "rtm", did you mean "rtn"?; it is one of rtn, gptq`},
		{Recipe{Scheme: "int4/g32", Without: []string{"serch"}}, `method rtn has no step "serch", did you mean "search"?; it has search`},
		{Recipe{Scheme: "int4/g32", Without: []string{StepDescent}}, `method rtn has no step "descent"; it has search`},
		{Recipe{Scheme: "int4/g32", Without: []string{StepSearch, StepSearch}}, `step "search" is left out twice`},
		{Recipe{Scheme: "int4/g32", Vectors: "int8/g32"}, "vectors cannot be stored as int8/g32/sym"},
		{Recipe{Scheme: "int4/g32", Rules: []Rule{{"blocks.*.dwon", "int8/g32"}}}, `rule "blocks.*.dwon" matches no tensor`},
		{Recipe{Scheme: "int4/g32", Rules: []Rule{{"blocks.[", "int8/g32"}}}, `pattern "blocks.["`},
		{Recipe{Scheme: "int4/g32", Rules: []Rule{{"norm", "int8/g32"}}}, "norm: a vector cannot be stored as int8/g32/sym"},
	} {
		if _, err := NewPlan(m, &c.r); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q...", c.r, err, c.want)
		}
	}
	m.Tensors[model.Name(0, model.Q)].Scheme = scheme(t, "int8/g32")
	want := "blocks.0.q: it is already quantized as int8/g32/sym; quantize from the original checkpoint instead"
	if _, err := NewPlan(m, &Recipe{Scheme: "int4/g32"}); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func testModel(t *testing.T) *model.Model {
	spec := model.Spec{
		Hidden: 40, Heads: 4, KVHeads: 2, HeadDim: 10, FFN: 72, Vocab: 30, Context: 64, Blocks: 2, Schedule: model.InOrder(2, 1),
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true,
	}
	m := &model.Model{Path: "test", Spec: spec, Tensors: map[string]*qtensor.Matrix{}}
	for i, s := range spec.Slots() {
		m.Tensors[s.Name] = matrix(s.Rows, s.Cols, uint64(i))
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPlanAppliesTheLastRule(t *testing.T) {
	m := testModel(t)
	p, err := NewPlan(m, &Recipe{
		Scheme: "int4/g32", Embedding: "int8/g32",
		Rules: []Rule{{"blocks.*.down", "int8/g32"}, {"blocks.1.*", "int4/g64/asym"}, {"blocks.1.attn_norm", "f16"}, {"blocks.1.ffn_norm", "keep"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"embed": "int8/g32/sym", "blocks.0.q": "int4/g32/sym", "blocks.0.down": "int8/g32/sym", "blocks.1.down": "int4/g64/asym",
		"blocks.1.q":         "int4/g64/asym",
		"blocks.1.attn_norm": "f16", "blocks.1.ffn_norm": "f32", "blocks.0.attn_norm": "f32", "norm": "f32",
	}
	sum := int64(0)
	for _, e := range p.Tensors {
		if w, ok := want[e.Name]; ok && e.To.String() != w {
			t.Errorf("%s becomes %v, want %s", e.Name, e.To, w)
		}
		sum += e.Bytes
	}
	if sum != p.Bytes {
		t.Errorf("plan of %d bytes, its tensors take %d", p.Bytes, sum)
	}
}

// discard counts what Run gives it.
type discard struct{ bytes int64 }

func (d *discard) Write(m *qtensor.Matrix) error {
	d.bytes += m.Bytes()
	return m.Check()
}

func TestRunWritesThePlannedBytes(t *testing.T) {
	m := testModel(t)
	p, err := NewPlan(m, &Recipe{Scheme: "int4/g32/asym", Embedding: "int8/g32"})
	if err != nil {
		t.Fatal(err)
	}
	var d discard
	done := int64(0)
	if err := Run(t.Context(), m, p, nil, &d, func(n int64) { done = n }); err != nil {
		t.Fatal(err)
	}
	if d.bytes != p.Bytes || done != p.Weights {
		t.Errorf("wrote %d bytes of %d weights, planned %d of %d", d.bytes, done, p.Bytes, p.Weights)
	}
}

// hashing is a sink that hashes every plane.
type hashing struct{ hash.Hash }

func (h hashing) Write(m *qtensor.Matrix) error {
	for _, plane := range m.Planes() {
		h.Hash.Write(plane)
	}
	return nil
}

// The whole of Run, the guess at the powers included, on any machine.
func TestRunGivesTheSameBytesEverywhere(t *testing.T) {
	for _, procs := range []int{1, 8} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		m := testModel(t)
		p, err := NewPlan(m, &Recipe{Scheme: "int4/g32/asym", Embedding: "int8/g32", Rules: []Rule{{"blocks.*.up", "int4/g32"}}})
		if err != nil {
			t.Fatal(err)
		}
		h := hashing{sha256.New()}
		if err := Run(t.Context(), m, p, nil, h, nil); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", h.Sum(nil))[:16]; got != goldenRun {
			t.Errorf("on %d cores: hash %s, want %s", procs, got, goldenRun)
		}
	}
}

// The powers of a model of one block against sums written out.
func TestInputPowers(t *testing.T) {
	spec := model.Spec{
		Hidden: 2, Heads: 1, KVHeads: 1, HeadDim: 2, FFN: 1, Vocab: 2, Context: 8, Blocks: 1, Schedule: []int{0},
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true,
	}
	m := &model.Model{Path: "test", Spec: spec, Tensors: map[string]*qtensor.Matrix{}}
	for name, rows := range map[string][][]float32{
		"embed": {{1, 2}, {3, 0}}, "blocks.0.attn_norm": {{1, 2}}, "blocks.0.q": {{1, 1}, {1, 1}}, "blocks.0.k": {{1, 1}, {1, 1}},
		"blocks.0.v": {{1, 0}, {1, 2}}, "blocks.0.o": {{1, 0}, {0, 1}}, "blocks.0.ffn_norm": {{1, 1}},
		"blocks.0.gate": {{1, 0}}, "blocks.0.up": {{0, 1}}, "blocks.0.down": {{1}, {0}}, "norm": {{1, 3}},
	} {
		w, err := qtensor.New(qtensor.Scheme{}, len(rows), len(rows[0]))
		if err != nil {
			t.Fatal(err)
		}
		for r, x := range rows {
			if err := w.SetFloats(r, x); err != nil {
				t.Fatal(err)
			}
		}
		m.Tensors[name] = w
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	got, err := inputPowers(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	// Embedding columns have mean squares 5 and 2, mean 3.5; gains 1 and 4.
	q := [2]float64{5 / 3.5, 4 * 2 / 3.5}
	// v = (w0, w0 + 2 w1); attention passes 0.3 of it.
	o := [2]float64{0.3 * q[0], 0.3 * (q[0] + 4*q[1])}
	s := [2]float64{5 + o[0], 2 + o[1]}
	mean := (s[0] + s[1]) / 2
	f := [2]float64{s[0] / mean, s[1] / mean}
	down := 0.5 * f[0] * f[1]
	s[0] += down
	for name, want := range map[string][]float64{
		"blocks.0.q": q[:], "blocks.0.v": q[:], "blocks.0.o": o[:], "blocks.0.gate": f[:], "blocks.0.down": {down}, "embed": {s[0], 9 * s[1]},
	} {
		for i, w := range level(want) {
			if math.Abs(float64(got[name][i]-w)) > 1e-6 {
				t.Errorf("%s: power %v, want %v", name, got[name], level(want))
			}
		}
	}
}

func TestRunNamesTheTensor(t *testing.T) {
	m := testModel(t)
	bad := m.Tensors["blocks.1.up"]
	copy(bad.Codes[4*41:], []byte{0, 0, 0x80, 0x7f}) // row 1, column 1
	p, err := NewPlan(m, &Recipe{Scheme: "int4/g32"})
	if err != nil {
		t.Fatal(err)
	}
	want := "test: blocks.1.up: row 1, column 1 is +Inf; a checkpoint with non-finite weights cannot be converted"
	if err := Run(t.Context(), m, p, nil, new(discard), nil); err == nil || err.Error() != want {
		t.Errorf("error is %v, want %q", err, want)
	}
}

func TestRecipeYAML(t *testing.T) {
	r := &Recipe{Scheme: "int4/g32", Embedding: "int8/g32", Rules: []Rule{{"blocks.*.down", "int8/g32"}}}
	text, err := r.YAML()
	if err != nil {
		t.Fatal(err)
	}
	want := "scheme: int4/g32/sym\nmethod: rtn\nembedding: int8/g32/sym\nhead: int8/g32/sym\nvectors: keep\nset:\n- tensors: blocks.*.down\n  scheme: int8/g32/sym\n"
	if text != want {
		t.Errorf("YAML is %q, want %q", text, want)
	}
	again, err := ParseRecipe([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	again.Without = []string{StepDescent, StepSearch}
	again.Method, again.Texts = MethodGPTQ, &Texts{}
	if less, err := again.YAML(); err != nil || !strings.Contains(less, "without:\n- search\n- descent\n") {
		t.Errorf("YAML is %q, %v", less, err)
	}
	again.Without, again.Method, again.Texts = nil, "", nil
	if other, err := again.YAML(); other != text || err != nil {
		t.Errorf("read back and written again it is %q, %v", other, err)
	}
	for text, want := range map[string]string{
		"scheme: int4/g32\nembeding: int8/g32\n": "embeding",
		"scheme: int4/g32\nscheme: int8/g32\n":   "scheme",
		"[1, 2]":                                 "recipe: ",
		"scheme: [a":                             "recipe: ",
	} {
		if _, err := ParseRecipe([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseRecipe(%q): %v, want one line with %q", text, err, want)
		}
	}
}

const (
	goldenInt4     = "f219d62008404e4c"
	goldenInt4Asym = "1854d7409914e53e"
	goldenRun      = "6f1279be2766ab2b"
	goldenInt8     = "54d2256926a68404"
)
