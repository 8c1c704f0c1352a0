package lora

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/internal/checkpoint"
)

const fixtures = "../../fixtures"

// sum256 returns the SHA-256 of a tensor's bytes.
func sum256(t *checkpoint.Tensor) string {
	h := sha256.New()
	row := make([]byte, t.RowBytes())
	for r := range t.Rows() {
		h.Write(t.Row(row, r))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Every weight is equal to the bit to the one that peft merges. The head of a tied model whose
// embedding the adapter stores whole belongs to the caller.
func TestApplyAsPeft(t *testing.T) {
	cases, err := filepath.Glob(fixtures + "/lora/*/merged.json")
	if err != nil || len(cases) != 5 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, file := range cases {
		var want struct {
			Base   string
			SHA256 map[string]string
		}
		b, err := os.ReadFile(file)
		if err != nil || json.Unmarshal(b, &want) != nil {
			t.Fatal(file, err)
		}
		base, err := checkpoint.Open(filepath.Join(fixtures, want.Base))
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		a, err := Open(filepath.Dir(file))
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		weights := maps.Clone(base.Tensors)
		if weights["lm_head.weight"] == nil {
			weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
		}
		note, err := a.Apply(weights)
		if err != nil || !strings.Contains(note, "LoRA adapter "+filepath.Base(a.Path)) {
			t.Errorf("%s: %q, %v", file, note, err)
			continue
		}
		for name, sum := range want.SHA256 {
			if got := sum256(weights[name]); got != sum {
				t.Errorf("%s: %s differs from peft's", file, name)
			}
		}
		for name, w := range weights {
			if w != base.Tensors[name] && want.SHA256[name] == "" && name != "lm_head.weight" && sum256(w) != sum256(base.Tensors[name]) {
				t.Errorf("%s: %s changed, peft leaves it", file, name)
			}
		}
		for _, w := range weights {
			w.Release() // and it can be read again
		}
		name := slices.Sorted(maps.Keys(want.SHA256))[0]
		if got := sum256(weights[name]); got != want.SHA256[name] {
			t.Errorf("%s: %s differs after Release", file, name)
		}
	}
}

// copyOf copies an adapter with its config changed, or without a file.
func copyOf(t *testing.T, name string, config map[string]any) string {
	t.Helper()
	src, dir := filepath.Join(fixtures, "lora", name), t.TempDir()
	b, err := os.ReadFile(filepath.Join(src, ConfigName))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := json.Unmarshal(b, &values); err != nil {
		t.Fatal(err)
	}
	maps.Copy(values, config)
	if b, err = json.Marshal(values); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ConfigName), b, 0o666); err != nil {
		t.Fatal(err)
	}
	if b, err = os.ReadFile(filepath.Join(src, "adapter_model.safetensors")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), b, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What would change the result and is not understood is refused by name.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		config map[string]any
		want   string
	}{
		{map[string]any{"peft_type": "IA3"}, "peft_type IA3 (want LORA) is not supported"},
		{map[string]any{"peft_type": nil, "fine_tune_type": "lora"}, "an adapter of MLX is not supported; fuse it"},
		{map[string]any{"lora_bias": true, "use_qalora": true}, "lora_bias true, use_qalora true is not supported"},
		{map[string]any{"init_lora_weights": "pissa"}, "init_lora_weights pissa is not supported"},
		{map[string]any{"layer_replication": []any{[]any{0, 1}}}, "layer_replication [[0,1]] is not supported"},
		{map[string]any{"trainable_token_indices": []any{1}}, "trainable_token_indices [1] is not supported"},
		{map[string]any{"some_new_key": 3}, "some_new_key 3 is not supported"},
		{map[string]any{"r": 0}, "r: want a positive number, found 0"},
		{map[string]any{"r": 0.5}, "r: want a positive whole number, found 0.5"},
		{map[string]any{"r": 1e30}, "r: want a positive whole number"},
		{map[string]any{"rank_pattern": map[string]any{"x": 1.5}}, "rank_pattern: want a positive whole number, found 1.5"},
		{map[string]any{"r": 4}, "its rank is 2, adapter_config.json requires 4"},
		{map[string]any{"use_dora": true}, "a magnitude of DoRA is stored: false"},
		{map[string]any{"rank_pattern": map[string]any{"(?!x)": 2}}, "rank_pattern: the pattern (?!x) (error parsing regexp: "},
		{map[string]any{"rank_pattern": map[string]any{"(?:" + strings.Repeat("x?", 100) + "){999}": 2}}, "(patterns of more than 262144 instructions in all) is not supported"},
		{map[string]any{"alpha_pattern": []any{1}}, "alpha_pattern: want an object"},
	} {
		a, err := Open(copyOf(t, "float32", c.config))
		if err == nil {
			a.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v, want %q", c.config, err, c.want)
		}
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "no adapter_config.json there") {
		t.Error(err)
	}
	if _, err := Open("nowhere"); err == nil || !strings.Contains(err.Error(), "--lora nowhere: no such directory") {
		t.Error(err)
	}
	inert := copyOf(t, "float32", map[string]any{"target_modules": "x", "lora_dropout": 0.1, "some_new_key": nil, "other": false})
	if a, err := Open(inert); err != nil {
		t.Error(err)
	} else {
		a.Close()
	}
}

