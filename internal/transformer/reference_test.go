package transformer_test

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/verify/reference"
)

const fixtures = "../../fixtures"

// A checkpoint is a fixture for which Hugging Face transformers wrote logits.
type checkpoint struct {
	dir  string
	set  []string
	like string // folder of the reference, if it is not dir
}

// checkpoints are those of Llama and its kin.
var checkpoints = []checkpoint{
	{dir: "llama-sharded"}, {dir: "llama-biases"}, {dir: "llama3-rope"}, {dir: "llama-linear"}, {dir: "llama-tied"},
	{dir: "mobilellm"}, {dir: "mobilellm-ls"}, {dir: "ragged"}, {dir: "trained"},
	{dir: "mistral"}, {dir: "qwen2"}, {dir: "qwen3"}, {dir: "phi"}, {dir: "gemma3"}, {dir: "llama4"},
	{dir: "mobilellm-facebook", set: []string{"share_embedding=true", "layer_sharing=true"}},
	{dir: "layouts/meta", like: "llama-sharded"}, {dir: "layouts/meta-parallel", like: "llama-sharded"},
	{dir: "layouts/meta-vocab-parallel", like: "llama-sharded"},
	{dir: "architectures/rope-yarn"}, {dir: "architectures/rope-yarn-mscale"},
	{dir: "architectures/rope-longrope", set: []string{"rope_length=64"}}, {dir: "architectures/rope-dynamic", set: []string{"rope_length=36"}},
	{dir: "architectures/smollm3"}, {dir: "architectures/gemma"}, {dir: "architectures/gemma2"}, {dir: "architectures/gemma3"},
	{dir: "architectures/vaultgemma"}, {dir: "architectures/phi3"}, {dir: "architectures/glm"}, {dir: "architectures/glm4"},
	{dir: "architectures/granite"}, {dir: "architectures/hyperclovax"}, {dir: "architectures/olmo2"}, {dir: "architectures/olmo3"},
	{dir: "architectures/exaone4"}, {dir: "architectures/ministral"}, {dir: "architectures/ministral3"}, {dir: "architectures/mistral3"},
	{dir: "architectures/hunyuan"}, {dir: "architectures/cohere"}, {dir: "architectures/cohere2"}, {dir: "architectures/helium"},
	{dir: "architectures/ernie4_5"}, {dir: "architectures/seed_oss"}, {dir: "architectures/arcee"}, {dir: "architectures/cwm"},
	{dir: "architectures/nemotron"}, {dir: "architectures/jais2"}, {dir: "architectures/iquestcoder"}, {dir: "architectures/internlm3"},
	{dir: "architectures/exaone"}, {dir: "architectures/olmo"}, {dir: "architectures/internlm2"}, {dir: "architectures/minicpm"},
	{dir: "architectures/qwen3_5"},
	{dir: "layouts/doubles"}, {dir: "layouts/eight-bit"}, {dir: "layouts/block-scales"}, {dir: "layouts/row-scales"},
}

var update = flag.Bool("update", false, "rewrite testdata/*.sha256")

// TestReference compares every fixture with PyTorch: no logit may differ by more
// than 1e-4 of the standard deviation of all logits. Feeding the prompt at once or
// token by token, on one core or eight, must give the same bits, and so must the
// machine that wrote testdata/logits.sha256.
func TestReference(t *testing.T) { compareAll(t, checkpoints, "testdata/logits.sha256") }

// TestFamilies is TestReference for the smallest fixtures, one of each architecture that is
// not Llama's kin.
func TestFamilies(t *testing.T) { compareAll(t, families(t), "testdata/families.sha256") }

