// Package referencetest has Scorers for tests, of logits that are written down or
// derived from those of a file.
package referencetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"thimble/verify/reference"
)

// Rows is a Scorer of logits that are written down: those of position p of the
// prompt whose first id is i are Logits[i][p], (Width).
type Rows struct {
	Width  int
	Logits [][][]float32
}

// Vocab returns Width.
func (r *Rows) Vocab() int { return r.Width }

// Score finds a prompt by its first id.
func (r *Rows) Score(_ context.Context, ids []int) (reference.Prediction, error) {
	if ids[0] >= len(r.Logits) {
		return nil, fmt.Errorf("no prompt %d", ids[0])
	}
	return promptRows(r.Logits[ids[0]]), nil
}

type promptRows [][]float32

func (p promptRows) Logits(_ context.Context, dst []float32, from, n int) error {
	for i, row := range p[from : from+n] {
		copy(dst[i*len(row):(i+1)*len(row)], row)
	}
	return nil
}

// Noisy returns a Scorer of random logits, one of the same logits with some noise
// added, and prompts of these lengths, every position scored.
func Noisy(seed uint64, vocab int, lengths ...int) (ref, model *Rows, prompts []reference.Prompt) {
	random := rand.New(rand.NewPCG(seed, 1))
	ref, model = &Rows{Width: vocab}, &Rows{Width: vocab}
	for i, n := range lengths {
		var a, b [][]float32
		ids := make([]int, n)
		for t := range n {
			x, y := make([]float32, vocab), make([]float32, vocab)
			for j := range x {
				x[j] = float32(3 * random.NormFloat64())
				y[j] = x[j] + float32(0.3*random.NormFloat64())
			}
			a, b = append(a, x), append(b, y)
			ids[t] = random.IntN(vocab)
		}
		ids[0] = i
		ref.Logits, model.Logits = append(ref.Logits, a), append(model.Logits, b)
		prompts = append(prompts, reference.Prompt{IDs: ids, To: n})
	}
	return ref, model, prompts
}

// Open opens a reference file for the time of a test.
func Open(t testing.TB, path string) *reference.File {
	t.Helper()
	f, err := reference.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Stored returns the logits of the full reference file at path.
func Stored(t testing.TB, path string) reference.Scorer {
	t.Helper()
	s, err := Open(t, path).Scorer()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Perturbed returns the logits of the full reference file at path times 3/4,
// rounded to bfloat16, as golden.py of verify/reference/testdata computes them.
func Perturbed(t testing.TB, path string) reference.Scorer {
	t.Helper()
	return perturbed{Stored(t, path)}
}

type perturbed struct{ reference.Scorer }

func (p perturbed) Score(ctx context.Context, ids []int) (reference.Prediction, error) {
	l, err := p.Scorer.Score(ctx, ids)
	return perturbedRows{l}, err
}

type perturbedRows struct{ reference.Prediction }

func (p perturbedRows) Logits(ctx context.Context, dst []float32, from, n int) error {
	err := p.Prediction.Logits(ctx, dst, from, n)
	for i, v := range dst {
		u := math.Float32bits(v * 0.75)
		dst[i] = math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
	}
	return err
}