// An adapter of another model is not merged.
func TestOtherModel(t *testing.T) {
	if a, err := Open(filepath.Join(fixtures, "lora", "float32")); err != nil {
		t.Fatal(err)
	} else if _, err := a.Apply(map[string]*checkpoint.Tensor{}); err == nil || !strings.Contains(err.Error(), "changes 4 weights that the checkpoint does not have, such as model.layers.0.mlp.down_proj.weight; is it of another model (llama-biases)?") {
		t.Error(err)
	}
	a, err := Open(filepath.Join(fixtures, "lora", "float32"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for base, want := range map[string]string{"gemma3": "the checkpoint's has the shape", "mobilellm-facebook": "the checkpoint's has the shape"} {
		c, err := checkpoint.Open(filepath.Join(fixtures, base))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := a.Apply(maps.Clone(c.Tensors)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", base, err, want)
		}
	}
}

// Any adapter is refused in one line or merges without a panic, into rows that can be read.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"whole", "dora", "patterns"} {
		config, err := os.ReadFile(filepath.Join(fixtures, "lora", name, ConfigName))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(config, "base_model.model.model.layers.0.self_attn.q_proj", uint8(4), uint8(2), false)
	}
	f.Add([]byte(`{"peft_type":"LORA","rank_pattern":{"(?:x?x?x?x?x?x?x?x?x?x?x?x?x?x?x?x?){999}":2}}`), "a.b", uint8(1), uint8(1), false)
	f.Add([]byte(`{"peft_type":"LORA","r":0}`), "base_model.model.a", uint8(0), uint8(0), false)
	f.Add([]byte(`{"peft_type":"LORA","r":0.5}`), "base_model.model.a", uint8(1), uint8(0), true)
	f.Add([]byte(`{"peft_type":"LORA","r":2}`), "base_model.model.a", uint8(4), uint8(2), true)
	f.Add([]byte(`{"peft_type":"LORA","r":1e308,"rank_pattern":{"(":3}}`), "a.b", uint8(1), uint8(1), false)
	f.Fuzz(func(t *testing.T, config []byte, module string, cols, rank uint8, embedding bool) {
		dir := t.TempDir()
		entry := func(rows, cols, at int) map[string]any {
			return map[string]any{"dtype": "F32", "shape": []int{rows, cols}, "data_offsets": []int{at, at + 4*rows*cols}}
		}
		c, r := int(cols), int(rank)
		left, right := ".lora_A.weight", ".lora_B.weight"
		if embedding {
			left, right = ".lora_embedding_A", ".lora_embedding_B"
		}
		header, err := json.Marshal(map[string]any{module + left: entry(r, c, 0), module + right: entry(c, r, 4*r*c)})
		if err != nil {
			t.Skip()
		}
		file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
		file = append(file, make([]byte, 8*r*c)...)
		if os.WriteFile(filepath.Join(dir, ConfigName), config, 0o666) != nil || os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), file, 0o666) != nil {
			t.Fatal("cannot write the adapter")
		}
		a, err := Open(dir)
		if err == nil {
			defer a.Close()
			name := strings.TrimPrefix(module, "base_model.model.") + ".weight"
			base := &checkpoint.Tensor{Name: name, File: "f", DType: checkpoint.F32, Shape: []int{c, c}, Data: make([]byte, 4*c*c)}
			weights := map[string]*checkpoint.Tensor{name: base}
			if _, err = a.Apply(weights); err == nil && c > 0 {
				merged := weights[name]
				merged.Row(make([]byte, merged.RowBytes()), c-1)
			}
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Errorf("not one clean line: %q", err)
		}
	})
}

// An adapter's names may be those of the model in training, or lack the class's prefix; biases that
// were not trained and dropouts of 0 change nothing.
func TestNames(t *testing.T) {
	want := merged(t, copyOf(t, "float32", nil))
	for _, rename := range []func(string) string{
		func(name string) string { return strings.Replace(name, ".weight", ".default.weight", 1) },
		func(name string) string { return strings.TrimPrefix(name, "base_model.model.") },
		func(name string) string {
			return strings.Replace(name, "base_model.model.", "base_model.model.model.", 1)
		},
		func(name string) string {
			return strings.Replace(name, "base_model.model.", "base_model.model._orig_mod.", 1)
		},
		func(name string) string {
			return strings.Replace(name, "base_model.model.model.", "base_model.model.", 1)
		},
		func(name string) string {
			return strings.Replace(name, "base_model.model.model.", "base_model.model.model.language_model.", 1)
		},
	} {
		dir := copyOf(t, "float32", map[string]any{"bias": "all", "rank_dropout": 0.0})
		file := filepath.Join(dir, "adapter_model.safetensors")
		c, err := checkpoint.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		entries := map[string]any{}
		var data []byte
		for _, name := range c.Names() {
			x := c.Tensors[name]
			entries[rename(name)] = map[string]any{"dtype": x.DType, "shape": x.Shape, "data_offsets": []int{len(data), len(data) + len(x.Data)}}
			data = append(data, x.Data...)
		}
		c.Close()
		header, err := json.Marshal(entries)
		if err != nil {
			t.Fatal(err)
		}
		all := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
		if err := os.WriteFile(file, slices.Concat(all, header, data), 0o666); err != nil {
			t.Fatal(err)
		}
		for name, b := range merged(t, dir) {
			if !bytes.Equal(b, want[name]) {
				t.Errorf("%s: %s is not merged as usual", rename("base_model.model.model.x.weight"), name)
			}
		}
	}
}

// merged returns the weights that the adapter in dir, a copy of float32, changes.
func merged(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	b, err := os.ReadFile(fixtures + "/lora/float32/merged.json")
	var want struct {
		Base   string
		SHA256 map[string]string
	}
	if err != nil || json.Unmarshal(b, &want) != nil {
		t.Fatal(err)
	}
	base, err := checkpoint.Open(filepath.Join(fixtures, want.Base))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	weights := maps.Clone(base.Tensors)
	if _, err := a.Apply(weights); err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for name := range want.SHA256 {
		out[name] = []byte(sum256(weights[name]))
	}
	return out
}
