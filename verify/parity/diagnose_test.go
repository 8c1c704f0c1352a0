package parity_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/verify/parity"
)

// rowsOf converts a tensor to float32, and setRows stores one.
func rowsOf(w *qtensor.Matrix) [][]float32 {
	rows := make([][]float32, w.Rows)
	for r := range rows {
		rows[r] = make([]float32, w.Cols)
		new(qtensor.Reader).Row(rows[r], w, r)
	}
	return rows
}

func setRows(t *testing.T, w *qtensor.Matrix, rows [][]float32) {
	t.Helper()
	for r, x := range rows {
		if err := w.SetFloats(r, x); err != nil {
			t.Fatal(err)
		}
	}
}

// change replaces the rows of the tensor called name by those that f returns.
func change(t *testing.T, m *model.Model, name string, f func(rows [][]float32) [][]float32) {
	t.Helper()
	setRows(t, m.Tensors[name], f(rowsOf(m.Tensors[name])))
}

func reorder(from func(i int) int) func(rows [][]float32) [][]float32 {
	return func(rows [][]float32) [][]float32 {
		out := make([][]float32, len(rows))
		for i := range rows {
			out[i] = rows[from(i)]
		}
		return out
	}
}

func scaled(by float32) func(rows [][]float32) [][]float32 {
	return func(rows [][]float32) [][]float32 {
		for _, x := range rows {
			for i := range x {
				x[i] *= by
			}
		}
		return rows
	}
}

// A fault is a way to break a model in its last block, or outside the blocks.
type fault struct {
	name      string
	possible  func(s *model.Spec) bool
	inject    func(t *testing.T, m *model.Model, block string)
	operation string
	tensor    string // "B." for the block's
	cause     string // is part of the diagnosis; "~2 times" may be a little less or more
}

