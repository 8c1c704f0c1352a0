package reference_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/convert"
	"thimble/internal/atomicfile"
	"thimble/verify"
	"thimble/verify/reference"
	"thimble/verify/reference/referencetest"
)

func TestWriteReference(t *testing.T) {
	_, subject, prompts := referencetest.Noisy(2, 50, 70, 3)
	ids := [][]int{prompts[0].IDs, prompts[1].IDs}
	for _, k := range []int{0, 1, 7, 50} {
		dir := t.TempDir()
		var files [2][]byte
		for i := range files {
			path := filepath.Join(dir, fmt.Sprint(i))
			o := reference.WriteOptions{TopK: k, Metadata: map[string]string{"tool": `a "tool"`, "model": "x"}}
			if err := reference.Write(t.Context(), path, subject, ids, o); err != nil {
				t.Fatal(err)
			}
			var err error
			if files[i], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if string(files[0]) != string(files[1]) {
			t.Errorf("top %d: two runs differ", k)
		}
		ref := referencetest.Open(t, filepath.Join(dir, "0"))
		r, err := verify.Run(t.Context(), ref, subject, ref.Prompts(), verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := r.Metrics
		if ref.Form().TopK != k || m.Tokens != 73 || m.KLMean > 1e-6 || m.Top1Agreement != 1 || m.MaxAbs != 0 {
			t.Errorf("top %d: read back %+v", k, m)
		}
		if (k == 0 || k == 50) && !(m.KLHidden == 0 && reference.Near(float64(m.PPLReference), float64(m.PPL), 1e-12)) {
			t.Errorf("top %d keeps everything: %+v", k, m)
		}
		if k == 1 && !(m.KLHidden > 0.01) {
			t.Errorf("top 1 hides %v", m.KLHidden)
		}
	}
}

func TestWriteReferenceErrors(t *testing.T) {
	subject := &referencetest.Rows{Width: 2, Logits: [][][]float32{{{1, 2}, {3, float32(math.NaN())}}}}
	dir := t.TempDir()
	path := filepath.Join(dir, "ref")
	for _, c := range []struct {
		ids  []int
		topK int
		want string
	}{
		{[]int{0, 1}, 0, "prompt 0: position 1: the model's logit of token 1 is NaN"},
		{[]int{0, 1}, 1, "prompt 0: position 1: the model's logit of token 1 is NaN"},
		{[]int{1, 0}, 0, "prompt 0: no prompt 1"},
		{[]int{0, 2}, 0, "prompt 0, position 1: token id 2 is outside the model's vocabulary of 2"},
		{[]int{}, 0, "prompt 0: positions [0, 0) are not in a prompt of 0 tokens"},
		{[]int{0}, 3, "top 3 logits: want 1 to the vocabulary of 2, or 0 for all"},
	} {
		err := reference.Write(t.Context(), path, subject, [][]int{c.ids}, reference.WriteOptions{TopK: c.topK})
		if err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("failed runs left %v, %v", left, err)
	}
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := reference.Write(t.Context(), path, subject, [][]int{{0}}, reference.WriteOptions{}); err == nil {
		t.Error("an existing file was replaced without being asked to")
	}
	o := reference.WriteOptions{Output: atomicfile.Options{Overwrite: true}}
	if err := reference.Write(t.Context(), path, subject, [][]int{{0}}, o); err != nil {
		t.Error(err)
	}
}

// A countingScorer counts the prompts that it scores.
type countingScorer struct {
	reference.Scorer
	scored int
}

func (c *countingScorer) Score(ctx context.Context, ids []int) (reference.Prediction, error) {
	c.scored++
	return c.Scorer.Score(ctx, ids)
}

func TestCacheLogits(t *testing.T) {
	m, err := convert.Open("../../fixtures/llama-tied", convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := reference.NewScorer(m, reference.Arithmetic{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]int, 48)
	for i := range ids {
		ids[i] = i * 7 % m.Spec.Vocab
	}
	prompts, err := reference.TextPrompts(ids, 16, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	once := &countingScorer{Scorer: s}
	ref := reference.FromScorer(reference.CacheLogits(once, 32)) // room for two of the three
	var reports []*verify.Report
	for range 3 {
		r, err := verify.Run(t.Context(), ref, s, prompts, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		reports = append(reports, r)
	}
	if once.scored != 3+1+1 {
		t.Errorf("scored %d prompts, want 5", once.scored)
	}
	for _, r := range reports {
		if diff := cmp.Diff(reports[0].Metrics.PPLReference, r.Metrics.PPLReference); diff != "" || r.Metrics.KLMean != 0 || r.Metrics.MaxAbs != 0 {
			t.Errorf("%+v %s", r.Metrics, diff)
		}
	}
}
