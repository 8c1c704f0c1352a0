package generate

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"thimble/convert"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/transformer"
)

func open(t *testing.T, name string) *model.Model {
	t.Helper()
	m, err := convert.Open(filepath.Join("../../fixtures", name), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func newGenerator(t *testing.T, m *model.Model) *Generator {
	t.Helper()
	g, err := New(m, transformer.Arithmetic{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A prefix in the cache gives the same logits, bit for bit, as a prefix that is
// computed again. That includes positions beyond an attention window and blocks that
// run twice.
func TestSharedPrefix(t *testing.T) {
	for _, name := range []string{"mistral", "mobilellm-ls", "trained"} {
		m := open(t, name)
		g := newGenerator(t, m)
		ids := []int{5, 9, 2, 7, 7, 30, 12, 4, 6, 8, 1, 3, 5, 5, 5, 22, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50}
		for _, seq := range [][]int{ids, ids[:12], append(slices.Clone(ids[:20]), 3), ids, {9}, ids[:1]} {
			got, err := g.Logits(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			got = slices.Clone(got)
			want, err := newGenerator(t, m).Logits(t.Context(), seq)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: a shared prefix changes the logits of a sequence of %d tokens", name, len(seq))
			}
		}
	}
}

// The log-likelihood of a continuation is the sum of the log-likelihoods of its tokens.
func TestLogLikelihood(t *testing.T) {
	m := open(t, "trained")
	g := newGenerator(t, m)
	ids := make([]int, 90)
	for i := range ids {
		ids[i] = i * 37 % m.Spec.Vocab
	}
	const from = 13
	want := 0.0
	for at := from; at < len(ids); at++ {
		row, err := g.Logits(t.Context(), ids[:at])
		if err != nil {
			t.Fatal(err)
		}
		want += float64(row[ids[at]]) - logits.LogSumExp(row, nil)
	}
	got, err := g.LogLikelihood(t.Context(), ids, from)
	if err != nil || got != want {
		t.Errorf("LogLikelihood = %v, %v, want %v", got, err, want)
	}
}

// A log-likelihood does not depend on what the Generator has computed before.
func TestSharedLogLikelihood(t *testing.T) {
	m := open(t, "mistral") // its window is 21
	g := newGenerator(t, m)
	random := rand.New(rand.NewPCG(3, 4))
	text := func(n int) []int {
		ids := make([]int, n)
		for i := range ids {
			ids[i] = random.IntN(300)
		}
		return ids
	}
	base := text(60)
	for range 24 {
		ids := slices.Concat(base[:random.IntN(len(base)+1)], text(1+random.IntN(90)))
		from := 1 + random.IntN(len(ids))
		if from == len(ids) {
			ids = append(ids, 1)
		}
		got, err := g.LogLikelihood(t.Context(), ids, from)
		if err != nil {
			t.Fatal(err)
		}
		want, err := newGenerator(t, m).LogLikelihood(t.Context(), ids, from)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("%d tokens from %d: %v, by a new Generator %v", len(ids), from, got, want)
		}
		if random.IntN(3) == 0 { // as generation does between two
			if _, err := g.Logits(t.Context(), slices.Concat(base, text(3))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestContinue(t *testing.T) {
	m := open(t, "trained")
	g := newGenerator(t, m)
	ids := []int{70, 80, 90}
	all, err := g.Continue(t.Context(), ids, 12, logits.Argmax, nil)
	if err != nil || len(all) != 12 {
		t.Fatalf("%v, %v", all, err)
	}
	for i := range all { // the same tokens, each from a new Generator
		row, err := newGenerator(t, m).Logits(t.Context(), append(slices.Clone(ids), all[:i]...))
		if err != nil {
			t.Fatal(err)
		}
		if best := logits.Argmax(row); best != all[i] {
			t.Fatalf("token %d is %d, want %d", i, all[i], best)
		}
	}
	var seen []int
	some, err := g.Continue(t.Context(), ids, 12, logits.Argmax, func(id int) (bool, error) {
		seen = append(seen, id)
		return len(seen) < 5, nil
	})
	if err != nil || !slices.Equal(some, all[:5]) || !slices.Equal(seen, some) {
		t.Errorf("stopped after 5: %v, seen %v, %v", some, seen, err)
	}
	failed := errors.New("a full disk")
	if _, err := g.Continue(t.Context(), ids, 12, logits.Argmax, func(int) (bool, error) { return true, failed }); err != failed {
		t.Errorf("Continue returns %v, want the error of emit", err)
	}
	g.spec.EOS = []int{all[3]}
	if ended, err := g.Continue(t.Context(), ids, 12, logits.Argmax, nil); err != nil || !slices.Equal(ended, all[:slices.Index(all, all[3])]) {
		t.Errorf("a token that ends the text: %v, %v", ended, err)
	}
}

// Pick chooses each token as often as its probability predicts.
func TestSampler(t *testing.T) {
	row := []float32{1, 3, 3, -2}
	if got := NewSampler(Sampling{}).Pick(row); got != 1 {
		t.Errorf("temperature 0 picks %d, want 1, the lower id of a tie", got)
	}
	const draws, temperature = 20000, 1.5
	sampling := Sampling{Generation: model.Generation{Temperature: temperature}, Seed: 7}
	s, again := NewSampler(sampling), NewSampler(sampling)
	counts := make([]int, len(row))
	for range draws {
		id := s.Pick(row)
		if other := again.Pick(row); other != id {
			t.Fatalf("two samplers with the same seed pick %d and %d", id, other)
		}
		counts[id]++
	}
	sum := 0.0
	for _, l := range row {
		sum += math.Exp(float64(l) / temperature)
	}
	for id, l := range row {
		p := math.Exp(float64(l)/temperature) / sum
		if got := float64(counts[id]) / draws; math.Abs(got-p) > 4*math.Sqrt(p*(1-p)/draws) {
			t.Errorf("token %d has frequency %.4f, its probability is %.4f", id, got, p)
		}
	}
}
