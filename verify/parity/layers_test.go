package parity_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/parity"
)

func profile(t *testing.T, want, got *model.Model, a parity.Arithmetic) *parity.Profile {
	t.Helper()
	ids := someIDs(want, 32)
	done := 0
	p, err := parity.CompareWithProgress(t.Context(), want, got, a, [][]int{ids[:20], ids[20:]}, false, func(n, total int) {
		if n < done || n > total {
			t.Errorf("%d of %d steps after %d", n, total, done)
		}
		done = n
	})
	if done != len(want.Spec.Schedule) {
		t.Errorf("progress ends with %d steps", done)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// matrices lists the operations whose weights are rounded.
var matrices = []string{model.Q, model.K, model.V, model.O, model.Gate, model.Up, model.Down, model.Head}

// In every scheme the expected error is within a third of the measured one, and
// operations whose tensors are not rounded add no error.
func TestExpectedError(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	for _, dir := range []string{"llama-biases", "phi", "gemma3", "trained"} {
		m := broken(t, openFixture(t, dir), func(*model.Model) {}) // in float32
		for _, scheme := range []string{"f16", "bf16", "int8/g32", "int6/row", "int4/g32", "int4/g32/asym", "int3/g64"} {
			if strings.HasSuffix(scheme, "f16") && dir != "llama-biases" { // which alone has floats that this rounds
				continue
			}
			p := profile(t, m, rounded(t, m, scheme), parity.Arithmetic{})
			for _, l := range p.Layers {
				r := float64(l.Added / l.Expected)
				switch {
				case slices.Contains(matrices, l.Operation) && !(r > 0.67 && r < 1.5):
					t.Errorf("%s in %s: %+v", dir, scheme, l)
				case !slices.Contains(matrices, l.Operation) && l.Operation != model.Embed && (l.Added != 0 || l.Expected != 0):
					t.Errorf("%s in %s: %+v", dir, scheme, l)
				}
			}
			if p.Divergence != nil || p.Worst == 0 || p.Closest == "" {
				t.Errorf("%s in %s: %+v", dir, scheme, p.Divergence)
			}
		}
	}
}

// Rounded activations, keys and values are explained too.
func TestExpectedErrorOfArithmetic(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	for _, text := range []struct{ activations, kv string }{{"int8", ""}, {"int8/row", "int8"}, {"", "k8v4"}, {"int8/g32", "int4/g32"}, {"", "f16"}} {
		a, err := verify.ParseArithmetic(text.activations, text.kv)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"llama-biases", "qwen3", "gemma3", "trained"} {
			m := openFixture(t, dir)
			p := profile(t, m, rounded(t, m, "int8/g32"), a)
			if p.Divergence != nil {
				t.Errorf("%s with %v: %+v", dir, text, *p.Divergence)
			}
			for _, l := range p.Layers {
				r := float64(l.Added / l.Expected)
				if l.Operation == "attention" && text.kv != "" && !(r > 0.1 && r < 2) {
					t.Errorf("%s with %v: %+v", dir, text, l)
				}
			}
		}
	}
}

// With a wrong factor in v, v has the only added error, o inherits it, and the report
// names the place.
func TestAddedAndInherited(t *testing.T) {
	m := openFixture(t, "llama-tied")
	p := profile(t, m, broken(t, m, func(c *model.Model) { change(t, c, "blocks.0.v", scaled(0.5)) }), parity.Arithmetic{})
	near := func(a metric.Value, b float64) bool { return math.Abs(float64(a)-b) < 1e-6 }
	for _, l := range p.Layers {
		switch {
		case l.Step == 0 && l.Operation == "v" && !(near(l.Added, 0.5) && l.Inherited == 0),
			l.Step == 0 && (l.Operation == "attention" || l.Operation == "o") && !(l.Added == 0 && near(l.Inherited, 0.5)),
			l.Step > 0 && (l.Added != 0 || l.Inherited == 0):
			t.Errorf("%+v", l)
		}
	}
	one := broken(t, m, func(c *model.Model) {
		change(t, c, "blocks.1.up", func(rows [][]float32) [][]float32 { rows[7][3] += 1; return rows })
	})
	d := profile(t, m, one, parity.Arithmetic{}).Divergence
	if d == nil || d.Step != 1 || d.Block != 1 || d.Operation != "up" || d.Tensor != "blocks.1.up" || d.Channel != 7 {
		t.Fatalf("%+v", d)
	}
	if d.Prompt == 0 && d.Token >= 20 || d.Prompt == 1 && d.Token >= 12 || d.Prompt > 1 {
		t.Errorf("prompt %d has no token %d", d.Prompt, d.Token)
	}
}

// A calibrated quantizer makes the weights of a layer smaller if their inputs have errors, since
// that is the least error of its outputs. It counts only without such errors, or beyond them.
func TestSmallerWeightsForInputsWithErrors(t *testing.T) {
	m := openFixture(t, "llama-tied")
	noise := rand.New(rand.NewPCG(1, 2))
	const calibrated = "scheme: int8/g32\nmethod: gptq\ncalibration:\n  tokens: 1\n"
	for _, c := range []struct {
		errors float64 // of the embeddings, by their root mean square
		factor float32 // of the weights of blocks.0.down
		recipe string
		counts bool
	}{{0, 0.9, calibrated, true}, {1, 0.9, calibrated, false}, {1, 0.9, "scheme: int8/g32\n", true}, {1, -0.2, calibrated, true}} {
		wrong := broken(t, m, func(x *model.Model) {
			change(t, x, model.Embed, func(rows [][]float32) [][]float32 {
				for _, row := range rows {
					squares := 0.0
					for _, v := range row {
						squares += float64(v * v)
					}
					for i := range row {
						row[i] += float32(c.errors * math.Sqrt(squares/float64(len(row))) * noise.NormFloat64())
					}
				}
				return rows
			})
			change(t, x, "blocks.0.down", scaled(c.factor))
		})
		q := rounded(t, wrong, "int8/g32")
		q.Provenance.Recipe = c.recipe
		p := profile(t, m, q, parity.Arithmetic{})
		for _, l := range p.Layers {
			if l.Step == 0 && l.Operation == "down" && (l.Excess > 1) != c.counts {
				t.Errorf("errors of %g, weights times %g: down is %.2f times its limit", c.errors, c.factor, float64(l.Excess))
			}
		}
	}
}

// rotate multiplies each group of 8 values by a Hadamard matrix.
func rotate(x []float32) []float32 {
	out := make([]float32, len(x))
	for i := range x {
		for j := range 8 {
			sign := float32(1)
			for k := i % 8 & j; k > 0; k &= k - 1 {
				sign = -sign
			}
			out[i] += sign * x[i-i%8+j] / float32(math.Sqrt(8))
		}
	}
	return out
}

func rotated(t *testing.T, m *model.Model, kind func(b int) bool) *model.Model {
	return broken(t, m, func(c *model.Model) {
		for b := range c.Spec.Blocks {
			if !kind(b) {
				continue
			}
			change(t, c, model.Name(b, model.O), func(rows [][]float32) [][]float32 {
				for r := range rows {
					rows[r] = rotate(rows[r])
				}
				return rows
			})
			change(t, c, model.Name(b, model.V), func(rows [][]float32) [][]float32 {
				for j := range rows[0] {
					column := make([]float32, len(rows))
					for i, x := range rows {
						column[i] = x[j]
					}
					for i, v := range rotate(column) {
						rows[i][j] = v
					}
				}
				return rows
			})
			if c.Spec.Bias.QKV {
				change(t, c, model.Name(b, model.V+model.BiasSuffix), func(rows [][]float32) [][]float32 { return [][]float32{rotate(rows[0])} })
			}
		}
	})
}

// Rotated values, with an output projection that undoes the rotation, do not count as
// an error and do not hide one.
func TestRotatedValues(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	for _, dir := range []string{"llama-tied", "mobilellm-ls", "phi", "trained"} { // heads of 16, 8, 20 and 32
		m := openFixture(t, dir)
		if m.Spec.HeadDim%8 != 0 {
			continue
		}
		odd := rotated(t, m, func(b int) bool { return b%2 == 1 })
		for _, scheme := range []string{"f32", "int8/g32", "int4/g32", "int3/g32"} {
			small := odd
			if scheme != "f32" {
				small = rounded(t, odd, scheme)
			}
			if d := locate(t, m, small); d != nil {
				t.Errorf("%s in %s: %+v", dir, scheme, *d)
			}
			for kind, f := range map[string]func([][]float32) [][]float32{
				model.V: func([][]float32) [][]float32 { return rowsOf(m.Tensors[model.Name(1, model.K)]) },
				model.O: scaled(0.5),
			} {
				wrong := broken(t, odd, func(c *model.Model) { change(t, c, model.Name(1, kind), f) })
				if scheme != "f32" {
					wrong = rounded(t, wrong, scheme)
				}
				d := locate(t, m, wrong)
				if d == nil || d.Tensor != model.Name(1, kind) || kind == model.O && !strings.Contains(d.Cause, "times the reference's") {
					t.Errorf("%s in %s, %s changed: %+v", dir, scheme, kind, d)
				}
			}
		}
	}
}

// Values that do not use all dimensions of their head, or a head that is zero, are rotated
// like others, and hide no error.
func TestRotatedValuesThatAreSingular(t *testing.T) {
	for name, damage := range map[string]func(rows [][]float32){
		"a channel of zeros": func(rows [][]float32) { clear(rows[3]) },
		"a head of zeros": func(rows [][]float32) {
			for r := range 16 {
				clear(rows[r])
			}
		},
		"a channel twice":  func(rows [][]float32) { copy(rows[5], rows[4]) },
		"a weaker channel": func(rows [][]float32) { rows[3] = scaled(0.001)([][]float32{rows[3]})[0] },
	} {
		m := broken(t, openFixture(t, "llama-tied"), func(c *model.Model) { // 2 heads of 16
			change(t, c, "blocks.1.v", func(rows [][]float32) [][]float32 { damage(rows); return rows })
		})
		odd := rotated(t, m, func(b int) bool { return b == 1 })
		for _, scheme := range []string{"f32", "int4/g32"} {
			small := odd
			if scheme != "f32" {
				small = rounded(t, odd, scheme)
			}
			if d := locate(t, m, small); d != nil {
				t.Errorf("%s in %s: %+v", name, scheme, *d)
			}
		}
		for kind, f := range map[string]func([][]float32) [][]float32{
			model.V: func([][]float32) [][]float32 { return rowsOf(m.Tensors["blocks.1.k"]) }, model.O: scaled(0.5),
		} {
			wrong := rounded(t, broken(t, odd, func(c *model.Model) { change(t, c, model.Name(1, kind), f) }), "int4/g32")
			if d := locate(t, m, wrong); d == nil || d.Tensor != model.Name(1, kind) {
				t.Errorf("%s, %s changed: %+v", name, kind, d)
			}
		}
	}
}
