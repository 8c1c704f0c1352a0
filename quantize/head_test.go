package quantize

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/quantize/quantizetest"
	"thimble/quantize/rounding"
)

// livelyModel is testModel with norms of one and weights large enough to distinguish
// tokens. edit, if not nil, changes its Spec.
func livelyModel(t testing.TB, edit func(s *model.Spec)) *model.Model {
	t.Helper()
	spec := model.Spec{
		Hidden: 40, Heads: 4, KVHeads: 2, HeadDim: 10, FFN: 72, Vocab: 30, Context: 64, Blocks: 2, Schedule: model.InOrder(2, 1),
		NormEps: 1e-5, Rope: model.Rope{Base: 10000}, BOS: -1, Tied: true,
	}
	if edit != nil {
		edit(&spec)
	}
	m := &model.Model{Path: "test", Spec: spec, Tensors: map[string]*qtensor.Matrix{}}
	for i, s := range spec.Slots() {
		w := quantizetest.Weights(s.Rows, s.Cols, uint64(i))
		for r, x := range quantizetest.Values(w) {
			for c := range x {
				x[c] *= 8
				if s.Role == model.Vector {
					x[c] = 1
				}
			}
			if err := w.SetFloats(r, x); err != nil {
				t.Fatal(err)
			}
		}
		m.Tensors[s.Name] = w
	}
	if err := m.Check(); err != nil {
		t.Fatal(err)
	}
	return m
}

// randomTexts returns n texts of length random tokens.
func randomTexts(n, length, vocab int) *Calibration {
	r := rand.New(rand.NewPCG(uint64(n), uint64(length)))
	c := &Calibration{}
	for range n {
		ids := make([]int, length)
		for i := range ids {
			ids[i] = r.IntN(vocab)
		}
		c.Texts = append(c.Texts, ids)
	}
	return c
}

