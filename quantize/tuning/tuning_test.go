package tuning

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize/quantizetest"
)

const fixtures = "../../fixtures"

// pair opens a fixture and rounds its matrices to a scheme, and its vectors to f32.
func pair(t *testing.T, dir, scheme string) (original, coarse *model.Model) {
	t.Helper()
	m, err := convert.Open(filepath.Join(fixtures, dir), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, quantizetest.Rounded(t, m, scheme, "f32")
}

// texts makes pieces of length n, whose tokens follow each other in a simple pattern.
func texts(pieces, n, vocab int) (all [][]int) {
	for i := range pieces {
		ids := make([]int, n)
		for t := range ids {
			ids[t] = (i*31 + t*t*7 + t*i) % vocab
		}
		all = append(all, ids)
	}
	return all
}

func tune(t *testing.T, dir, scheme string, o Options) (*Result, *model.Model) {
	t.Helper()
	m, q := pair(t, dir, scheme)
	on, err := Divide(texts(18, 24, m.Spec.Vocab))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Tune(t.Context(), m, q, *on, o)
	if err != nil {
		t.Fatal(err)
	}
	return r, q
}

// TestTune tunes models with norms and biases of every kind: the divergence on held-out
// texts falls, the codes stay, and the bytes are the same on any number of cores and on any
// machine.
func TestTune(t *testing.T) {
	cases := []struct{ dir, scheme, hash string }{
		{"llama-biases", "int4/g16/asym", "6bc05c37b8b631db"}, {"architectures/gemma2", "int3/g32", "b77c00606fa0aa87"},
	}
	if testing.Short() {
		cases = cases[:1]
	}
	for _, c := range cases {
		o := Defaults()
		o.Batch = 48
		o.Epochs = 3
		var last int64
		o.Progress = func(done, total int64) {
			if done < last || done > total {
				t.Errorf("progress %d after %d, of %d", done, last, total)
			}
			last = done
		}
		r, q := tune(t, c.dir, c.scheme, o)
		if !(r.After < 0.9*r.Before) || r.Best == 0 {
			t.Errorf("%s: KL %g, was %g, after step %d of %d", c.dir, r.After, r.Before, r.Best, r.Steps)
		}
		for name, w := range r.Tensors {
			if was := q.Tensors[name]; w.Scheme != was.Scheme || w.Scheme.Kind == qtensor.Int && !slices.Equal(w.Codes, was.Codes) {
				t.Errorf("%s: %s has other codes", c.dir, name)
			}
		}
		if got := hashOf(r); got != c.hash {
			t.Errorf("%s: tensors hash to %s, want %s", c.dir, got, c.hash)
		}
		if testing.Short() { // emulated, a run takes ten seconds
			continue
		}
		last, o.Progress = 0, nil
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(5))
		if again, _ := tune(t, c.dir, c.scheme, o); hashOf(again) != hashOf(r) {
			t.Errorf("%s: five cores give other bytes", c.dir)
		}
	}
}

func hashOf(r *Result) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(r.Tensors)) {
		for _, plane := range r.Tensors[name].Planes() {
			h.Write(plane)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:8])
}

// TestKeepsTheBest requires that steps that are too large leave the model as it was.
func TestKeepsTheBest(t *testing.T) {
	o := Defaults()
	o.Batch = 48
	o.Rates = Rates{Scales: 3e6, Gains: 3e6}
	r, q := tune(t, "llama-tied", "int4/g16/asym", o)
	if r.Best != 0 || r.After != r.Before {
		t.Errorf("KL %g after step %d, was %g", r.After, r.Best, r.Before)
	}
	for name, w := range r.Tensors {
		if !slices.Equal(w.Scales, q.Tensors[name].Scales) || w.Scheme.Float() && !slices.Equal(w.Codes, q.Tensors[name].Codes) {
			t.Errorf("%s changed", name)
		}
	}
}

func TestDivide(t *testing.T) {
	for n, want := range map[int]int{2: 1, 8: 1, 17: 2, 64: 8, 200: 8} {
		on, err := Divide(texts(n, 3, 5))
		if err != nil || len(on.HeldOut) != want || len(on.Texts) != n-want {
			t.Errorf("Divide of %d: %v, %v", n, on, err)
		}
	}
	if _, err := Divide(texts(1, 3, 5)); err == nil || !strings.Contains(err.Error(), "only one piece") {
		t.Error(err)
	}
}
