package gguf

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/format/export"
	"thimble/format/formattest"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
	"thimble/internal/transformer"
	"thimble/verify/reference"
)

const fixtures = "../../fixtures"

func checkpoint(t *testing.T, dir string, set ...string) *model.Model {
	t.Helper()
	m, err := convert.Open(filepath.Join(fixtures, dir), convert.Options{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func reopen(t *testing.T, path string) *model.Model {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// exported writes m and opens the file.
func exported(t *testing.T, m *model.Model) (*model.Model, string) {
	t.Helper()
	e, err := exporter.Plan(m, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if err := e.Write(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	return reopen(t, path), path
}

// logits returns the logits of m for ids, in one pass.
func logits(t *testing.T, m *model.Model, ids []int) []float32 {
	t.Helper()
	d, err := transformer.New(m)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.NewCache(len(ids))
	if err != nil {
		t.Fatal(err)
	}
	h, err := d.Forward(context.Background(), c, ids)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, len(ids)*m.Spec.Vocab)
	if err := h.Logits(context.Background(), out, 0, len(ids)); err != nil {
		t.Fatal(err)
	}
	return out
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

// folders are the fixtures, with the reason why GGUF cannot hold one. In GGUF the
// gains of the queries scale the scores of gemma3, which rounds.
var folders = []struct {
	dir, refused string
	set          []string
	rounds       bool
}{
	{dir: "llama-sharded"}, {dir: "llama-biases"}, {dir: "llama3-rope"}, {dir: "llama-linear"}, {dir: "llama-tied"},
	{dir: "mobilellm"}, {dir: "mobilellm-ls"}, {dir: "ragged"}, {dir: "trained"}, {dir: "qwen3"}, {dir: "phi"}, {dir: "gemma3", rounds: true},
	{dir: "mobilellm-facebook", set: []string{"share_embedding=true", "layer_sharing=true"}},
	{dir: "mistral", refused: "attention window of 21"},
	{dir: "qwen2", refused: "attention window of 21"},
	{dir: "llama4", refused: "attention in chunks of 21"},
	{dir: "families/gpt2"}, {dir: "families/gpt_bigcode"}, {dir: "families/bloom"}, {dir: "families/stablelm"}, {dir: "families/lfm2"}, {dir: "architectures/glm4"},
	{dir: "families/mixtral"}, {dir: "families/qwen3_moe"}, {dir: "families/granitemoeshared"}, {dir: "families/dots1"}, {dir: "families/glm4_moe"},
	{dir: "families/hunyuan_v1_moe"}, {dir: "families/apertus"},
	{dir: "families/olmoe", refused: "kvheads in GGUF's architecture olmoe"},
	{dir: "families/qwen2_moe", refused: "6 experts of width 24, 2 at a time (2 of 3 blocks) in GGUF's architecture qwen2"},
	{dir: "families/youtu", refused: "latent attention of rank 24 for keys and values, 20 for queries in GGUF's architecture llama"},
	{dir: "families/gpt_oss", refused: "attention sinks in GGUF's architecture llama"},
	{dir: "families/opt", refused: "relu in GGUF's architecture gpt2"},
}

// Every fixture that GGUF can hold comes back with its Spec and gives the logits
// of the checkpoint to the bit, for the prompts of its reference.
func TestFixturesComeBack(t *testing.T) {
	for _, f := range folders {
		t.Run(f.dir, func(t *testing.T) {
			t.Parallel()
			m := checkpoint(t, f.dir, f.set...)
			if f.refused != "" {
				if _, err := exporter.Plan(m, export.Options{}); !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), f.refused) {
					t.Errorf("%v, want %q", err, f.refused)
				}
				return
			}
			got, _ := exported(t, m)
			want := inFile(m)
			if missing := model.Differences(&want, &got.Spec); len(missing) > 0 || !slices.Equal(want.EOS, got.Spec.EOS) || want.BOS != got.Spec.BOS {
				t.Errorf("spec is %+v, want %+v: %v", got.Spec, want, missing)
			}
			sameLogits(t, f.dir, got, m, f.rounds)
		})
	}
}

// sameLogits compares the logits of got and want for the prompts of the fixture's
// reference: to the bit, or to 1e-4, where they spread by 3, if the file rounds.
func sameLogits(t *testing.T, dir string, got, want *model.Model, rounds bool) {
	t.Helper()
	r, err := reference.Open(filepath.Join(fixtures, dir, "reference.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, p := range r.Prompts() {
		a, b := logits(t, got, p.IDs), logits(t, want, p.IDs)
		if !rounds {
			sameBits(t, dir, a, b)
		}
		for i := range a {
			if math.Abs(float64(a[i]-b[i])) > 1e-4 {
				t.Fatalf("logit %d is %v, want %v", i, a[i], b[i])
			}
		}
	}
}

// inFile returns m's Spec in the form that a file has it, see asGGUF.
func inFile(m *model.Model) model.Spec {
	arch, err := choose(m.Path, &m.Spec)
	if err != nil {
		panic(err)
	}
	s := arch.asGGUF(&m.Spec)
	s.Rope.Pairs = m.Spec.Rope.Pairs
	return s
}

// The tokenizer of every fixture comes back with the ids of its golden texts.
func TestTokenizersComeBack(t *testing.T) {
	texts := 0
	for _, f := range folders {
		path := filepath.Join(fixtures, f.dir, "tokenizer_golden.json")
		data, err := os.ReadFile(path)
		if f.refused != "" || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var golden []struct {
			Text string `json:"text"`
			IDs  []int  `json:"ids"`
		}
		if err := json.Unmarshal(data, &golden); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		m, _ := exported(t, checkpoint(t, f.dir, f.set...))
		d, err := m.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		tok, err := tokenizer.New(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range golden {
			texts++
			if got := tok.Encode(g.Text, false); !slices.Equal(got, g.IDs) {
				t.Errorf("%s: %q has ids %v, want %v", f.dir, g.Text, got, g.IDs)
			}
		}
	}
	if texts < 500 {
		t.Errorf("only %d texts were compared", texts)
	}
}

// A file that is read and written again has the same tensors.
func TestExportedAgain(t *testing.T) {
	for scheme := range mapped {
		t.Run(scheme, func(t *testing.T) {
			m := tiny(t, scheme)
			first, data := write(t, m)
			got, _ := exported(t, m)
			second, again := write(t, got)
			if len(first.Tensors) != len(second.Tensors) {
				t.Fatalf("%d tensors, then %d", len(first.Tensors), len(second.Tensors))
			}
			a, b := parse(t, data), parse(t, again)
			for name, x := range a.tensors {
				if y := b.tensors[name]; string(x.data) != string(y.data) || x.kind != y.kind || !slices.Equal(x.dims, y.dims) {
					t.Errorf("%s is of type %d, then %d, or its bytes differ", name, x.kind, y.kind)
				}
			}
			for name, value := range a.keys {
				if name != "thimble.eos_token_ids" && !sameJSON(value, b.keys[name]) {
					t.Errorf("%s is %v, then %v", name, value, b.keys[name])
				}
			}
		})
	}
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// stored are the schemes that GGUF has types for.
var stored = []qtensor.Scheme{
	{Kind: qtensor.F32}, {Kind: qtensor.F16}, {Kind: qtensor.BF16},
	{Kind: qtensor.Int, Bits: 4, Group: 32}, {Kind: qtensor.Int, Bits: 4, Group: 32, Asym: true},
	{Kind: qtensor.Int, Bits: 4, Group: 32, Uneven: true},
	{Kind: qtensor.Int, Bits: 5, Group: 32}, {Kind: qtensor.Int, Bits: 5, Group: 32, Asym: true},
	{Kind: qtensor.Int, Bits: 8, Group: 32},
}

func TestExporter(t *testing.T) {
	formattest.RunExporter(t, formattest.ExporterTarget{
		Exporter: exporter, Schemes: stored, Without: qtensor.Scheme{Kind: qtensor.Int, Bits: 3, Group: 64, Asym: true},
	})
}

func TestConformance(t *testing.T) {
	formattest.Run(t, formattest.Target{
		Write: func(path string, m *model.Model) error {
			e, err := exporter.Plan(m, export.Options{})
			if err != nil {
				return err
			}
			return e.Write(context.Background(), path)
		},
		Open:    Open,
		Schemes: stored,
	})
}
