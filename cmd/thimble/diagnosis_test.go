package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/verify"
)

// breakTensor changes the bytes of a tensor in a copied checkpoint.
func breakTensor(t *testing.T, dir, name string, change func(data []byte, shape []int)) {
	t.Helper()
	path := filepath.Join(dir, "model.safetensors")
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header := file[8 : 8+binary.LittleEndian.Uint64(file)]
	var tensors map[string]json.RawMessage
	if err := json.Unmarshal(header, &tensors); err != nil {
		t.Fatal(err)
	}
	var entry struct {
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(tensors[name], &entry); err != nil {
		t.Fatal(err)
	}
	change(file[8+len(header):][entry.Offsets[0]:entry.Offsets[1]], entry.Shape)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

// verify diagnoses checkpoints that are broken the way conversion scripts break them,
// each in one line, both as floats and quantized.
func TestDiagnosis(t *testing.T) {
	interleave := func(name string, dim int) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			breakTensor(t, dir, name, func(data []byte, shape []int) {
				width, old := len(data)/shape[0], append([]byte{}, data...)
				for r := range shape[0] {
					at := r % dim
					from := r - at + at/2 + at%2*(dim/2)
					copy(data[r*width:][:width], old[from*width:][:width])
				}
			})
		}
	}
	for _, c := range []struct {
		name, fixture string
		damage        func(t *testing.T, dir string)
		want          string
	}{
		{"q", "llama-tied", interleave("model.layers.1.self_attn.q_proj.weight", 16), "blocks.1.q: rows are in the other rotary order (interleaved, want halves)"},
		{"k", "trained", interleave("model.layers.3.self_attn.k_proj.weight", 32), "blocks.3.k: rows are in the other rotary order (interleaved, want halves)"},
		{"theta", "llama-tied", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "config.json")
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(text), `"rope_theta": 100000.0`, `"rope_theta": 500000.0`, 1)
			if changed == string(text) {
				t.Fatal("config.json has no rope_theta of 100000")
			}
			if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "blocks.0.q_rope: rope.base is 500000, the reference has 100000"},
		{"bias", "phi", func(t *testing.T, dir string) {
			breakTensor(t, dir, "model.layers.1.self_attn.v_proj.bias", func(data []byte, _ []int) { clear(data) })
		}, "blocks.1.v.bias: all zeros"},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := "../../fixtures/" + c.fixture
			dir := filepath.Join(t.TempDir(), "broken")
			if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
				t.Fatal(err)
			}
			c.damage(t, dir)
			small := filepath.Join(t.TempDir(), "broken.thimble")
			mustRun(t, "quantize", dir, "-o", small, "--scheme", "int4/g32", "--without", "reorder")
			text := []string{"--against", source, "--text", "../../fixtures/trained/heldout.txt", "--context", "32", "--chunks", "2"}
			line := "conversion error, not rounding: " + c.want
			for _, args := range [][]string{{dir}, {dir, "--layers"}, {small, "--layers"}, {small, "--gate", "kl<=0"}} {
				_, out, errs := thimbleRun(append(append([]string{"verify"}, args...), text...)...)
				if !strings.Contains(out, "\n"+line+"\n") {
					t.Errorf("verify %v does not print %q:\n%s%s", args, line, out, errs)
				}
			}
		})
	}
}

// --layers and --attribute appear in the JSON, and a sound model has no first
// divergence.
func TestLayersAndStages(t *testing.T) {
	small := filepath.Join(t.TempDir(), "small.thimble")
	mustRun(t, "quantize", "../../fixtures/trained", "-o", small, "--scheme", "int4/g32", "--without", "reorder")
	args := []string{"verify", small, "--against", "../../fixtures/trained", "--text", "../../fixtures/trained/heldout.txt",
		"--context", "32", "--chunks", "2", "--layers", "--attribute"}
	var r verify.Report
	if err := json.Unmarshal([]byte(mustRun(t, append(args, "--json")...)), &r); err != nil {
		t.Fatal(err)
	}
	if r.FirstDivergence != nil || !strings.HasPrefix(r.Diagnosis, "rounding, not conversion") || len(r.Layers) != 1+12*15+2 {
		t.Errorf("%d layers, %q, %+v", len(r.Layers), r.Diagnosis, r.FirstDivergence)
	}
	var names []string
	total := 0.0
	for _, s := range r.Stages {
		names = append(names, s.Stage)
		total += float64(s.Added)
	}
	if strings.Join(names, " ") != "source converted weights activations kv" || r.Stages[1].KLMean != 0 || r.Stages[2].KLMean != r.Metrics.KLMean || r.Stages[3].Added == 0 || r.Stages[4].Added == 0 {
		t.Errorf("stages are %+v", r.Stages)
	}
	if last := float64(r.Stages[4].KLMean); total < 0.999*last || total > 1.001*last {
		t.Errorf("the stages add up to %v, but the last has %v", total, last)
	}
	_, tables, _ := strings.Cut(mustRun(t, args...), "\n  stage ")
	if !strings.Contains(tables, "\n   step block      q      k      v      o   gate     up   down  other  stream\n") {
		t.Errorf("tables are:\n%s", tables)
	}
	for line := range strings.Lines(tables) {
		if len(line) > 81 {
			t.Errorf("line of %d columns: %s", len(line)-1, line)
		}
	}
	for _, flag := range []string{"--layers", "--attribute"} {
		code, _, errs := thimbleRun("verify", small, "--text", "../../fixtures/trained/heldout.txt", flag)
		if code != exitFailed || !strings.Contains(errs, flag+" compares with a model: add --against SRC and --text FILE") {
			t.Errorf("%s alone: exit %d, %s", flag, code, errs)
		}
	}
}
