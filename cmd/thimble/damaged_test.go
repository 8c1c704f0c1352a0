package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const small = "../../fixtures/layouts/small"

// A twin is the small model in one file layout.
type twin struct {
	name   string
	file   string // in fixtures/layouts/small
	as     string // its name in a checkpoint's directory
	config string
	// index, if not empty, is the name of an index that lists the tensors in as.
	index string
}

var twins = []twin{
	{"safetensors", "model.safetensors", "model.safetensors", "config.json", ""},
	{"sharded safetensors", "model.safetensors", "model-00001-of-00001.safetensors", "config.json", "model.safetensors.index.json"},
	{"zip", "zip.bin", "pytorch_model.bin", "config.json", ""},
	{"legacy", "legacy.bin", "pytorch_model.bin", "config.json", ""},
	{"sharded zip", "zip.bin", "pytorch_model-00001-of-00001.bin", "config.json", "pytorch_model.bin.index.json"},
	{"parameters", "parameters.bin", "pytorch_model.bin", "config.json", ""},
	{"transposed", "transposed.bin", "pytorch_model.bin", "config.json", ""},
	{"shared", "shared.bin", "pytorch_model.bin", "config.json", ""},
	{"nested", "nested.bin", "pytorch_model.bin", "config.json", ""},
	{"Meta's", "consolidated.00.pth", "consolidated.00.pth", "params.json", ""},
}

