package gguf

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
	"thimble/verify"
	"thimble/verify/reference"
)

// foreignFile was made by llama.cpp's convert_hf_to_gguf.py and llama-quantize.
var foreignFile = filepath.Join(fixtures, "gguf", "trained-q4_k_m.gguf")

// A file of llama.cpp's own tools has the logits that transformers computes from
// the values that gguf-py gives its blocks.
func TestForeignFile(t *testing.T) {
	m := reopen(t, foreignFile)
	types := map[string]int{}
	for _, x := range m.Tensors {
		types[x.Scheme.String()]++
	}
	for name, n := range map[string]int{"Q4_K": 6, "Q6_K": 6, "Q5_0": 66, "Q8_0": 7, "f32": 25} {
		if types[name] != n {
			t.Errorf("%d tensors are %s, want %d", types[name], name, n)
		}
	}
	if len(m.Notes) > 0 || m.Provenance.Architecture != "llama" || !slices.Equal(m.Spec.EOS, []int{0}) || m.Spec.BOS != 0 {
		t.Errorf("notes %q, provenance %+v, bos %d, eos %v", m.Notes, m.Provenance, m.Spec.BOS, m.Spec.EOS)
	}
	r, err := reference.Open(strings.TrimSuffix(foreignFile, ".gguf") + ".safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s, err := reference.NewScorer(m, verify.Arithmetic{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	report, err := verify.Run(t.Context(), r, s, r.Prompts(), verify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if rel := float64(report.Metrics.MaxAbsRel); !(rel < 1e-4) {
		t.Errorf("logits differ by %g of their standard deviation", rel)
	}
}

// Its tokenizer is that of its source checkpoint.
func TestForeignTokenizer(t *testing.T) {
	want, err := checkpoint(t, "trained").Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	got, err := reopen(t, foreignFile).Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Merges, want.Merges) || !slices.Equal(got.Steps, want.Steps) || len(got.Added) != len(want.Added) ||
		!slices.Equal(got.Literal, want.Literal) || !slices.Equal(got.Prefix, want.Prefix) || got.EOS != want.EOS {
		t.Error("merges, steps or added tokens differ")
	}
	if !slices.EqualFunc(got.Tokens, want.Tokens, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("tokens differ")
	}
}

// llama.cpp's files of Llama 3 have the factors without their parameters.
func TestLlama3FactorsRecovered(t *testing.T) {
	m := tiny(t, "f16")
	m.Spec.Context = 131072
	m.Spec.Rope = model.Rope{Base: 500000, Scaling: model.RopeLlama3, Factor: 32, LowFreq: 1, HighFreq: 4, Original: 8192}
	_, data := write(t, m)
	anonymous := renamed(t, data, "thimble.rope.llama3.", "general.rope.llama3.")
	if got := opened(t, anonymous); !reflect.DeepEqual(got.Spec.Rope, m.Spec.Rope) {
		t.Errorf("rope is %+v, want %+v", got.Spec.Rope, m.Spec.Rope)
	}

	m.Spec.Rope.HighFreq = 5
	_, data = write(t, m)
	if got := opened(t, data); !reflect.DeepEqual(got.Spec.Rope, m.Spec.Rope) {
		t.Errorf("with its own keys rope is %+v, want %+v", got.Spec.Rope, m.Spec.Rope)
	}
	if got := opened(t, renamed(t, data, "thimble.rope.llama3.", "general.rope.llama3.")); got.Spec.Rope.Scaling != model.RopeFactors || len(got.Spec.Rope.Factors) != 8 {
		t.Errorf("other factors become %+v", got.Spec.Rope)
	}

	// Factors that contradict the keys.
	other := slices.Clone(data)
	at := strings.Index(string(other), "thimble.rope.llama3.factor") + len("thimble.rope.llama3.factor") + 4
	copy(other[at:], []byte{0, 0, 0x80, 0x41}) // 16
	refusedFile(t, other, "does not match the keys thimble.rope.llama3.*")
}

// renamed replaces a part of names by one of the same length.
func renamed(t *testing.T, data []byte, from, to string) []byte {
	t.Helper()
	out := strings.ReplaceAll(string(data), from, to)
	if len(from) != len(to) || out == string(data) {
		t.Fatalf("no %s, or another length", from)
	}
	return []byte(out)
}

func saved(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.gguf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func opened(t *testing.T, data []byte) *model.Model {
	t.Helper()
	return reopen(t, saved(t, data))
}

// refusedFile checks that reading data fails with one clean line that contains want.
func refusedFile(t *testing.T, data []byte, want string) {
	t.Helper()
	path := saved(t, data)
	m, err := Open(path)
	if err == nil {
		_, err = m.Tokenizer()
		m.Close()
	}
	if err == nil {
		t.Errorf("opened, want %s", want)
		return
	}
	if text := err.Error(); !strings.Contains(text, want) || !strings.HasPrefix(text, path) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// near allows for the float32 arithmetic of llama.cpp's converter.
func TestNear(t *testing.T) {
	a := []float32{1, 2.5}
	if !near(a, []float32{1, math.Nextafter32(2.5, 3)}, 1e-6) || near(a, []float32{1, math.Nextafter32(2.5, 3)}, 0) || near([]float32{float32(math.NaN())}, []float32{1}, 1) {
		t.Error("near is wrong")
	}
}