func hiddenStates(t testing.TB, m *model.Model, c *Calibration) *transformer.Hidden {
	t.Helper()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := d.NewTrace(c.Texts)
	if err == nil {
		err = trace.Finish(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := trace.Hidden()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Every row of the head is in one bin, and rows of likelier tokens come first.
func TestHeadBins(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	for _, vocab := range []int{30, binFirst, binFirst + 1, 5*binFirst - 1, 5 * binFirst, 2000} {
		m := livelyModel(t, func(s *model.Spec) { s.Vocab = vocab })
		h := hiddenStates(t, m, randomTexts(3, 20, vocab))
		bins, err := headBins(t.Context(), h, vocab)
		if err != nil {
			t.Fatal(err)
		}
		weight, sums := make([]float64, vocab), make([][]float64, len(bins))
		for i := range sums {
			sums[i] = make([]float64, h.Len())
		}
		bin := make([]int, vocab)
		var all []int
		for i, b := range bins {
			all = append(all, b.rows...)
			for _, r := range b.rows {
				bin[r] = i
			}
			if len(b.rows) < min(vocab, binFirst) {
				t.Errorf("%d rows: bin %d has %d", vocab, i, len(b.rows))
			}
		}
		if slices.Sort(all); len(slices.Compact(slices.Clone(all))) != vocab || all[0] != 0 || all[vocab-1] != vocab-1 {
			t.Fatalf("%d rows: the bins hold %d", vocab, len(all))
		}
		for at, p := range probabilities(t, h, vocab) {
			for v, x := range p {
				if at%binSample == 0 {
					weight[v] += x * (1 - x)
				}
				sums[bin[v]][at] += x * (1 - x) / float64(len(bins[bin[v]].rows))
			}
		}
		floor := math.Inf(1)
		for i, b := range bins {
			least, most := math.Inf(1), 0.0
			for _, r := range b.rows {
				least, most = min(least, weight[r]), max(most, weight[r])
			}
			if most > floor*(1+1e-5) {
				t.Errorf("%d rows: bin %d has a row of weight %v, the bin before one of %v", vocab, i, most, floor)
			}
			floor = least
			for at, w := range b.weights {
				if math.Abs(float64(w)-sums[i][at]) > 1e-5*sums[i][at] {
					t.Fatalf("%d rows: bin %d weighs position %d by %v, want %v", vocab, i, at, w, sums[i][at])
				}
			}
		}
	}
}

// scores returns all logits of h in float64, by position.
func scores(t testing.TB, h *transformer.Hidden, vocab int) [][]float64 {
	t.Helper()
	z := make([]float32, h.Len()*vocab)
	if err := h.Logits(t.Context(), z, 0, h.Len()); err != nil {
		t.Fatal(err)
	}
	rows := make([][]float64, h.Len())
	for i := range rows {
		for _, v := range z[i*vocab : (i+1)*vocab] {
			rows[i] = append(rows[i], float64(v))
		}
	}
	return rows
}

func softmax64(z []float64) []float64 {
	p, sum := make([]float64, len(z)), 0.0
	for i, v := range z {
		p[i] = math.Exp(v - slices.Max(z))
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func probabilities(t testing.TB, h *transformer.Hidden, vocab int) [][]float64 {
	rows := scores(t, h, vocab)
	for i, z := range rows {
		rows[i] = softmax64(z)
	}
	return rows
}

func slowDivergence(a, b []float64) float64 {
	p, q, sum := softmax64(a), softmax64(b), 0.0
	for i, v := range p {
		sum += v * (math.Log(v) - math.Log(q[i]))
	}
	return sum
}

// lossOf returns e (H + lambda I) e^T.
func lossOf(e []float64, in *rounding.Input) float64 {
	sum := 0.0
	for i, a := range e {
		for j, b := range e {
			sum += a * b * float64(in.H[i*in.Stride+j])
		}
	}
	return sum
}

// Small independent errors e in the rows of the head cost 1/2 p (1-p) (e h)^2 each,
// and so they do by bins of rows that share a second moment.
func TestHeadHessian(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	const vocab, patterns = 30, 300
	m := livelyModel(t, nil)
	h := hiddenStates(t, m, randomTexts(2, 16, vocab))
	bins, err := headBins(t.Context(), h, vocab)
	if err != nil {
		t.Fatal(err)
	}
	inputs := make([]*rounding.Input, len(bins))
	for i := range bins {
		if inputs[i], err = bins[i].input(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	z, r := scores(t, h, vocab), rand.New(rand.NewPCG(7, 7))
	var kl, formula, binned float64
	for range patterns {
		e := make([][]float64, vocab)
		for v := range e {
			e[v] = make([]float64, m.Spec.Hidden)
			for i := range e[v] {
				e[v][i] = 0.01 * r.NormFloat64()
			}
		}
		for at, before := range z {
			p, after := softmax64(before), slices.Clone(before)
			for v := range after {
				dz := 0.0
				for i, x := range h.Row(at) {
					dz += e[v][i] * float64(x)
				}
				after[v] += dz
				formula += p[v] * (1 - p[v]) * dz * dz / 2
			}
			kl += slowDivergence(before, after)
		}
		for i, b := range bins {
			weight := 0.0
			for _, w := range b.weights {
				weight += float64(w)
			}
			for _, v := range b.rows {
				binned += weight / 2 * lossOf(e[v], inputs[i]) / (1 + rounding.Damping) // roughly: e is white
			}
		}
	}
	t.Logf("KL %v, by the formula %v, by bins %v", kl, formula, binned)
	if math.Abs(formula/kl-1) > 0.03 {
		t.Errorf("KL %v, by the formula %v", kl, formula)
	}
	if math.Abs(binned/kl-1) > 0.06 {
		t.Errorf("KL %v, by bins %v", kl, binned)
	}
}

// A head that is rounded bin by bin diverges less from the float model than one that
// is rounded to nearest.
func TestRoundHead(t *testing.T) {
	skipQuality(t)
	t.Parallel()
	const vocab = 700 // two bins
	m := livelyModel(t, func(s *model.Spec) { s.Vocab = vocab })
	h := hiddenStates(t, m, randomTexts(4, 25, vocab))
	src, z := m.Tensors[model.Embed], scores(t, h, vocab)
	after := func(fill func(dst *qtensor.Matrix) error) float64 {
		dst, err := qtensor.New(scheme(t, "int4/g32"), vocab, src.Cols)
		if err == nil {
			err = fill(dst)
		}
		if err != nil {
			t.Fatal(err)
		}
		w, sum := quantizetest.Values(dst), 0.0
		for at, before := range z {
			logits := make([]float64, vocab)
			for v, row := range w {
				for i, x := range h.Row(at) {
					logits[v] += float64(row[i]) * float64(x)
				}
			}
			sum += slowDivergence(before, logits)
		}
		return sum / float64(h.Len())
	}
	nearest := after(func(dst *qtensor.Matrix) error {
		return rounding.ToNearest(t.Context(), dst, src, rounding.Even(src.Cols), nil)
	})
	end, err := newFinalStates(t.Context(), m, h)
	if err != nil {
		t.Fatal(err)
	}
	fitted := after(func(dst *qtensor.Matrix) error {
		return roundHead(t.Context(), chosen(t, rounding.MethodGPTQ), dst, src, end)
	})
	t.Logf("KL %v to nearest, %v", nearest, fitted)
	if !(fitted < 0.9*nearest) {
		t.Errorf("KL %v, to nearest %v", fitted, nearest)
	}
}