// families returns the smallest fixtures.
func families(t *testing.T) (all []checkpoint) {
	t.Helper()
	folders, err := os.ReadDir(filepath.Join(fixtures, "families"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, f := range folders {
		all = append(all, checkpoint{dir: "families/" + f.Name()})
	}
	return all
}

// compareAll compares the logits of all with their references and with the hashes in the
// file at path.
func compareAll(t *testing.T, all []checkpoint, path string) {
	golden := readGolden(t, path)
	got := map[string]string{}
	for _, c := range all {
		t.Run(c.dir, func(t *testing.T) {
			m, err := convert.Open(filepath.Join(fixtures, c.dir), convert.Options{Set: c.set})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			want, prompts := referenceLogits(t, filepath.Join(fixtures, cmp.Or(c.like, c.dir), "reference.safetensors"), m.Spec.Vocab)
			h := sha256.New()
			for i, p := range prompts {
				logits := runEveryWay(t, m, transformer.Arithmetic{}, p)
				compare(t, i, logits, want[i], m.Spec.Vocab)
				if err := binary.Write(h, binary.LittleEndian, logits); err != nil {
					t.Fatal(err)
				}
			}
			got[c.dir] = fmt.Sprintf("%x", h.Sum(nil))
			if !*update && got[c.dir] != golden[c.dir] {
				t.Errorf("logits hash to %s, want %s: the arithmetic changed, or differs on this machine", got[c.dir], golden[c.dir])
			}
		})
	}
	if *update {
		var names []string
		for _, c := range all {
			names = append(names, c.dir)
		}
		writeGolden(t, path, names, got)
	}
}

// runEveryWay returns the logits of every position of ids. It fails unless they are
// the same for every size of chunk and number of cores.
func runEveryWay(t *testing.T, m *model.Model, a transformer.Arithmetic, ids []int) []float32 {
	t.Helper()
	logits := run(t, m, a, ids, len(ids), 1)
	if testing.Short() {
		return logits
	}
	for name, again := range map[string][]float32{
		"8 cores":              run(t, m, a, ids, len(ids), 8),
		"one token at a time":  run(t, m, a, ids, 1, 1),
		"five tokens, 8 cores": run(t, m, a, ids, 5, 8),
	} {
		if at := differ(logits, again); at >= 0 {
			t.Fatalf("%d tokens, %s: logit %d is %v, but %v at once on one core", len(ids), name, at, again[at], logits[at])
		}
	}
	return logits
}

// run returns the logits of every position of ids, fed in chunks.
func run(t *testing.T, m *model.Model, a transformer.Arithmetic, ids []int, chunk, procs int) []float32 {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	d, err := transformer.NewWith(m, a)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := d.NewCache(len(ids))
	if err != nil {
		t.Fatal(err)
	}
	logits := make([]float32, len(ids)*m.Spec.Vocab)
	for from := 0; from < len(ids); from += chunk {
		part := ids[from:min(len(ids), from+chunk)]
		h, err := d.Forward(t.Context(), cache, part)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Logits(t.Context(), logits[from*m.Spec.Vocab:], 0, len(part)); err != nil {
			t.Fatal(err)
		}
	}
	return logits
}

// referenceLogits reads the logits and prompts of a reference file.
func referenceLogits(t *testing.T, path string, vocab int) (logits [][]float32, prompts [][]int) {
	t.Helper()
	ref, err := reference.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ref.Close()
	stored, err := ref.Scorer()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ref.Prompts() {
		l, err := stored.Score(t.Context(), p.IDs)
		if err != nil {
			t.Fatal(err)
		}
		rows := make([]float32, len(p.IDs)*vocab)
		if err := l.Logits(t.Context(), rows, 0, len(p.IDs)); err != nil {
			t.Fatal(err)
		}
		logits, prompts = append(logits, rows), append(prompts, p.IDs)
	}
	return logits, prompts
}

// compare fails if a logit differs by more than 1e-4 of the standard deviation.
func compare(t *testing.T, prompt int, got, want []float32, vocab int) {
	t.Helper()
	var sum, square, worst float64
	at := 0
	for i := range want {
		sum += float64(want[i])
		square += float64(want[i]) * float64(want[i])
		if d := math.Abs(float64(got[i] - want[i])); d > worst || d != d {
			worst, at = d, i
		}
	}
	n := float64(len(want))
	std := math.Sqrt(square/n - sum/n*sum/n)
	t.Logf("prompt %d: the worst logit differs by %.2g of the standard deviation", prompt, worst/std)
	if !(worst <= 1e-4*std) {
		t.Errorf("prompt %d of %d tokens: the logit of token %[4]d at position %[3]d differs by %[5].3g, %.3g of the standard deviation %.3g",
			prompt, len(want)/vocab, at/vocab, at%vocab, worst, worst/std, std)
	}
}

// differ returns the first index at which a and b have different bits, or -1.
func differ(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

func readGolden(t *testing.T, path string) map[string]string {
	golden := map[string]string{}
	f, err := os.Open(path)
	if *update && os.IsNotExist(err) {
		return golden
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if sum, name, ok := strings.Cut(lines.Text(), "  "); ok {
			golden[name] = sum
		}
	}
	return golden
}

func writeGolden(t *testing.T, path string, names []string, sums map[string]string) {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s  %s\n", sums[name], name)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