// Only the last block is wrong, so a diagnosis that always named the first step would
// fail.
var faults = []fault{
	{"q rows interleaved", func(s *model.Spec) bool { return s.Rope.Dims == 0 && !s.Rope.Pairs && s.HeadDim > 2 },
		func(t *testing.T, m *model.Model, b string) {
			change(t, m, b+"q", reorder(func(i int) int { return model.HalfSplit(i, m.Spec.HeadDim) }))
		}, "q", "B.q", "rows are in the other rotary order (interleaved, want halves)"},
	{"k rows moved twice", func(s *model.Spec) bool { return s.Rope.Dims == 0 && !s.Rope.Pairs && s.HeadDim > 4 },
		func(t *testing.T, m *model.Model, b string) {
			change(t, m, b+"k", reorder(func(i int) int { return model.Interleave(i, m.Spec.HeadDim) }))
		}, "k", "B.k", "rows were moved from interleaved to halves, and were in halves already"},
	{"rotary pairs as halves", func(s *model.Spec) bool { return s.Rope.Pairs },
		func(t *testing.T, m *model.Model, b string) {
			change(t, m, b+"q", reorder(func(i int) int { return model.Interleave(i, m.Spec.HeadDim) }))
		}, "q", "B.q", "rows are in the other rotary order (halves, want interleaved)"},
	{"part of q rows interleaved", func(s *model.Spec) bool { return s.Rope.Dims > 2 },
		func(t *testing.T, m *model.Model, b string) {
			s := &m.Spec
			change(t, m, b+"q", reorder(func(i int) int {
				if at := i % s.HeadDim; at < s.Rope.Dims {
					return i - at + model.HalfSplit(at, s.Rope.Dims)
				}
				return i
			}))
		}, "q", "B.q", "rows are in the other rotary order (interleaved, want halves)"},
	{"q and k exchanged", func(s *model.Spec) bool { return s.Heads == s.KVHeads },
		func(t *testing.T, m *model.Model, b string) {
			m.Tensors[b+"q"], m.Tensors[b+"k"] = m.Tensors[b+"k"], m.Tensors[b+"q"]
		}, "q", "B.q", "holds what the reference has as B.k"},
	{"gate and up exchanged", func(s *model.Spec) bool { return !s.Ungated },
		func(t *testing.T, m *model.Model, b string) {
			m.Tensors[b+"gate"], m.Tensors[b+"up"] = m.Tensors[b+"up"], m.Tensors[b+"gate"]
		}, "gate", "B.gate", "holds what the reference has as B.up"},
	{"theta", func(s *model.Spec) bool { return len(s.Ropes) == 0 },
		func(t *testing.T, m *model.Model, b string) { m.Spec.Rope.Base *= 50 }, "q_rope", "", "rope.base is "},
	{"eps", func(*model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) { m.Spec.NormEps += 0.01 }, "attn_norm", "blocks.0.attn_norm", "norm epsilon is "},
	{"bias of q dropped", func(s *model.Spec) bool { return s.Bias.QKV },
		func(t *testing.T, m *model.Model, b string) {
			m.Spec.Bias.QKV = false
			for i := range m.Spec.Blocks {
				for _, kind := range []string{"q", "k", "v"} {
					delete(m.Tensors, model.Name(i, kind)+model.BiasSuffix)
				}
			}
		}, "q", "blocks.0.q", "blocks.0.q.bias: missing; the reference has one"},
	{"bias of v zero", func(s *model.Spec) bool { return s.Bias.QKV },
		func(t *testing.T, m *model.Model, b string) { change(t, m, b+"v.bias", scaled(0)) }, "v", "B.v", "B.v.bias: all zeros"},
	{"bias of down zero", func(s *model.Spec) bool { return s.Bias.FFN },
		func(t *testing.T, m *model.Model, b string) { change(t, m, b+"down.bias", scaled(0)) }, "down", "B.down", "B.down.bias: all zeros"},
	{"o transposed", func(s *model.Spec) bool { return s.Hidden == s.Heads*s.HeadDim },
		func(t *testing.T, m *model.Model, b string) {
			change(t, m, b+"o", func(rows [][]float32) [][]float32 {
				out := make([][]float32, len(rows))
				for i := range out {
					out[i] = make([]float32, len(rows))
					for j := range out[i] {
						out[i][j] = rows[j][i]
					}
				}
				return out
			})
		}, "o", "B.o", "is transposed"},
	{"down stored the other way", func(s *model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) {
			change(t, m, b+"down", func(rows [][]float32) [][]float32 {
				n, width := len(rows), len(rows[0])
				out := make([][]float32, n)
				for i := range out {
					out[i] = make([]float32, width)
					for j := range out[i] {
						at := i*width + j
						out[i][j] = rows[at%n][at/n]
					}
				}
				return out
			})
		}, "down", "B.down", "is transposed"},
	{"v scaled", func(*model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) { change(t, m, b+"v", scaled(0.5)) }, "v", "B.v", "~0.5 times the reference's"},
	{"up negated", func(*model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) { change(t, m, b+"up", scaled(-1)) }, "up", "B.up", "~-1 times the reference's"},
	{"heads of v in another order", func(s *model.Spec) bool { return s.KVHeads > 1 },
		func(t *testing.T, m *model.Model, b string) {
			s := &m.Spec
			change(t, m, b+"v", reorder(func(i int) int { return (i + s.HeadDim) % (s.KVHeads * s.HeadDim) }))
		}, "v", "B.v", "heads are in another order: head 0 is the reference's head 1"},
	{"columns of o moved", func(s *model.Spec) bool { return s.HeadDim > 4 && s.Rope.Dims == 0 && !s.Rope.Pairs },
		func(t *testing.T, m *model.Model, b string) {
			dim := m.Spec.HeadDim
			change(t, m, b+"o", func(rows [][]float32) [][]float32 {
				for r, x := range rows {
					moved := slices.Clone(x)
					for i := range moved {
						moved[i] = x[model.HalfSplit(i, dim)]
					}
					rows[r] = moved
				}
				return rows
			})
		}, "o", "B.o", "columns are in the other rotary order"},
	{"one weight", func(*model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) {
			change(t, m, b+"up", func(rows [][]float32) [][]float32 { rows[3][5] += 4; return rows })
		}, "up", "B.up", "row 3: column 5 is "},
	{"gains without one", func(*model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) {
			change(t, m, b+"attn_norm", func(rows [][]float32) [][]float32 {
				for i := range rows[0] {
					rows[0][i]--
				}
				return rows
			})
		}, "attn_norm", "B.attn_norm", "every value is the reference's -1"},
	{"embedding shifted", func(*model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) {
			n := m.Spec.Vocab
			change(t, m, model.Embed, reorder(func(i int) int { return (i + n - 1) % n }))
		}, "embed", "embed", "rows are shifted by +1: row "},
	{"window", func(s *model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) {
			s := &m.Spec
			all := make([]model.Attention, s.Blocks)
			copy(all, s.Attention)
			for i := range all {
				all[i].Window = 3
			}
			s.Attention = all
		}, "attention", "", "window is 3, the reference has "},
	{"scale of attention", func(*model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) { m.Spec.AttnScale = 0.5 }, "attention", "", "attention scale is 0.5, the reference has "},
	{"activation", func(*model.Spec) bool { return true },
		func(t *testing.T, m *model.Model, b string) {
			if m.Spec.Activation = model.GELUTanh; strings.Contains(m.Path, "phi") || strings.Contains(m.Path, "gemma3") {
				m.Spec.Activation = model.SiLU
			}
		}, "act", "", "activation is "},
	{"norm kind", func(s *model.Spec) bool { return s.Norm == model.NormRMS },
		func(t *testing.T, m *model.Model, b string) { m.Spec.Norm = model.NormRMS1 }, "attn_norm", "blocks.0.attn_norm", "norm is rms1, the reference has rms"},
	{"no second norm", func(s *model.Spec) bool { return s.PostNorm },
		func(t *testing.T, m *model.Model, b string) { m.Spec.PostNorm = false }, "attn_post", "blocks.0.attn_post", "postnorm is false, the reference has true"},
	{"embedding not scaled", func(s *model.Spec) bool { return s.EmbedScale != 0 },
		func(t *testing.T, m *model.Model, b string) { m.Spec.EmbedScale = 0 }, "embed", "embed", "embedding scale is 1, the reference has "},
	{"layers run once", func(s *model.Spec) bool { return s.Shared() },
		func(t *testing.T, m *model.Model, b string) { m.Spec.Schedule = model.InOrder(m.Spec.Blocks, 1) },
		"attn_norm", "blocks.1.attn_norm", "schedule is block 1 in step 1, the reference has block 0 in step 1"},
	{"head of another model", func(s *model.Spec) bool { return !s.Tied },
		func(t *testing.T, m *model.Model, b string) { change(t, m, model.Head, scaled(1.5)) }, "head", "head", "~1.5 times the reference's"},
}

