package verify

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x448/float16"

	"thimble/internal/atomicfile"
)

// perturbed is the model of testdata/golden.py: a reference times 3/4, rounded
// to bfloat16.
type perturbed struct {
	*Reference
}

func (p perturbed) Score(ctx context.Context, ids []int) (Logits, error) {
	l, err := p.Reference.Score(ctx, ids)
	return perturbedRows{l}, err
}

type perturbedRows struct{ Logits }

func (p perturbedRows) Rows(ctx context.Context, dst []float32, from, n int) error {
	err := p.Logits.Rows(ctx, dst, from, n)
	for i, v := range dst {
		u := math.Float32bits(v * 0.75)
		dst[i] = math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
	}
	return err
}

func open(t *testing.T, path string) *Reference {
	t.Helper()
	r, err := OpenReference(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// golden is what testdata/golden.py prints, the metrics by torch.
var golden = []struct {
	fixture string
	tokens  int
	metrics [10]float64
}{
	{"mobilellm-ls", 141, [10]float64{0.12610201858560507, 0.002797721570372992, 0.1215259709053481, 0.20577751514761483, 0.9929078014184397, 3.3073787689208984, 3.0105143497960496, 0.9999982507371316, 27144.596069220785, 4826.886616137635}},
	{"llama3-rope", 269, [10]float64{0.12667745291980897, 0.0013165401423794825, 0.1225949646732162, 0.1998719233887434, 1.0, 3.397589683532715, 3.0676650699475814, 0.9999982187345366, 22742.195979476102, 4116.017257201232}},
}

func TestFixturesMatchTorch(t *testing.T) {
	for _, g := range golden {
		path := filepath.Join("..", "fixtures", g.fixture, "reference.safetensors")
		ref := open(t, path)
		r, err := Run(t.Context(), ref, perturbed{open(t, path)}, ref.Prompts(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := r.Metrics
		if m.Tokens != g.tokens {
			t.Errorf("%s: %d tokens, want %d", g.fixture, m.Tokens, g.tokens)
		}
		got := [...]Value{m.KLMean, m.KLMeanSE, m.KLMedian, m.KLP99, m.Top1Agreement, m.MaxAbs, m.LogitStd, m.CosineMin, m.PPLReference, m.PPL}
		for i, want := range g.metrics {
			if math.Abs(float64(got[i])-want) > 1e-12*math.Abs(want) {
				t.Errorf("%s: metric %d is %v, torch has %v", g.fixture, i, got[i], want)
			}
		}
	}
}

func TestFixturesMatchThemselves(t *testing.T) {
	paths, err := filepath.Glob("../fixtures/*/reference.safetensors")
	if err != nil || len(paths) < 9 {
		t.Fatalf("found %d references, %v", len(paths), err)
	}
	for _, path := range paths {
		ref := open(t, path)
		r, err := Run(t.Context(), ref, open(t, path), ref.Prompts(), Options{Gates: SchemeGates(schemeOf(t, "f32"))})
		if err != nil {
			t.Fatal(err)
		}
		if m := r.Metrics; !r.Pass || m.KLMean != 0 || m.Top1Agreement != 1 || m.MaxAbs != 0 || m.PPL != m.PPLReference || m.CosineMin < 1-1e-15 {
			t.Errorf("%s differs from itself: %+v", path, m)
		}
	}
}

// A compact reference from PyTorch bounds the divergence that torch computed
// from all logits.
func TestCompactFromPython(t *testing.T) {
	ref := open(t, "testdata/compact.safetensors")
	model := perturbed{open(t, filepath.Join("..", "fixtures", golden[0].fixture, "reference.safetensors"))}
	if ref.TopK() != 16 || ref.Vocab() != 0 {
		t.Fatalf("top %d of %d", ref.TopK(), ref.Vocab())
	}
	r, err := Run(t.Context(), ref, model, ref.Prompts(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, want := r.Metrics, golden[0].metrics
	if low, high := float64(m.KLMean)-1e-6, float64(m.KLMean+m.KLHidden)+1e-6; want[0] < low || want[0] > high {
		t.Errorf("kl_mean is %v, the bounds are %v and %v", want[0], low, high)
	}
	if float64(m.Top1Agreement) != want[4] || !near(float64(m.PPL), want[9], 1e-12) || m.PPLReference.Known() || m.CosineMin.Known() {
		t.Errorf("got %+v", m)
	}
	l, err := ref.Score(t.Context(), ref.Prompts()[0].IDs)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Rows(t.Context(), nil, 0, 1); err == nil || err.Error() != "testdata/compact.safetensors: a compact reference keeps no more than the top 16 logits" {
		t.Errorf("full rows of a compact reference: %v", err)
	}
	if len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "the reference keeps the top 16 of ") {
		t.Errorf("notes are %q", r.Notes)
	}
}

// An entry is a tensor to be written by safetensors.
type entry struct {
	name, dtype string
	shape       []int
	data        []byte
}

// write makes a safetensors file of entries.
func write(t *testing.T, entries ...entry) string {
	t.Helper()
	header := map[string]any{}
	var data []byte
	for _, e := range entries {
		header[e.name] = map[string]any{"dtype": e.dtype, "shape": e.shape, "data_offsets": []int{len(data), len(data) + len(e.data)}}
		data = append(data, e.data...)
	}
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ref.safetensors")
	b := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
	if err := os.WriteFile(path, append(b, data...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func raw(t *testing.T, name, dtype string, shape []int, values any) entry {
	t.Helper()
	b, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		t.Fatal(err)
	}
	return entry{name, dtype, shape, b}
}

func TestReferenceErrors(t *testing.T) {
	ids := func(n int, v ...int64) entry {
		return raw(t, fmt.Sprintf("prompt.%d.input_ids", n), "I64", []int{len(v)}, v)
	}
	logits := func(n, rows, cols int) entry {
		return raw(t, fmt.Sprintf("prompt.%d.logits", n), "F32", []int{rows, cols}, make([]float32, rows*cols))
	}
	top := func(n, rows, k int) []entry {
		return []entry{
			raw(t, fmt.Sprintf("prompt.%d.topk_ids", n), "I32", []int{rows, k}, make([]int32, rows*k)),
			raw(t, fmt.Sprintf("prompt.%d.topk_logits", n), "F32", []int{rows, k}, make([]float32, rows*k)),
			raw(t, fmt.Sprintf("prompt.%d.logsumexp", n), "F32", []int{rows}, make([]float32, rows)),
		}
	}
	for _, c := range []struct {
		entries []entry
		want    string
	}{
		{nil, ": holds no prompts, want prompt.0.input_ids and prompt.0.logits"},
		{[]entry{raw(t, "x", "F32", []int{1}, []float32{1})}, ": x: is not a tensor of a reference file, want prompt.N.input_ids, prompt.N.logits and the like"},
		{[]entry{ids(0, 1), raw(t, "prompt.00.logits", "F32", []int{1}, []float32{1})}, ": prompt.00.logits: is not a tensor of a reference file, want prompt.N.input_ids, prompt.N.logits and the like"},
		{[]entry{raw(t, "prompt.0.logit", "F32", []int{1}, []float32{1})}, ": prompt.0.logit: is not a tensor of a reference file, want prompt.N.input_ids, prompt.N.logits and the like"},
		{[]entry{ids(1, 1), logits(1, 1, 2)}, ": holds 1 prompts but no prompt.0: they are numbered from 0 without a gap"},
		{[]entry{ids(0, 1), logits(0, 1, 2), ids(7, 1), logits(7, 1, 2)}, ": holds 2 prompts but no prompt.1: they are numbered from 0 without a gap"},
		{[]entry{logits(0, 1, 2)}, ": prompt.0.input_ids: tensor is missing"},
		{[]entry{ids(0, 1)}, ": prompt.0.logits: tensor is missing"},
		{[]entry{raw(t, "prompt.0.input_ids", "I32", []int{1}, []int32{0}), logits(0, 1, 2)}, ": prompt.0.input_ids: type is I32, want I64"},
		{[]entry{raw(t, "prompt.0.input_ids", "I64", []int{1, 1}, []int64{0}), logits(0, 1, 2)}, ": prompt.0.input_ids: shape is [1, 1], want [any]"},
		{[]entry{ids(0), logits(0, 0, 2)}, ": prompt.0.input_ids: shape is [0], want [any]"},
		{[]entry{ids(0, 1), raw(t, "prompt.0.logits", "F64", []int{1, 2}, make([]float64, 2))}, ": prompt.0.logits: type is F64, want F32, F16, BF16"},
		{[]entry{ids(0, 1, 1), logits(0, 1, 2)}, ": prompt.0.logits: shape is [1, 2], want [2, any]"},
		{[]entry{ids(0, 1), logits(0, 1, 0)}, ": prompt.0.logits: shape is [1, 0], want [1, any]"},
		{[]entry{ids(0, 1), logits(0, 1, 2), ids(1, 1), logits(1, 1, 3)}, ": prompt.1.logits: shape is [1, 3], want [1, 2]"},
		{[]entry{ids(0, 1, 2), logits(0, 2, 2)}, ": prompt.0.input_ids: token id 2 at position 1 is outside the vocabulary of 2"},
		{[]entry{ids(0, 1, -1), logits(0, 2, 2)}, ": prompt.0.input_ids: token id -1 at position 1 is outside the vocabulary of 2"},
		{append(top(0, 1, 1), ids(0, 1), logits(0, 1, 2)), ": prompt.0.logits: full and compact logits in one file, want one form for all prompts"},
		{append(top(1, 1, 1), ids(0, 1), logits(0, 1, 2), ids(1, 1)), ": prompt.1.logits: tensor is missing"},
		{append(top(0, 1, 1), ids(0, 1), logits(1, 1, 2), ids(1, 1)), ": prompt.1.topk_ids: tensor is missing"},
		{append(top(0, 1, 1)[:2], ids(0, 1)), ": prompt.0.logsumexp: tensor is missing"},
		{append(top(0, 1, 1), append(top(1, 1, 2), ids(0, 1), ids(1, 1))...), ": prompt.1.topk_ids: shape is [1, 2], want [1, 1]"},
		{append(top(0, 1, 1), ids(0, 1<<40)), ": prompt.0.input_ids: token id 1099511627776 at position 0 is outside the vocabulary of 4194304"},
	} {
		path := write(t, c.entries...)
		r, err := OpenReference(path)
		if err == nil {
			t.Errorf("opened, want %s", c.want)
			r.Close()
			continue
		}
		if got := strings.TrimPrefix(err.Error(), path); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	if _, err := OpenReference(filepath.Join(t.TempDir(), "absent")); !os.IsNotExist(err) {
		t.Errorf("an absent file gives %v", err)
	}
}

func TestReferenceFloatTypes(t *testing.T) {
	half := func(x float32) uint16 { return float16.Fromfloat32(x).Bits() }
	path := write(t,
		raw(t, "prompt.0.input_ids", "I64", []int{2}, []int64{1, 0}),
		raw(t, "prompt.1.input_ids", "I64", []int{1}, []int64{2}),
		raw(t, "prompt.2.input_ids", "I64", []int{1}, []int64{2}),
		raw(t, "prompt.0.logits", "F32", []int{2, 3}, []float32{1, 2, 3, 4, 5, 6}),
		raw(t, "prompt.1.logits", "F16", []int{1, 3}, []uint16{half(0.5), half(-2), half(65504)}),
		raw(t, "prompt.2.logits", "BF16", []int{1, 3}, []uint16{0x3f80, 0xc040, 0}),
	)
	r := open(t, path)
	want := [][]float32{{4, 5, 6}, {0.5, -2, 65504}, {1, -3, 0}}
	// The last two prompts have the same ids: Score takes them in turn.
	for i, p := range r.Prompts() {
		l, err := r.Score(t.Context(), p.IDs)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]float32, 3)
		if err := l.Rows(t.Context(), dst, p.To-1, 1); err != nil || !slices.Equal(dst, want[i]) {
			t.Errorf("prompt %d: %v, %v, want %v", i, dst, err, want[i])
		}
		if err := l.Rows(t.Context(), dst, p.To, 1); err == nil {
			t.Error("a row after the last was read")
		}
	}
	if _, err := r.Score(t.Context(), []int{9}); err == nil || !strings.HasSuffix(err.Error(), ": holds no prompt with these 1 token ids") {
		t.Errorf("unknown prompt: %v", err)
	}
}

func TestWriteReference(t *testing.T) {
	_, subject, prompts := noisy(2, 50, 70, 3)
	ids := [][]int{prompts[0].IDs, prompts[1].IDs}
	for _, k := range []int{0, 1, 7, 50} {
		dir := t.TempDir()
		var files [2][]byte
		for i := range files {
			path := filepath.Join(dir, fmt.Sprint(i))
			o := WriteOptions{TopK: k, Metadata: map[string]string{"tool": `a "tool"`, "model": "x"}}
			if err := WriteReference(t.Context(), path, subject, ids, o); err != nil {
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
		ref := open(t, filepath.Join(dir, "0"))
		r, err := Run(t.Context(), ref, subject, ref.Prompts(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := r.Metrics
		if ref.TopK() != k || m.Tokens != 73 || m.KLMean > 1e-6 || m.Top1Agreement != 1 || m.MaxAbs != 0 {
			t.Errorf("top %d: read back %+v", k, m)
		}
		if (k == 0 || k == 50) && !(m.KLHidden == 0 && near(float64(m.PPLReference), float64(m.PPL), 1e-12)) {
			t.Errorf("top %d keeps everything: %+v", k, m)
		}
		if k == 1 && !(m.KLHidden > 0.01) {
			t.Errorf("top 1 hides %v", m.KLHidden)
		}
	}
}

func TestWriteReferenceErrors(t *testing.T) {
	subject := &rows{2, [][][]float32{{{1, 2}, {3, float32(math.NaN())}}}}
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
		err := WriteReference(t.Context(), path, subject, [][]int{c.ids}, WriteOptions{TopK: c.topK})
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
	if err := WriteReference(t.Context(), path, subject, [][]int{{0}}, WriteOptions{}); err == nil {
		t.Error("an existing file was replaced without being asked to")
	}
	o := WriteOptions{Output: atomicfile.Options{Overwrite: true}}
	if err := WriteReference(t.Context(), path, subject, [][]int{{0}}, o); err != nil {
		t.Error(err)
	}
}
