package convert

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/convert/arch"
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// quantized lists the checkpoints of fixtures/quantized and how their matrices open.
var quantized = map[string]string{
	"mlx-2": "int2/g32/asym", "mlx-3": "int3/g32/asym", "mlx-4": "int4/g32/asym", "mlx-6": "int6/g32/asym", "mlx-8": "int8/g32/asym",
	"mlx-mixed": "int4/g32/asym int8/g32/asym", "ct-int4-group": "int4/g32/sym", "ct-int4-asym": "int4/g32/asym int5/g32/sym", "ct-int4-channel": "int4/row/sym",
	"ct-int8-channel": "int8/row/asym", "ct-int8": "int8/row/asym", "ct-int8-tensor": "int8/row/asym", "ct-fp8-tensor": "f32", "ct-fp8-channel": "f32", "ct-fp8-block": "f32",
	"bnb-nf4": "f32", "bnb-nf4-nested": "f32", "bnb-fp4": "f32", "bnb-int8": "f32",
	"gptq-4-sym": "int4/g32/sym", "gptq-4-asym": "int5/g32/sym", "gptq-4-asym-v1": "int5/g32/sym", "gptq-4-actorder": "f32", "gptq-8-sym": "int8/g32/asym",
	"gptq-8-asym": "f32", "gptq-2-asym": "int2/g32/asym", "gptq-3-sym": "int3/g32/sym", "awq": "int5/g32/sym",
}

// The values are those to which the library dequantizes the matrices, to the bit, whether
// their integers are kept or not.
func TestQuantized(t *testing.T) {
	folders, err := os.ReadDir("../fixtures/quantized")
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) != len(quantized) {
		t.Errorf("%d fixtures, want %d", len(folders), len(quantized))
	}
	for _, f := range folders {
		t.Run(f.Name(), func(t *testing.T) { checkQuantized(t, f.Name()) })
	}
}

// GPTQModel reads the version of zero points from either of two keys.
func TestQuantizedFormat(t *testing.T) {
	for _, c := range []struct{ keys, want string }{
		{`"format": "gptq_v2"`, ""},
		{`"format": "gptq_v2", "checkpoint_format": "gptq_v2"`, ""},
		{`"format": "gptq", "checkpoint_format": "gptq_v2"`, `format: "gptq", with checkpoint_format "gptq_v2" is not supported`},
	} {
		const name = "../fixtures/quantized/gptq-4-asym"
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(name)); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "config.json")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), `"checkpoint_format": "gptq_v2"`, c.keys, 1)
		if !strings.Contains(changed, c.keys) {
			t.Fatalf("no key to replace in %s", text)
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir, Options{})
		if err != nil {
			if c.want == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.keys, err)
			}
			continue
		}
		defer m.Close()
		same, err := Open(name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer same.Close()
		if w := "blocks.0.q"; c.want != "" || !m.Tensors[w].SameValues(same.Tensors[w]) {
			t.Errorf("%s: opens with other values", c.keys)
		}
	}
}

func checkQuantized(t *testing.T, name string) {
	folder := filepath.Join("../fixtures/quantized", name)
	text, err := os.ReadFile(filepath.Join(folder, "values.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Values map[string]string }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	m, err := Open(folder, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := config.Parse(config.Name, []byte(`{"model_type":"llama"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, llama, err := arch.Recognize(c)
	if err != nil {
		t.Fatal(err)
	}
	var schemes []string
	for stored, hash := range want.Values {
		canonical := ""
		for pattern, other := range llama.Names.Stored {
			if names.Matches(other, stored) {
				canonical = strings.Replace(pattern, "*", "0", 1)
			}
		}
		x := m.Tensors[canonical]
		if x == nil {
			t.Fatalf("no tensor for %s", stored)
		}
		if got := hashOf(x); got != hash {
			t.Errorf("%s, %v: values differ", stored, x.Scheme)
		}
		if text := x.Scheme.String(); !slices.Contains(schemes, text) {
			schemes = append(schemes, text)
		}
	}
	slices.Sort(schemes)
	if got := strings.Join(schemes, " "); got != quantized[name] {
		t.Errorf("schemes are %s, want %s; notes %q", got, quantized[name], m.Notes)
	}
	if x := m.Tensors[model.Name(0, model.Q)]; x.Scheme.Kind == qtensor.Int && !strings.Contains(strings.Join(m.Notes, "\n"), "integers kept as "+x.Scheme.String()) {
		t.Errorf("notes do not say what was kept: %q", m.Notes)
	}
}

// hashOf returns the SHA-256 of the values as float32, with one zero.
func hashOf(m *qtensor.Matrix) string {
	h := sha256.New()
	var d qtensor.Reader
	row := make([]float32, m.Cols)
	for r := range m.Rows {
		d.Row(row, m, r)
		for _, x := range row {
			if x == 0 {
				x = 0
			}
			h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
