package reference_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/convert"
	"thimble/internal/atomicfile"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/reference"
	"thimble/verify/reference/referencetest"
)

func TestWriteReference(t *testing.T) {
	_, subject, prompts := referencetest.Noisy(2, 50, 70, 3)
	for _, k := range []int{0, 1, 7, 50} {
		dir := t.TempDir()
		var files [2][]byte
		for i := range files {
			path := filepath.Join(dir, fmt.Sprint(i))
			o := reference.WriteOptions{TopK: k, Metadata: map[string]string{"tool": `a "tool"`, "model": "x"}}
			if err := reference.Write(t.Context(), path, subject, prompts, o); err != nil {
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
		if bound := r.Bound("kl_mean"); k == 1 && (!(m.KLHidden > 0.001) || bound.Low > 1e-9 || bound.High != m.KLMean+m.KLHidden) {
			t.Errorf("top 1 hides %v, within %v", m.KLHidden, bound)
		}
		if !reference.Near(float64(m.PPLReference), float64(m.PPL), 1e-6) {
			t.Errorf("top %d: perplexities %v and %v", k, m.PPLReference, m.PPL)
		}
	}
}

// rounded returns a Scorer of logits that are multiples of 1/8, steep enough that most
// tokens are rare, a model that differs by up to spread in each, and its prompts.
func rounded(vocab, spread int, lengths ...int) (ref, model *referencetest.Rows, prompts []reference.Prompt) {
	random := metric.SplitMix(7)
	ref, model = &referencetest.Rows{Width: vocab}, &referencetest.Rows{Width: vocab}
	for n, length := range lengths {
		ids, a, b := make([]int, length), make([][]float32, length), make([][]float32, length)
		for t := range length {
			ids[t], a[t], b[t] = random.Below(vocab), make([]float32, vocab), make([]float32, vocab)
			for id := range vocab {
				a[t][id] = float32(random.Below(40)+random.Below(40)) / 8
				b[t][id] = a[t][id] + float32(random.Below(2*spread+1)-spread)/8
			}
		}
		ids[0] = n
		ref.Logits, model.Logits = append(ref.Logits, a), append(model.Logits, b)
		prompts = append(prompts, reference.Prompt{IDs: ids, From: length / 2, To: length - 1})
	}
	return ref, model, prompts
}

// The bounds of a compact file contain the divergence computed from all logits and are
// close to it. The positions and their perplexity are the same.
func TestSampleBoundsDivergence(t *testing.T) {
	for _, c := range []struct{ spread, top int }{{0, 4}, {1, 4}, {4, 1}, {8, 16}, {24, 4}} {
		source, model, prompts := rounded(1500, c.spread, 40, 21, 60)
		path := filepath.Join(t.TempDir(), "ref")
		if err := reference.Write(t.Context(), path, source, prompts, reference.WriteOptions{TopK: c.top}); err != nil {
			t.Fatal(err)
		}
		full, err := verify.Run(t.Context(), reference.FromScorer(source), model, prompts, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ref := referencetest.Open(t, path)
		if diff := cmp.Diff(prompts, ref.Prompts()); diff != "" {
			t.Fatal(diff)
		}
		r, err := verify.Run(t.Context(), ref, model, ref.Prompts(), verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		bound, exact := r.Bound("kl_mean"), full.Metrics.KLMean
		t.Logf("spread %d, top %d: %.5f is %.5f, from %.5f to %.5f", c.spread, c.top, exact, r.Metrics.KLMean, bound.Low, bound.High)
		const slack = 1e-5 // of logsumexp in float32
		if bound.Low > exact+slack || bound.High < exact-slack || bound.High-bound.Low > 0.12*exact+0.1 || math.Abs(float64(r.Metrics.KLMean-exact)) > 0.05*float64(exact)+slack {
			t.Errorf("spread %d, top %d: %v is estimated as %v, within %v", c.spread, c.top, exact, r.Metrics.KLMean, bound)
		}
		if r.PromptsSHA256 != full.PromptsSHA256 || r.Metrics.Tokens != full.Metrics.Tokens || !reference.Near(float64(r.Metrics.PPLReference), float64(full.Metrics.PPLReference), 1e-5) {
			t.Errorf("%d and %d positions, perplexities %v and %v", r.Metrics.Tokens, full.Metrics.Tokens, r.Metrics.PPLReference, full.Metrics.PPLReference)
		}
	}
}

// A compact file has the same bytes on every machine and on any number of cores.
func TestCompactBytes(t *testing.T) {
	source, _, prompts := rounded(500, 0, 40, 21)
	for _, cores := range []int{1, 7} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			path := filepath.Join(t.TempDir(), "ref")
			if err := reference.Write(t.Context(), path, source, prompts, reference.WriteOptions{TopK: 8}); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			const want = "280d4d48f20e57e702924aef996c70baa71f96b4dbdc78003b9a79729ed54918"
			if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != want {
				t.Errorf("%d cores: sha256 %s, want %s", cores, got, want)
			}
		}()
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
		{[]int{0, 1}, 0, "prompt 0: position 1: the model's logit of token 1 is NaN; thimble convert names a weight that is not finite"},
		{[]int{0, 1}, 1, "prompt 0: position 1: the model's logit of token 1 is NaN; thimble convert names a weight that is not finite"},
		{[]int{1, 0}, 0, "prompt 0: no prompt 1"},
		{[]int{0, 2}, 0, "prompt 0, position 1: token id 2 is outside the model's vocabulary of 2"},
		{[]int{}, 0, "prompt 0: positions [0, 0) are not in a prompt of 0 tokens"},
		{[]int{0}, 3, "top 3 logits: want 1 to the vocabulary of 2, or 0 for all"},
	} {
		err := reference.Write(t.Context(), path, subject, []reference.Prompt{{IDs: c.ids, To: len(c.ids)}}, reference.WriteOptions{TopK: c.topK})
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
	if err := reference.Write(t.Context(), path, subject, []reference.Prompt{{IDs: []int{0}, To: 1}}, reference.WriteOptions{}); err == nil {
		t.Error("an existing file was replaced without being asked to")
	}
	o := reference.WriteOptions{Output: atomicfile.Options{Overwrite: true}}
	if err := reference.Write(t.Context(), path, subject, []reference.Prompt{{IDs: []int{0}, To: 1}}, o); err != nil {
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
