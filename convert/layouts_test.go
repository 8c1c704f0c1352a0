package convert

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/convert/arch"
	"thimble/convert/config"
	"thimble/internal/checkpoint"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

const layouts = "../fixtures/layouts"

// rowsOf returns the stored rows of m.
func rowsOf(m *qtensor.Matrix) []byte {
	var all []byte
	var reader qtensor.Reader
	for r := range m.Rows {
		all = append(all, reader.Stored(m, r)...)
	}
	return all
}

func openFixture(t *testing.T, dir string, set ...string) *model.Model {
	t.Helper()
	m, err := Open(dir, Options{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// Every layout of Meta's gives the model of its Hugging Face twin.
func TestMeta(t *testing.T) {
	twin := openFixture(t, "../fixtures/llama-sharded")
	dropped := "rope.freqs (1 of them): dropped, computed from params.json instead"
	for dir, notes := range map[string][]string{
		"meta":                {dropped, noTokenizer},
		"meta-parallel":       {"2 model-parallel files; the parts of each matrix are joined", dropped, noTokenizer},
		"meta-vocab-parallel": {"2 model-parallel files; the parts of each matrix are joined", dropped, noTokenizer},
	} {
		t.Run(dir, func(t *testing.T) {
			m := openFixture(t, filepath.Join(layouts, dir), "max_seq_len=256", "bos_token_id=1", "eos_token_id=2")
			if diff := cmp.Diff(twin.Spec, m.Spec); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(notes, m.Notes); diff != "" {
				t.Error(diff)
			}
			for name, want := range twin.Tensors {
				got := m.Tensors[name]
				if got.Scheme != want.Scheme || !bytes.Equal(rowsOf(got), rowsOf(want)) {
					t.Errorf("%s differs", name)
				}
			}
			if weights, size := m.Size(); size != 2*weights || m.Provenance.Architecture != "llama" {
				t.Errorf("%d weights in %d bytes, %s", weights, size, m.Provenance.Architecture)
			}
		})
	}
}

// A part that contradicts the other parts is refused.
func TestMetaParts(t *testing.T) {
	copied := func(t *testing.T, from string) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(layouts, from))); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for name, c := range map[string]struct {
		from string
		edit func(t *testing.T, dir string)
		want string
	}{
		"no params":     {"meta", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, arch.ParamsName)) }, "/params.json: missing; copy the params.json that was saved with the checkpoint there"},
		"a part absent": {"meta-parallel", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "consolidated.01.pth")) }, "/consolidated.00.pth: tok_embeddings.weight: shape is [384 32], params.json requires 64 columns: a wrong value, or part of a model-parallel checkpoint"},
		"another vector": {"meta-parallel", func(t *testing.T, dir string) {
			// The last float16 of norm.weight, which no other tensor equals.
			path := filepath.Join(dir, "consolidated.01.pth")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			c, err := checkpoint.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(b, c.Tensors["norm.weight"].Data)
			c.Close()
			b[at] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "/consolidated.01.pth: norm.weight: differs from the first file, but a vector must be the same in all"},
		"the other cut": {"meta-parallel", func(t *testing.T, dir string) {
			from, err := os.ReadFile(filepath.Join(layouts, "meta-vocab-parallel", "consolidated.01.pth"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "consolidated.01.pth"), from, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "/consolidated.01.pth: tok_embeddings.weight: F16 [192 64], the first file has F16 [384 32]"},
		"a config of Hugging Face's": {"meta", func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, arch.ParamsName), filepath.Join(dir, config.Name)); err != nil {
				t.Fatal(err)
			}
		}, "/params.json: missing; copy the params.json that was saved with the checkpoint there"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, c.from)
			c.edit(t, dir)
			m, err := Open(dir, Options{})
			if err == nil {
				m.Close()
			}
			if err == nil || !strings.HasSuffix(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// Widened tensors get a note and a float type.
func TestWidened(t *testing.T) {
	for dir, want := range map[string]struct {
		note string
		kind map[string]qtensor.Kind
	}{
		"doubles":      {"12 float64 tensors: rounded to float32, to nearest even", map[string]qtensor.Kind{"embed": qtensor.F32, "norm": qtensor.F32}},
		"eight-bit":    {"16 tensors of 8-bit floats without a scale: widened to bfloat16, exactly", map[string]qtensor.Kind{"embed": qtensor.BF16, "norm": qtensor.BF16}},
		"block-scales": {"14 tensors of 8-bit floats: multiplied by their scales, rounded to float32 once, to nearest even", map[string]qtensor.Kind{"blocks.1.q": qtensor.F32, "embed": qtensor.BF16}},
		"row-scales":   {"14 tensors of 8-bit floats: multiplied by their scales, rounded to float32 once, to nearest even", map[string]qtensor.Kind{"blocks.1.q": qtensor.F32, "embed": qtensor.BF16}},
	} {
		m := openFixture(t, filepath.Join(layouts, dir))
		if diff := cmp.Diff([]string{want.note, noTokenizer}, m.Notes); diff != "" {
			t.Errorf("%s: %s", dir, diff)
		}
		for name, kind := range want.kind {
			if got := m.Tensors[name].Scheme.Kind; got != kind {
				t.Errorf("%s: %s is of kind %v, want %v", dir, name, got, kind)
			}
		}
	}
}

// One scale for a whole matrix, and scales of activations.
func TestOneScale(t *testing.T) {
	const q0 = "model.layers.0.self_attn.q_proj.weight"
	f := tiny()
	data := make([]byte, 64)
	for i := range data {
		data[i] = byte(i)
	}
	scale := binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.1))
	f.tensors[q0] = tensor{"F8_E4M3", []int{8, 8}, data}
	f.tensors[q0+"_scale"] = tensor{"F32", []int{1}, scale}
	f.tensors[strings.TrimSuffix(q0, "weight")+"input_scale"] = tensor{"F32", []int{1}, scale}
	f.config["quantization_config"] = map[string]any{"quant_method": "compressed-tensors", "format": "naive-quantized", "ignore": []string{"lm_head"},
		"config_groups": map[string]any{"group_0": map[string]any{"targets": []string{"Linear"}, "weights": map[string]any{
			"num_bits": 8, "type": "float", "strategy": "tensor", "symmetric": true, "dynamic": false}}}}
	m := openFixture(t, f.write(t))
	want := []string{"1 scales of activations: dropped, activations are not quantized here",
		"1 tensors of 8-bit floats: multiplied by their scales, rounded to float32 once, to nearest even", noTokenizer}
	if diff := cmp.Diff(want, m.Notes); diff != "" {
		t.Error(diff)
	}
	row := make([]float32, 8)
	new(qtensor.Reader).Row(row, m.Tensors["blocks.0.q"], 7)
	for i, x := range row {
		if want := float32(1+float64(i)/8) * 0.1; x != want { // codes of 56 to 63
			t.Errorf("column %d is %v, want %v", i, x, want)
		}
	}
}

