package gradient

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/transformer"
	"thimble/quantize/quantizetest"
)

const fixtures = "../../fixtures"

func open(t *testing.T, dir string) *model.Model {
	t.Helper()
	m, err := convert.Open(filepath.Join(fixtures, dir), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func all(model.Slot) bool { return true }

// nextLogits returns the logits of m that fixtures/gen/gradients.py takes as the target: at
// each position those at the next one.
func nextLogits(t *testing.T, m *model.Model, ids []int) Target {
	t.Helper()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := d.NewCache(len(ids))
	if err != nil {
		t.Fatal(err)
	}
	h, err := d.Forward(t.Context(), cache, ids)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]float32, len(ids)*m.Spec.Vocab)
	if err := h.Logits(t.Context(), all, 0, len(ids)); err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, dst []float32, first, n int) error {
		for i := range n {
			copy(dst[i*m.Spec.Vocab:][:m.Spec.Vocab], all[(first+i+1)%len(ids)*m.Spec.Vocab:])
		}
		return nil
	}
}

func key(x []float32) string {
	var b []byte
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%x", sum[:8])
}

// TestReference compares the gradients of every fixture that the pass supports with
// PyTorch's in float64: no number may differ by more than 1e-4 of their root mean square,
// among those of matrices or of vectors.
func TestReference(t *testing.T) {
	text, err := os.ReadFile("testdata/gradients.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct {
		IDs       []int
		Gradients map[string]float64
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, dir := range slices.Sorted(maps.Keys(want)) {
		t.Run(dir, func(t *testing.T) {
			m, w := open(t, dir), want[dir]
			g := New(m, all)
			if _, err := g.Add(t.Context(), m, [][]int{w.IDs}, nextLogits(t, m, w.IDs)); err != nil {
				t.Fatal(err)
			}
			var matrices, vectors comparison
			var reader qtensor.Reader
			for _, name := range slices.Sorted(maps.Keys(g)) {
				at := m.Tensors[name]
				row := make([]float32, at.Cols)
				for r := range at.Rows {
					reader.Row(row, at, r)
					expected, ok := w.Gradients[key(row)]
					switch {
					case ok && g[name].Values == nil:
						matrices.add(name, r, float64(g[name].Scales[r]), expected)
					case ok:
						sum := 0.0
						for i, v := range g[name].Values {
							sum += float64(i%7+1) * float64(v)
						}
						vectors.add(name, 0, sum, expected)
					}
				}
			}
			matrices.check(t, 10)
			vectors.check(t, 1)
		})
	}
}

// A comparison collects numbers and their expected values.
type comparison struct {
	names     []string
	got, want []float64
}

func (c *comparison) add(name string, row int, got, want float64) {
	c.names, c.got, c.want = append(c.names, fmt.Sprintf("%s, row %d", name, row)), append(c.got, got), append(c.want, want)
}

func (c *comparison) check(t *testing.T, least int) {
	t.Helper()
	if len(c.got) < least {
		t.Errorf("found %d rows, want at least %d", len(c.got), least)
	}
	square := 0.0
	for _, v := range c.want {
		square += v * v
	}
	rms := math.Sqrt(square / float64(len(c.want)))
	for i, v := range c.got {
		if !(math.Abs(v-c.want[i]) <= 1e-4*rms) {
			t.Errorf("%s: %g, want %g (root mean square %g)", c.names[i], v, c.want[i], rms)
			return
		}
	}
}

var ids = []int{5, 9, 200, 31, 7, 77, 120, 3, 64, 250, 11, 300, 42, 8, 19, 101, 55, 6, 2, 90}

// TestGroups requires that the gradients of scales and minima add up to those of a factor of
// each row, which PyTorch confirms: sum of scale*dL/dscale + min*dL/dmin.
func TestGroups(t *testing.T) {
	for _, scheme := range []string{"int8/row", "int3/g16/asym"} {
		m := quantizetest.Rounded(t, open(t, "ragged"), scheme, "")
		wide := *m
		wide.Tensors = maps.Clone(m.Tensors)
		var reader qtensor.Reader
		for _, slot := range m.Spec.Slots() {
			if slot.Role == model.Vector {
				continue
			}
			w, err := qtensor.New(qtensor.Scheme{Kind: qtensor.F32}, slot.Rows, slot.Cols)
			if err != nil {
				t.Fatal(err)
			}
			row := make([]float32, slot.Cols)
			for r := range slot.Rows {
				reader.Row(row, m.Tensors[slot.Name], r)
				if err := w.SetFloats(r, row); err != nil {
					t.Fatal(err)
				}
			}
			wide.Tensors[slot.Name] = w
		}
		target := nextLogits(t, m, ids)
		g, rows := New(m, all), New(&wide, all)
		for _, one := range []struct {
			g Gradients
			m *model.Model
		}{{g, m}, {rows, &wide}} {
			if _, err := one.g.Add(t.Context(), one.m, [][]int{ids}, target); err != nil {
				t.Fatal(err)
			}
		}
		var c comparison
		for name, one := range g {
			w := m.Tensors[name]
			groups := w.Scheme.Groups(w.Cols)
			for r := range w.Rows * min(groups, 1) {
				scales, mins := reader.Factors(w, r)
				sum := 0.0
				for i, s := range scales {
					sum += float64(s) * float64(one.Scales[r*groups+i])
					if one.Mins != nil {
						sum += float64(mins[i]) * float64(one.Mins[r*groups+i])
					}
				}
				c.add(scheme+" "+name, r, sum, float64(rows[name].Scales[r]))
			}
		}
		c.check(t, 1000)
	}
}

// TestDifferences compares gradients of scales, minima and gains with differences of the
// divergence of a forward pass.
func TestDifferences(t *testing.T) {
	m := quantizetest.Rounded(t, open(t, "llama-tied"), "int4/g16/asym", "")
	target := nextLogits(t, open(t, "llama-tied"), ids)
	g := New(m, all)
	if _, err := g.Add(t.Context(), m, [][]int{ids}, target); err != nil {
		t.Fatal(err)
	}
	vocab := m.Spec.Vocab
	want := make([]float32, len(ids)*vocab)
	if err := target(t.Context(), want, 0, len(ids)); err != nil {
		t.Fatal(err)
	}
	loss := func() (sum float64) {
		got, exp := make([]float32, len(ids)*vocab), make([]float64, vocab)
		if err := nextLogits(t, m, ids)(t.Context(), got, 0, len(ids)); err != nil {
			t.Fatal(err)
		}
		for i := range ids { // nextLogits gives those of a position one before
			p, q := want[i*vocab:][:vocab], got[(i+len(ids)-1)%len(ids)*vocab:][:vocab]
			lseQ := logits.LogSumExp(q, nil)
			lse := logits.LogSumExp(p, exp)
			c := kernel.Compare(p, q, exp)
			sum += logits.KL(&c, lse, lseQ)
		}
		return sum
	}
	for _, name := range []string{"blocks.0.q", "blocks.1.v", "blocks.1.down", "embed"} {
		w := m.Tensors[name]
		for _, plane := range []struct {
			bytes    []byte
			gradient []float32
		}{{w.Scales, g[name].Scales}, {w.Mins, g[name].Mins}} {
			at := largest(plane.gradient)
			half := plane.bytes[2*at:]
			was := binary.LittleEndian.Uint16(half)
			binary.LittleEndian.PutUint16(half, was+3)
			above, x := loss(), qtensor.FromFloat16(was+3)
			binary.LittleEndian.PutUint16(half, was-3)
			below, y := loss(), qtensor.FromFloat16(was-3)
			binary.LittleEndian.PutUint16(half, was)
			got, want := float64(plane.gradient[at]), (above-below)/float64(x-y)
			if math.Abs(got-want) > 0.03*math.Abs(want) {
				t.Errorf("%s: gradient %d is %g, differences give %g", name, at, got, want)
			}
		}
	}
}

func largest(x []float32) (at int) {
	for i, v := range x {
		if math.Abs(float64(v)) > math.Abs(float64(x[at])) {
			at = i
		}
	}
	return at
}

// TestSameEverywhere requires the same bits on one core and eight, and for texts that run
// together or one after the other nearly the same.
func TestSameEverywhere(t *testing.T) {
	m := quantizetest.Rounded(t, open(t, "mistral"), "int4/g16", "")
	texts := [][]int{ids, ids[3:17], ids[:1]}
	hash := func(procs int) string {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		g := New(m, all)
		kl, err := g.Add(t.Context(), m, texts, func(_ context.Context, dst []float32, first, n int) error {
			for i := range dst[:n*m.Spec.Vocab] {
				dst[i] = float32((i*7+first)%13) / 4
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		_ = binary.Write(h, binary.LittleEndian, kl)
		for _, name := range slices.Sorted(maps.Keys(g)) {
			for _, x := range [][]float32{g[name].Scales, g[name].Mins, g[name].Values} {
				_ = binary.Write(h, binary.LittleEndian, x)
			}
		}
		return fmt.Sprintf("%x", h.Sum(nil)[:8])
	}
	const golden = "d9f63cc1961dc187"
	one, eight := hash(1), hash(8)
	if one != eight || one != golden {
		t.Errorf("gradients hash to %s on one core, %s on eight, want %s", one, eight, golden)
	}
}

func TestUnsupported(t *testing.T) {
	for dir, want := range map[string]string{
		"families/mixtral": "gradients: a model with 4 experts", "families/lfm2": "short convolution", "families/bamba": "state space (Mamba2)", "families/bloom": "ALiBi (alibi)",
		"families/gemma3n": "gradients: a model with 4 streams (altup.streams)", "families/gemma4": "feed-forward 40 to 80 (ffn)",
		"families/gpt_oss": "gradients: a model with 4 experts",
		"families/youtu":   "latent attention of rank 24 for keys and values, 20 for queries (latent.keyvalue)",
	} {
		_, err := New(open(t, dir), all).Add(t.Context(), open(t, dir), [][]int{ids}, nil)
		if !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}