func (w *twin) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(small, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write creates a checkpoint directory in the layout, with b as its tensor file.
func (w *twin) write(t *testing.T, b []byte) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string][]byte{w.as: b, w.config: w.read(t, w.config)}
	if w.index != "" {
		files[w.index] = shardIndex(t, w.as)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shardIndex returns an index that lists all tensors of the small model in one shard.
func shardIndex(t *testing.T, shard string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(small, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	var header map[string]any
	if err := json.NewDecoder(bytes.NewReader(b[8:])).Decode(&header); err != nil {
		t.Fatal(err)
	}
	delete(header, "__metadata__")
	for name := range header {
		header[name] = shard
	}
	text, err := json.Marshal(map[string]any{"weight_map": header})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// convert makes the same tensors from each layout of the small model.
func TestTwins(t *testing.T) {
	var want string
	for _, w := range twins {
		dir := w.write(t, w.read(t, w.file))
		out := filepath.Join(t.TempDir(), "out.thimble")
		mustRun(t, "convert", dir, "-o", out)
		var r struct {
			Tensors []struct{ Name, SHA256 string }
		}
		if err := json.Unmarshal([]byte(mustRun(t, "inspect", out, "--json")), &r); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(r.Tensors)
		if want == "" {
			want = got
		}
		if got != want || len(r.Tensors) != 12 {
			t.Errorf("%s:\ngot  %s\nwant %s", w.name, got, want)
		}
	}
}

// convert refuses a damaged twin of each layout in one line, and writes nothing.
func TestDamagedTwins(t *testing.T) {
	for _, w := range twins {
		whole := w.read(t, w.file)
		damaged := map[string][]byte{}
		for i := range 20 {
			n := len(whole) * i / 20
			damaged[fmt.Sprintf("cut to %d bytes", n)] = whole[:n]
		}
		if strings.HasSuffix(w.as, ".safetensors") {
			damaged["a flip in the length"] = flipped(whole, 0)
			damaged["a flip in a type"] = flipped(whole, bytes.Index(whole, []byte("dtype")))
			damaged["a flip in a name"] = flipped(whole, bytes.Index(whole, []byte("model.norm")))
			damaged["an unknown type"] = bytes.Replace(whole, []byte(`"F16"`), []byte(`"F61"`), 1)
			damaged["a wrong type"] = bytes.Replace(whole, []byte(`"F16"`), []byte(`"I16"`), 1)
		} else {
			damaged["a flip in the magic"] = flipped(whole, 1)
			damaged["a flip in a function"] = flipped(whole, bytes.Index(whole, []byte("_rebuild")))
			damaged["a flip in a name"] = flipped(whole, bytes.Index(whole, []byte("norm.weight")))
			damaged["an unknown global"] = replaceInPickle(t, whole, "_rebuild_tensor_v2", "_rebuild_tensor_v9")
			damaged["another module"] = replaceInPickle(t, whole, "torch._utils", "torch._evils")
			damaged["a wrong type"] = replaceInPickle(t, whole, "HalfStorage", "ShortStorage")
			damaged["a wider type"] = replaceInPickle(t, whole, "HalfStorage", "FloatStorage")
		}
		for _, fault := range slices.Sorted(maps.Keys(damaged)) {
			t.Run(w.name+"/"+fault, func(t *testing.T) {
				if bytes.Equal(damaged[fault], whole) {
					t.Fatal("not damaged")
				}
				out := t.TempDir()
				code, _, stderr := thimbleRun("convert", w.write(t, damaged[fault]), "-o", filepath.Join(out, "a.thimble"))
				refused(t, code, stderr, nil)
				if left, err := os.ReadDir(out); err != nil || len(left) > 0 {
					t.Errorf("leftover files: %v, %v", left, err)
				}
			})
		}
	}
}

// A reference with a damaged logit is named: the model's file is whole.
func TestDamagedReference(t *testing.T) {
	b, err := os.ReadFile("../../fixtures/llama-tied/reference.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)-4:], "\xff\xff\xff\x7f") // a NaN
	path := filepath.Join(t.TempDir(), "ref.safetensors")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := thimbleRun("verify", "../../fixtures/llama-tied", "--reference", path)
	refused(t, code, stderr, []string{"llama-tied, compared with " + path, "the reference's logit of token 383 is NaN"})
}

// A weight that is not finite is named as the user's file names it, and never written.
func TestWeightThatIsNotFinite(t *testing.T) {
	w := twins[0]
	whole := w.read(t, w.file)
	dir := w.write(t, append(whole[:len(whole)-2:len(whole)-2], 0, 0x7c)) // float16's infinity
	gguf := filepath.Join(t.TempDir(), "a.gguf")
	for _, args := range [][]string{
		{"convert", dir, "-o", filepath.Join(t.TempDir(), "a.thimble")},
		{"export", dir, "-o", gguf},
	} {
		code, _, stderr := thimbleRun(args...)
		refused(t, code, stderr, []string{filepath.Join(dir, w.as) + ": model.norm.weight (norm): ", "is +Inf, but weights must be finite; download the file again", "float16 ends at 65504"})
	}
}

// Every command that uses the weights detects a flipped bit in the data of a PyTorch
// zip file.
func TestDamagedData(t *testing.T) {
	w := twins[2]
	whole := w.read(t, w.file)
	tensors := w.read(t, "model.safetensors")
	row := tensors[len(tensors)-32:] // of the last tensor
	at := bytes.Index(whole, row)
	if at < 0 {
		t.Fatal("zip.bin does not hold the last row of model.safetensors")
	}
	dir := w.write(t, flipped(whole, at))
	tokenizer := `{"version": "1.0", "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "vocab": {"x": 0}, "merges": []}}`
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(tokenizer), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	reference := "../../fixtures/layouts/doubles/reference.safetensors"
	for _, args := range [][]string{
		{"convert", dir, "-o", out},
		{"quantize", dir, "-o", out, "--scheme", "int8/g8"},
		{"export", dir, "--to", "gguf", "-o", out},
		{"verify", dir, "--reference", reference},
		{"logits", dir, "-p", "x", "-o", out},
		{"run", dir, "-p", "x"},
		{"bench", dir},
	} {
		code, stdout, stderr := thimbleRun(args...)
		refused(t, code, stderr, []string{"CRC-32"})
		if _, err := os.Stat(out); err == nil || args[0] != "convert" && args[0] != "quantize" && stdout != "" {
			t.Errorf("%q left an output: %s", args, stdout)
		}
	}
}

func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// replaceInPickle returns the PyTorch file b with a name in its pickle replaced, and
// the checksum of a zip file updated.
func replaceInPickle(t *testing.T, b []byte, from, to string) []byte {
	t.Helper()
	if !bytes.HasPrefix(b, []byte("PK")) {
		return bytes.Replace(b, []byte(from), []byte(to), 1)
	}
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, e := range r.File {
		in, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.Name, "/data.pkl") {
			text = bytes.Replace(text, []byte(from), []byte(to), 1)
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: e.Name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A file that a download or copy cut off is said to be so, with the remedy.
func TestCutOff(t *testing.T) {
	dir := t.TempDir()
	for ending, least := range map[string]int{"gguf": 8, "thimble": 16} {
		whole := filepath.Join(dir, "whole."+ending)
		mustRun(t, "convert", "../../fixtures/llama-tied", "-o", whole)
		data, err := os.ReadFile(whole)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{len(data) - 1, len(data) / 2, len(data) / 20, least} {
			cut := filepath.Join(dir, "cut."+ending)
			if err := os.WriteFile(cut, data[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := thimbleRun("inspect", cut)
			if code != exitFailed || !regexp.MustCompile(`(cut off|truncated).*; copy or download (it|the file) again\n$`).MatchString(stderr) {
				t.Errorf("%d of %d bytes: exit status %d, %s", n, len(data), code, stderr)
			}
		}
	}
}