// Mistral's consolidated.safetensors has Meta's names and layout, and its params.json more
// keys.
func TestMistralLayout(t *testing.T) {
	twin := openFixture(t, "../fixtures/llama-sharded")
	c, err := checkpoint.Open(filepath.Join(layouts, "meta"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	f := &checkpointFiles{tensors: map[string]tensor{}}
	for name, x := range c.Tensors {
		var data []byte
		for r := range x.Rows() {
			data = append(data, x.Row(make([]byte, x.RowBytes()), r)...)
		}
		f.tensors[name] = tensor{string(x.DType), x.Shape, data}
	}
	const params = `{"dim":64,"n_layers":3,"head_dim":16,"hidden_dim":160,"n_heads":4,"n_kv_heads":2,"norm_eps":1e-05,"vocab_size":384,"model_type":"transformer"`
	for more, check := range map[string]func(m *model.Model, err error) bool{
		`}`: func(m *model.Model, err error) bool {
			return err == nil && m.Spec.Context == 32768 && m.Spec.Attention == nil && slices.ContainsFunc(m.Notes, func(n string) bool { return strings.Contains(n, "using 32768, as for Mistral 7B") })
		},
		`,"sliding_window":128,"max_position_embeddings":256}`: func(m *model.Model, err error) bool {
			return err == nil && m.Spec.Context == 256 && m.Spec.Attention[2].Window == 128
		},
		`,"moe":{"num_experts":8},"zeta":1}`: func(_ *model.Model, err error) bool {
			return err != nil && strings.Contains(err.Error(), "2 keys are not supported: moe: an object of 1 keys; zeta")
		},
	} {
		f.files = map[string]string{"params.json": params + more, "config.json": absent}
		dir := f.write(t)
		if err := os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "consolidated.safetensors")); err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir, Options{})
		if !check(m, err) {
			t.Errorf("%s: %v", more, err)
		}
		if err != nil {
			continue
		}
		for name, want := range twin.Tensors {
			if got := m.Tensors[name]; !bytes.Equal(rowsOf(got), rowsOf(want)) {
				t.Errorf("%s: %s differs", more, name)
			}
		}
		m.Close()
	}
}
