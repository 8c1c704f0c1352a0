package gguf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/formattest"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// tiny is a model of two blocks with every bias; the first block runs twice.
func tiny(t testing.TB, scheme string) *model.Model {
	t.Helper()
	x, err := qtensor.ParseScheme(scheme)
	if err != nil {
		t.Fatal(err)
	}
	d := &tokenizer.Data{
		Model: tokenizer.ByteLevelBPE, Tokens: [][]byte{[]byte("<s>"), []byte("</s>"), []byte("a"), []byte(" "), []byte(" a"), {0xe9}, []byte("é!")},
		Literal: []uint32{0, 1, 6}, Merges: []uint32{3, 2}, Steps: []tokenizer.Step{tokenizer.StepDigit, tokenizer.StepGPT2},
		Added:  []tokenizer.Added{{ID: 0, Content: "<s>", Special: true}, {ID: 1, Content: "</s>", Special: true}, {ID: 6, Content: "é!"}},
		Prefix: []uint32{0}, BOS: 0, EOS: 1, Pad: -1, Unk: -1, ChatTemplate: "{{ x }}",
	}
	m := &model.Model{
		Path: "tiny",
		Spec: model.Spec{
			Hidden: 64, Heads: 4, KVHeads: 2, HeadDim: 16, FFN: 96, Vocab: 9, Context: 32, Blocks: 2, Schedule: []int{0, 0, 1},
			NormEps: 1e-5, Rope: model.Rope{Base: 10000}, Bias: model.Bias{QKV: true, O: true, FFN: true}, BOS: 0, EOS: []int{1, 2},
		},
		Tensors:   map[string]*qtensor.Matrix{},
		Tokenizer: func() (*tokenizer.Data, error) { return d, nil },
		Provenance: model.Provenance{
			Architecture: "mobilellm", Recipe: "scheme: x", Tool: "test", Overrides: []string{"a=b"},
			Sources: []model.Source{{Name: "model.bin", Bytes: 5, SHA256: bytes.Repeat([]byte{7}, 32)}},
		},
	}
	for i, slot := range m.Spec.Slots() {
		s := x
		if slot.Role == model.Vector {
			s = qtensor.Scheme{Kind: qtensor.BF16}
		}
		m.Tensors[slot.Name] = formattest.Fill(s, slot.Rows, slot.Cols, i)
	}
	return m
}

var exporter Exporter

func write(t testing.TB, m *model.Model) (*export.Plan, []byte) {
	t.Helper()
	e, err := exporter.Plan(m, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "out.gguf")
	if err := e.Write(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(data)) != e.Bytes {
		t.Errorf("the file has %d bytes, %d were planned", len(data), e.Bytes)
	}
	return e, data
}

var mapped = map[string]uint32{
	"f32": 0, "f16": 1, "bf16": 30, "int4/g32": 2, "int4/g32/asym": 3, "int5/g32": 6, "int5/g32/asym": 7, "int8/g32": 8,
}

// Every scheme that maps keeps its values to the bit, each step has its tensors,
// and the rows of q and k are in the order of llama.cpp's rotation.
func TestValues(t *testing.T) {
	for scheme, kind := range mapped {
		t.Run(scheme, func(t *testing.T) {
			m := tiny(t, scheme)
			e, data := write(t, m)
			f := parse(t, data)
			if want := 3 + 3*16; len(f.tensors) != want || len(e.Tensors) != want {
				t.Errorf("%d tensors, want %d", len(f.tensors), want)
			}
			for _, c := range []struct {
				name, source string
				head         int
			}{
				{"token_embd.weight", "embed", 0}, {"output.weight", "head", 0}, {"output_norm.weight", "norm", 0},
				{"blk.0.attn_q.weight", "blocks.0.q", 16}, {"blk.1.attn_k.weight", "blocks.0.k", 16}, {"blk.2.attn_q.weight", "blocks.1.q", 16},
				{"blk.2.attn_q.bias", "blocks.1.q.bias", 16}, {"blk.1.attn_k.bias", "blocks.0.k.bias", 16}, {"blk.2.attn_v.bias", "blocks.1.v.bias", 0},
				{"blk.1.attn_v.weight", "blocks.0.v", 0}, {"blk.2.attn_output.weight", "blocks.1.o", 0}, {"blk.2.attn_output.bias", "blocks.1.o.bias", 0},
				{"blk.2.ffn_gate.weight", "blocks.1.gate", 0}, {"blk.2.ffn_up.bias", "blocks.1.up.bias", 0}, {"blk.0.ffn_down.weight", "blocks.0.down", 0},
				{"blk.2.ffn_norm.weight", "blocks.1.ffn_norm", 0}, {"blk.0.attn_norm.weight", "blocks.0.attn_norm", 0},
			} {
				x, ok := f.tensors[c.name]
				if !ok {
					t.Errorf("there is no %s", c.name)
					continue
				}
				src := m.Tensors[c.source]
				if vector := len(x.dims) == 1; vector && x.kind != 0 || !vector && x.kind != kind {
					t.Errorf("%s has type %d", c.name, x.kind)
				}
				if x.dims[0] != uint64(src.Cols) || len(x.dims) == 2 && x.dims[1] != uint64(src.Rows) {
					t.Errorf("%s has dims %v, want %d and %d", c.name, x.dims, src.Cols, src.Rows)
				}
				compare(t, c.name, x.values(), interleavedRows(src, c.head))
			}
		})
	}
}