// The comparison locates and names every fault that a family of models can have.
func TestDiagnoses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	for _, dir := range architectures {
		m := openFixture(t, dir)
		last := model.Name(m.Spec.Blocks-1, "")
		for _, f := range faults {
			if !f.possible(&m.Spec) {
				continue
			}
			t.Run(dir+"/"+f.name, func(t *testing.T) {
				checkFault(t, m, &f, last, locate(t, m, broken(t, m, func(c *model.Model) { f.inject(t, c, last) })))
			})
		}
	}
}

// rounded returns m with its matrices in a scheme, each group scaled by its largest
// value.
func rounded(t *testing.T, m *model.Model, scheme string) *model.Model {
	t.Helper()
	s, err := qtensor.ParseScheme(scheme)
	if err != nil {
		t.Fatal(err)
	}
	return broken(t, m, func(c *model.Model) {
		var r qtensor.Rounder
		for _, slot := range c.Spec.Slots() {
			if slot.Role == model.Vector {
				continue
			}
			w, err := qtensor.New(s, slot.Rows, slot.Cols)
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range rowsOf(c.Tensors[slot.Name]) {
				if err := r.Row(w, i, x); err != nil {
					t.Fatal(err)
				}
			}
			c.Tensors[slot.Name] = w
		}
	})
}

// Rounding does not hide a fault, nor count as one: the comparison finds the same
// faults in models of few bits, of every scheme and of every model.
func TestDiagnosesRounded(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	for dir, schemes := range map[string][]string{
		"qwen2": {"int8/g32", "int4/g32", "int4/g32/asym", "int3/g32", "f16"}, "phi": {"int3/g32"}, "mobilellm-ls": {"int4/g32"}, "gemma3": {"int4/g32/asym"},
	} {
		m := openFixture(t, dir)
		last := model.Name(m.Spec.Blocks-1, "")
		for _, scheme := range schemes {
			if d := locate(t, m, rounded(t, m, scheme)); d != nil {
				t.Errorf("%s in %s is said to be wrong: %+v", dir, scheme, *d)
			}
			for _, f := range faults {
				if !f.possible(&m.Spec) || f.name == "one weight" || scheme == "int3/g32" && f.name == "head of another model" {
					continue // makes its group's scale as large; is no more than rounding
				}
				t.Run(dir+"/"+scheme+"/"+f.name, func(t *testing.T) {
					wrong := broken(t, m, func(c *model.Model) { f.inject(t, c, last) })
					checkFault(t, m, &f, last, locate(t, m, rounded(t, wrong, scheme)))
				})
			}
		}
	}
}

func checkFault(t *testing.T, m *model.Model, f *fault, block string, d *parity.Divergence) {
	t.Helper()
	full := func(text string) string { return strings.ReplaceAll(text, "B.", block) }
	switch {
	case d == nil:
		t.Errorf("not found")
	case strings.HasPrefix(f.cause, "~") && d.Operation == f.operation && d.Tensor == full(f.tensor):
		var want, got float64
		_, err := fmt.Sscanf(f.cause, "~%g times the reference's", &want)
		if _, err2 := fmt.Sscanf(d.Cause, d.Tensor+": %g times the reference's", &got); err != nil || err2 != nil || math.Abs(got-want) > 0.03*math.Abs(want) {
			t.Errorf("%s, want %s", d.Cause, f.cause)
		}
	case d.Operation != f.operation || f.tensor != "" && d.Tensor != full(f.tensor) || !strings.Contains(d.Cause, full(f.cause)):
		t.Errorf("found %+v\nwant %s, %s: %s", *d, f.operation, full(f.tensor), full(f.cause))
	case strings.HasPrefix(full(f.tensor), block) && slices.Index(m.Spec.Schedule, m.Spec.Blocks-1) != d.Step:
		t.Errorf("found in step %d, want the first that runs %s", d.Step, block)
	}
}
