package main

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A hostile is a good checkpoint to be damaged.
type hostile struct {
	config  map[string]any
	tensors map[string]tensor
	header  func(text string) string // edits the header of model.safetensors
	file    func(b []byte) []byte    // edits model.safetensors
	others  map[string]string        // other files; "" removes one
}

type tensor struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
	data    []byte
}

// goodCheckpoint reads fixtures/llama-tied.
func goodCheckpoint(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{others: map[string]string{}}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("../../fixtures/llama-tied", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		h.others[name] = string(read(name))
	}
	if err := json.Unmarshal(read("config.json"), &h.config); err != nil {
		t.Fatal(err)
	}
	b := read("model.safetensors")
	n := int(binary.LittleEndian.Uint64(b))
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(b[8:8+n], &entries); err != nil {
		t.Fatal(err)
	}
	delete(entries, "__metadata__")
	h.tensors = map[string]tensor{}
	for name, raw := range entries {
		var x tensor
		if err := json.Unmarshal(raw, &x); err != nil {
			t.Fatal(err)
		}
		x.data = b[8+n:][x.Offsets[0]:x.Offsets[1]]
		h.tensors[name] = x
	}
	return h
}

// write creates a directory with the files of h and returns its path.
func (h *hostile) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	entries, data := map[string]tensor{}, []byte{}
	for _, name := range slices.Sorted(maps.Keys(h.tensors)) {
		x := h.tensors[name]
		x.Offsets = [2]int{len(data), len(data) + len(x.data)}
		entries[name], data = x, append(data, x.data...)
	}
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	if h.header != nil {
		text = []byte(h.header(string(text)))
	}
	file := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), data...)
	if h.file != nil {
		file = h.file(file)
	}
	config, err := json.Marshal(h.config)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"model.safetensors": string(file), "config.json": string(config)}
	maps.Copy(files, h.others)
	for name, text := range files {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// quantize refuses every bad checkpoint in one line that names the fault and its
// place.
func TestHostile(t *testing.T) {
	const down = "model.layers.1.mlp.down_proj.weight"
	rename := func(from, to string) func(*hostile) {
		return func(h *hostile) {
			h.tensors[to] = h.tensors[from]
			delete(h.tensors, from)
		}
	}
	set := func(key string, value any) func(*hostile) {
		return func(h *hostile) { h.config[key] = value }
	}
	header := func(f func(string) string) func(*hostile) { return func(h *hostile) { h.header = f } }
	file := func(f func([]byte) []byte) func(*hostile) { return func(h *hostile) { h.file = f } }
	other := func(name, text string) func(*hostile) { return func(h *hostile) { h.others[name] = text } }
	value := func(row, col int, bits uint16) func(*hostile) {
		return func(h *hostile) {
			x := h.tensors[down]
			x.data = slices.Clone(x.data)
			binary.LittleEndian.PutUint16(x.data[2*(row*x.Shape[1]+col):], bits)
			h.tensors[down] = x
		}
	}
	index := func(shard string) func(*hostile) {
		return func(h *hostile) {
			names := map[string]string{}
			for name := range h.tensors {
				names[name] = "model.safetensors"
			}
			names[down] = shard
			text, err := json.Marshal(map[string]any{"weight_map": names})
			if err != nil {
				t.Fatal(err)
			}
			h.others["model.safetensors.index.json"] = string(text)
		}
	}
	for _, c := range []struct {
		name string
		edit func(*hostile)
		want []string // in the line
	}{
		{"nothing wrong", func(*hostile) {}, nil},
		{"missing tensor", func(h *hostile) { delete(h.tensors, down) }, []string{down}},
		{"renamed tensor", rename(down, "model.layers.1.mlp.dwon_proj.weight"), []string{"down_proj"}},
		{"extra tensor", func(h *hostile) { h.tensors["model.layers.3.mlp.down_proj.weight"] = h.tensors[down] }, []string{"model.layers.3.mlp.down_proj.weight"}},
		{"unknown tensor", func(h *hostile) { h.tensors["model.extra.weight"] = h.tensors[down] }, []string{"model.extra.weight"}},
		{"duplicate tensor", header(func(s string) string {
			return strings.Replace(s, `"model.layers.1.mlp.gate_proj.weight"`, `"`+down+`"`, 1)
		}), []string{"model.safetensors", down}},
		{"shape against config", set("intermediate_size", 161), []string{"160", "161"}},
		{"transposed", func(h *hostile) {
			x := h.tensors[down]
			x.Shape = []int{x.Shape[1], x.Shape[0]}
			h.tensors[down] = x
		}, []string{down, "160", "64"}},
		{"heads that do not divide", set("num_key_value_heads", 3), []string{"config.json", "4 heads", "3"}},
		{"odd head width", set("head_dim", 15), []string{"config.json", "15"}},
		{"no layers", set("num_hidden_layers", 0), []string{"config.json", "num_hidden_layers"}},
		{"a billion layers", set("num_hidden_layers", 1000000000), []string{"config.json"}},
		{"a huge vocabulary", set("vocab_size", int64(1)<<40), []string{"config.json"}},
		{"unknown model_type", set("model_type", "gpt9"), []string{"config.json", "model_type", "gpt9", "gpt2"}},
		{"unknown activation", set("hidden_act", "snake"), []string{"config.json", "hidden_act", "snake"}},
		{"unknown key", set("per_layer_config", map[string]any{"0": map[string]any{"hidden_act": "gelu"}}), []string{"config.json", "per_layer_config"}},
		{"tied, but not stored so", set("tie_word_embeddings", false), []string{"config.json", "tie_word_embeddings", "lm_head.weight"}},
		{"no config", other("config.json", ""), []string{"config.json", "missing"}},
		{"a config of 2 MiB", other("config.json", `{"a":"`+strings.Repeat("x", 2<<20)+`"}`), []string{"config.json", "1048576"}},
		{"a config that is no JSON", other("config.json", "{"), []string{"config.json"}},
		{"a config with a key twice", other("config.json", `{"vocab_size":1,"vocab_size":2}`), []string{"config.json", "vocab_size"}},
		{"a deep config", other("config.json", strings.Repeat(`{"a":`, 20000)+"1"+strings.Repeat("}", 20000)), []string{"config.json"}},
		{"control bytes", set("model_type", "a\x1b[2J\nb\x00"), []string{"config.json", "model_type"}},
		{"infinite weight", value(3, 5, 0x7f80), []string{"blocks.1.down", "row 3, column 5", "+Inf"}},
		{"weight that is no number", value(63, 159, 0x7fc0), []string{"blocks.1.down", "row 63, column 159", "NaN"}},
		{"truncated", file(func(b []byte) []byte { return b[:len(b)-1] }), []string{"model.safetensors"}},
		{"truncated header", file(func(b []byte) []byte { return b[:100] }), []string{"model.safetensors"}},
		{"trailing byte", file(func(b []byte) []byte { return append(b, 0) }), []string{"model.safetensors"}},
		{"empty", file(func([]byte) []byte { return []byte{0} }), []string{"model.safetensors", "truncated"}},
		{"an endless header", file(func(b []byte) []byte { return append([]byte("\xff\xff\xff\xff\xff\xff\xff\x7f"), b[8:]...) }), []string{"model.safetensors", "header length"}},
		{"overlapping", header(func(s string) string {
			var entries map[string]tensor
			if err := json.Unmarshal([]byte(s), &entries); err != nil {
				t.Fatal(err)
			}
			x := entries["model.layers.1.mlp.up_proj.weight"]
			x.Offsets = entries["model.layers.1.mlp.gate_proj.weight"].Offsets
			entries["model.layers.1.mlp.up_proj.weight"] = x
			text, err := json.Marshal(entries)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}), []string{"model.safetensors", "model.layers.1.mlp"}},
		{"outside the file", header(func(s string) string {
			at := strings.Index(s, `"data_offsets":[`)
			end := at + strings.Index(s[at:], "]")
			return s[:at] + `"data_offsets":[0,99999999` + s[end:]
		}), []string{"model.safetensors"}},
		{"an unknown type", header(func(s string) string { return strings.Replace(s, `"BF16"`, `"F4"`, 1) }), []string{"model.safetensors", "F4"}},
		{"shape times type", header(func(s string) string { return strings.Replace(s, `"shape":[384,64]`, `"shape":[384,4294967296]`, 1) }), []string{"model.safetensors"}},
		{"a shard above", index("../model.safetensors"), []string{"../model.safetensors"}},
		{"a shard elsewhere", index("/etc/passwd"), []string{"/etc/passwd"}},
		{"a shard with NUL", index("a\x00b"), []string{"model.safetensors.index.json"}},
		{"a broken tokenizer.model", func(h *hostile) {
			h.others["tokenizer.json"], h.others["tokenizer.model"] = "", "x"
		}, []string{"tokenizer.model", "ModelProto", "without its tokenizer converts without one"}},
		{"a broken tokenizer", other("tokenizer.json", "{}"), []string{"tokenizer.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := goodCheckpoint(t)
			c.edit(h)
			dir := h.write(t)
			if strings.Contains(c.name, "shard") { // the index is read only if there is no single file
				if err := os.Rename(filepath.Join(dir, "model.safetensors"), filepath.Join(dir, "whole.safetensors")); err != nil {
					t.Fatal(err)
				}
			}
			out := t.TempDir()
			code, stdout, stderr := thimbleRun("quantize", dir, "-o", filepath.Join(out, "a.thimble"), "--scheme", "int4/g32")
			if c.name == "nothing wrong" {
				if code != exitDone {
					t.Errorf("exit %d: %s%s", code, stdout, stderr)
				}
				return
			}
			refused(t, code, stderr, c.want)
			left, err := os.ReadDir(out)
			if err != nil || len(left) > 0 {
				t.Errorf("leftover files: %v, %v", left, err)
			}
		})
	}
}

// refused requires exit status 2 and one line that contains each string of want.
func refused(t *testing.T, code int, stderr string, want []string) {
	t.Helper()
	if code != exitFailed {
		t.Errorf("exit %d", code)
	}
	if err := oneComplaint(stderr); err != nil {
		t.Error(err)
	}
	if len(stderr) > 600 {
		t.Errorf("a line of %d bytes: %.700q", len(stderr), stderr)
	}
	for _, part := range want {
		if !strings.Contains(stderr, part) {
			t.Errorf("no %q in %s", part, stderr)
		}
	}
}

// Every command explains why a file or directory is not a model.
func TestNotAModel(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole := filepath.Join(dir, "whole.thimble")
	mustRun(t, "convert", "../../fixtures/llama-tied", "-o", whole)
	b, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	g, err := os.ReadFile("../../fixtures/gguf/trained-q4_k_m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	reference := "../../fixtures/llama-tied/reference.safetensors"
	for _, c := range []struct{ path, want string }{
		{"", "empty"},
		{filepath.Join(dir, "none"), "none: no such file"},
		{dir, "a directory with model files"},
		{write("empty", ""), "empty"},
		{write("text", "Once upon a time there was no model"), "not a model: a text"},
		{write("text.thimble", "Once upon a time there was no model"), "text.thimble"},
		{write("short.thimble", string(b[:7])), "short.thimble"},
		{write("cut.thimble", string(b[:100])), "cut.thimble"},
		{write("half.thimble", string(b[:len(b)/2])), "half.thimble"},
		{write("long.thimble", string(b)+"x"), "long.thimble"},
		{write("short.gguf", "GGUF"), "short.gguf: byte 4: version"},
		{write("cut.gguf", string(g[:1000])), "cut.gguf: byte"},
		{write("half.gguf", string(g[:len(g)/2])), "half.gguf: byte"},
		{write("long.gguf", string(g)+"x"), "long.gguf: byte"},
		{"a\x00b", "invalid argument"},
		{os.DevNull, "regular file"},
	} {
		for _, args := range [][]string{
			{"convert", c.path, "-o", filepath.Join(dir, "out")},
			{"quantize", c.path, "-o", filepath.Join(dir, "out"), "--scheme", "int8/g32"},
			{"verify", c.path, "--reference", reference},
			{"logits", c.path, "-p", "x", "-o", filepath.Join(dir, "out")},
			{"inspect", c.path}, {"inspect", c.path, "--check"},
			{"tokenize", c.path, "-p", "x"},
			{"run", c.path, "-p", "x"},
			{"bench", c.path},
			{"verify", whole, "--against", c.path, "--text", "../../fixtures/trained/heldout.txt", "--context", "64"},
		} {
			if c.path == "" && args[0] == "verify" && args[1] == whole {
				continue // no --against at all
			}
			code, stdout, stderr := thimbleRun(args...)
			refused(t, code, stderr, []string{c.want})
			if stdout != "" || t.Failed() {
				t.Fatalf("%q: %s%s", args, stdout, stderr)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("a refused command left an output")
	}
}