// interleavedRows returns the values of m, a matrix or a bias, with heads of dim
// rows interleaved: (heads, 2, dim/2) becomes (heads, dim/2, 2).
func interleavedRows(m *qtensor.Matrix, dim int) []float32 {
	var reader qtensor.Reader
	all := make([]float32, m.Rows*m.Cols)
	for r := range m.Rows {
		reader.Row(all[r*m.Cols:][:m.Cols], m, r)
	}
	if dim == 0 {
		return all
	}
	width := m.Cols
	if m.Rows == 1 {
		width = 1
	}
	out := make([]float32, 0, len(all))
	for head := range len(all) / width / dim {
		for i := range dim / 2 {
			for j := range 2 {
				row := head*dim + j*dim/2 + i
				out = append(out, all[row*width:][:width]...)
			}
		}
	}
	return out
}

func compare(t *testing.T, name string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && !(got[i] == 0 && want[i] == 0) {
			t.Errorf("%s: value %d is %v, want %v", name, i, got[i], want[i])
			return
		}
	}
}

func TestKeys(t *testing.T) {
	m := tiny(t, "int8/g32")
	m.Spec.Rope = model.Rope{Base: 500000, Scaling: model.RopeLlama3, Factor: 8, LowFreq: 1, HighFreq: 4, Original: 16}
	m.Provenance.Overrides = append(slices.Clone(m.Provenance.Overrides), "general.license=mit", "general.license.link=https://x.example/?a=b")
	e, data := write(t, m)
	f := parse(t, data)
	for name, want := range map[string]any{
		"general.architecture": "llama", "general.file_type": uint32(7), "general.quantization_version": uint32(2),
		"llama.block_count": uint32(3), "llama.context_length": uint32(32), "llama.embedding_length": uint32(64),
		"llama.feed_forward_length": uint32(96), "llama.attention.head_count": uint32(4), "llama.attention.head_count_kv": uint32(2),
		"llama.attention.key_length": uint32(16), "llama.attention.value_length": uint32(16), "llama.vocab_size": uint32(9),
		"llama.attention.layer_norm_rms_epsilon": float32(1e-5), "llama.rope.dimension_count": uint32(16), "llama.rope.freq_base": float32(500000),
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.chat_template": "{{ x }}",
		"tokenizer.ggml.tokens":     []any{"<s>", "</s>", "a", "Ġ", "Ġa", "é", "é!", "[PAD7]", "[PAD8]"},
		"tokenizer.ggml.token_type": []any{int32(3), int32(3), int32(1), int32(1), int32(1), int32(1), int32(4), int32(5), int32(5)},
		"tokenizer.ggml.merges":     []any{"Ġ a"}, "tokenizer.ggml.bos_token_id": uint32(0), "tokenizer.ggml.eos_token_id": uint32(1),
		"tokenizer.ggml.add_bos_token": true, "tokenizer.ggml.add_eos_token": false, "thimble.eos_token_ids": []any{int32(1), int32(2)},
		"thimble.tool": "test", "thimble.architecture": "mobilellm", "thimble.recipe": "scheme: x", "thimble.overrides": []any{"a=b", "general.license=mit", "general.license.link=https://x.example/?a=b"},
		"general.size_label": "95K", "general.license": "mit", "general.license.link": "https://x.example/?a=b",
		"thimble.source.names": []any{"model.bin"}, "thimble.source.bytes": []any{uint64(5)}, "thimble.source.sha256": []any{strings.Repeat("07", 32)},
		"thimble.rope.llama3.factor": float32(8), "thimble.rope.llama3.original_context_length": uint32(16),
	} {
		if got := f.keys[name]; fmt.Sprintf("%T %v", got, got) != fmt.Sprintf("%T %v", want, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	factors := f.tensors["rope_freqs.weight"].values()
	if len(factors) != 8 || factors[0] <= 1 || factors[1] != 8 || factors[7] != 8 { // 16 positions are 2.5 turns of the fastest
		t.Errorf("rotary factors are %v", factors)
	}
	if notes := strings.Join(e.Notes, "\n"); !strings.Contains(notes, "2 blocks is written once for each of its steps, 3 in all") || !strings.Contains(notes, "2 more rows") {
		t.Errorf("notes are %q", notes)
	}
}

// As gguf-py's model_weight_count_rounded_notation.
func TestSizeLabel(t *testing.T) {
	for want, shape := range map[string][2]int64{
		"135M": {134_515_008 / 576, 576}, "1.2B": {1_235_814_400 / 2048, 2048}, "8.0B": {8_030_261_248 / 4096, 4096}, "71B": {70_553_706_496 / 16384, 16384}, "58K": {90, 640}, "9.2K": {96, 96},
	} {
		if got := rounded(shape[0] * shape[1]); got != want {
			t.Errorf("%d weights are %s, want %s", shape[0]*shape[1], got, want)
		}
	}
}

func TestLinearRopeTiedNoTokenizer(t *testing.T) {
	m := tiny(t, "f16")
	m.Spec.Rope.Scaling, m.Spec.Rope.Factor = model.RopeLinear, 4
	m.Spec.Tied, m.Tokenizer = true, nil
	delete(m.Tensors, model.Head)
	_, data := write(t, m)
	f := parse(t, data)
	if f.keys["llama.rope.scaling.type"] != "linear" || f.keys["llama.rope.scaling.factor"] != float32(4) {
		t.Error("no linear scaling")
	}
	if _, ok := f.tensors["output.weight"]; ok || f.keys["tokenizer.ggml.model"] != "none" || f.keys["thimble.bos_token_id"] != int32(0) {
		t.Error("a head, a tokenizer, or no first token")
	}
}

// The bytes are the same on every machine and in every run.
func TestGolden(t *testing.T) {
	want := map[string]string{
		"f32":           "b5f3dc9d570e2297faf4d08df611d0273cec3f97b76b522d80b7b86938095f5d",
		"int4/g32":      "d27fac6f98cb7d7ffaadc1801b34c53427e78d27d13b91a68c32ab7876e03028",
		"int5/g32/asym": "e22108b766d1ddeb7ec618a4d4e34b4d1eb0b26a9d655d725e2b775f320c2906",
		"int8/g32":      "ac4b04a8159489b38b5d2ca3de5802ba6b9a434468c4ba6a991302e341618045",
	}
	for scheme, sum := range want {
		_, a := write(t, tiny(t, scheme))
		_, b := write(t, tiny(t, scheme))
		if !bytes.Equal(a, b) {
			t.Errorf("%s: two runs differ", scheme)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(a)); got != sum {
			t.Errorf("%s: SHA-256 is %s, want %s", scheme, got, sum)
		}
	}
}

func TestRefused(t *testing.T) {
	for want, change := range map[string]func(m *model.Model, d *tokenizer.Data){
		"blocks.1.up: scheme int4/g64/sym of 64 columns in gguf is not supported; quantize the checkpoint with int4/g32/sym there, or use --requantize to round this to Q4_0": func(m *model.Model, _ *tokenizer.Data) {
			m.Tensors["blocks.1.up"] = formattest.Fill(qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 64}, 96, 64, 1)
		},
		"head: scheme int8/g32/asym of 64 columns in gguf is not supported; quantize the checkpoint with int8/g32/sym": func(m *model.Model, _ *tokenizer.Data) {
			m.Tensors["head"] = formattest.Fill(qtensor.Scheme{Kind: qtensor.Int, Bits: 8, Group: 32, Asym: true}, 9, 64, 1)
		},
		"blocks.0.down: scheme int8/g32/sym of 100 columns in gguf is not supported; quantize the checkpoint with f16 there": func(m *model.Model, _ *tokenizer.Data) {
			m.Spec.FFN = 100
			for i, slot := range m.Spec.Slots() {
				if m.Tensors[slot.Name].Rows != slot.Rows || m.Tensors[slot.Name].Cols != slot.Cols {
					s := m.Tensors[slot.Name].Scheme
					m.Tensors[slot.Name] = formattest.Fill(s, slot.Rows, slot.Cols, i)
				}
			}
		},
		"attention window of 8 (1 of 2 blocks) in GGUF's architecture llama is not supported; with --context 8 the file supports": func(m *model.Model, _ *tokenizer.Data) {
			m.Spec.Attention = []model.Attention{{Window: 8}, {}}
		},
		"query and key norm gain in GGUF's architecture llama": func(m *model.Model, _ *tokenizer.Data) {
			m.Spec.QKNorm = model.QKGain
			for b := range 2 {
				for _, kind := range []string{model.QNorm, model.KNorm} {
					m.Tensors[model.Name(b, kind)] = formattest.Fill(qtensor.Scheme{}, 1, 16, 1)
				}
			}
		},
		`steps ["digits" "gpt2"] in GGUF`: func(_ *model.Model, d *tokenizer.Data) {
			d.Steps = []tokenizer.Step{tokenizer.StepDigits, tokenizer.StepGPT2}
		},
		`normalizer [nfkc]`: func(_ *model.Model, d *tokenizer.Data) { d.Normalizer = []tokenizer.Rule{{Op: tokenizer.OpNFKC}} },
		"token 8, which is empty or the same as token 7": func(_ *model.Model, d *tokenizer.Data) { d.Tokens = append(d.Tokens, []byte("[PAD8]")) },
		`added token "<s>", which strips`:                func(_ *model.Model, d *tokenizer.Data) { d.Added[0].LStrip = true },
		`added token "é!", which the vocabulary`:         func(_ *model.Model, d *tokenizer.Data) { d.Literal = d.Literal[:2] },
		"ids [1] before a text":                          func(_ *model.Model, d *tokenizer.Data) { d.Prefix = []uint32{1} },
		"ids [0] after a text":                           func(_ *model.Model, d *tokenizer.Data) { d.Suffix = []uint32{0} },
		"a tokenizer of 10 tokens over an embedding of 9": func(_ *model.Model, d *tokenizer.Data) {
			d.Tokens = append(d.Tokens, []byte("x"), []byte("y"), []byte("z"))
		},
	} {
		m := tiny(t, "int8/g32")
		d, _ := m.Tokenizer()
		change(m, d)
		if _, err := exporter.Plan(m, export.Options{}); !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	m := tiny(t, "f32")
	delete(m.Tensors, model.Norm)
	if _, err := exporter.Plan(m, export.Options{}); err == nil {
		t.Error("a model without its last norm passed")
	}
}

// llamaHas lists the features, by their JSON names, that llama has keys or tensors for.
var llamaHas = []string{
	"experts.count",
	"experts.dense", // means nothing without experts
	"hidden", "heads", "kvheads", "headdim", "ffn", "vocab", "context", "blocks", "schedule", "normeps", "tied", "bos", "eos",
	"rope.base", "rope.scaling", "rope.factor", "bias.qkv", "bias.o", "bias.ffn",
	"rope.pairs",  // changes the order of rows, which the writer matches
	"ropes",       // no block uses them
	"layer.vocab", // means nothing without a layer.width
	"sparsity",    // zeros cut off nothing
	"rope.scale",
	"temperature.beta", "temperature.length", "temperature.shift", "temperature.unrotated", // one alone has no effect
}

// A feature of Spec that this package does not know is refused by name, because a
// file does not give it back.
func TestFeaturesByName(t *testing.T) {
	llama, _ := architectureNamed("llama")
	refused := 0
	var each func(prefix string, s *model.Spec, v reflect.Value)
	each = func(prefix string, s *model.Spec, v reflect.Value) {
		for i := range v.NumField() {
			tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			name, f := prefix+tag, v.Field(i)
			feature := name
			switch name {
			case "attention":
				feature = "window" // the first field of its elements
			case "ffns":
				feature = "ffn" // which then differs between blocks
			}
			old := reflect.ValueOf(f.Interface())
			switch f.Kind() {
			case reflect.Struct:
				each(name+".", s, f)
				continue
			case reflect.Bool:
				f.SetBool(!f.Bool())
			case reflect.Int:
				f.SetInt(3)
			case reflect.Float64:
				f.SetFloat(3)
			case reflect.String:
				f.SetString("linear")
			case reflect.Slice:
				if f.Len() > 0 {
					continue
				}
				f.Set(reflect.MakeSlice(f.Type(), 3, 3))
				if e := f.Index(0); e.Kind() == reflect.Struct {
					e.Field(0).Set(reflect.ValueOf(3).Convert(e.Field(0).Type()))
				}
			}
			missing := llama.missing(s)
			switch {
			case slices.Contains(llamaHas, name) == slices.Contains(missing, feature):
				t.Errorf("%s: missing is %v", name, missing)
			case len(missing) > 0:
				refused++
			}
			f.Set(old)
		}
	}
	s := tiny(t, "f32").Spec
	s.Rope.Scaling, s.Rope.Factor = model.RopeLinear, 2
	each("", &s, reflect.ValueOf(&s).Elem())
	if refused < 10 {
		t.Errorf("%d features are refused", refused)
	}
}

// A failed export leaves nothing, and an existing file stays.
func TestWriteFails(t *testing.T) {
	e, err := exporter.Plan(tiny(t, "f32"), export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Write(ctx, filepath.Join(dir, "out")); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v was left", left)
	}
	path := filepath.Join(dir, "there")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Write(context.Background(), path); !errors.Is(err, os.ErrExist) {
		t.Errorf("error is %v", err)
	}
}
