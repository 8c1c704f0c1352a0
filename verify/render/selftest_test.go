package render

import (
	"maps"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/format"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/verify"
	"thimble/verify/reference"
	"thimble/verify/selftest"
)

// A fault that no text shows is missed, and the report says where it is.
func TestSelfTestMisses(t *testing.T) {
	m, err := convert.Open("../../fixtures/trained", convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	prompts := []reference.Prompt{{IDs: []int{7}, To: 1}} // at position 0 rotary embedding changes nothing
	r, err := selftest.Run(t.Context(), m, nil, nil, prompts, verify.Subject{}, verify.Options{Gates: verify.DefaultGates(m)})
	if err != nil {
		t.Fatal(err)
	}
	if text := SelfTest(r); !strings.Contains(text, "MISSED: it is at q_rope of step 0") || !strings.HasPrefix(text, "FAIL") {
		t.Error(text)
	}
}

// A model that diverges from its source fails before any fault is made.
func TestSelfTestDiverges(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many broken or long models")
	}
	source, err := convert.Open("../../fixtures/trained", convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	opened, err := format.Open("../../fixtures/gguf/trained-q4_k_m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	m := *opened
	m.Tensors = maps.Clone(m.Tensors)
	name := model.Name(3, model.O)
	w := m.Tensors[name]
	m.Tensors[name] = &qtensor.Matrix{Rows: w.Rows, Cols: w.Cols, Codes: make([]byte, 4*w.Rows*w.Cols)} // zeros in float32
	ids := make([]int, 64)
	for i := range ids {
		ids[i] = (i*i*7 + 3*i + 5) % m.Spec.Vocab
	}
	prompts := []reference.Prompt{{IDs: ids, From: 32, To: 64}}
	r, err := selftest.Run(t.Context(), &m, source, nil, prompts, verify.Subject{}, verify.Options{Gates: verify.DefaultGates(&m)})
	if err != nil {
		t.Fatal(err)
	}
	if text := SelfTest(r); r.Pass || !strings.Contains(text, "FAIL  the unmodified model diverges from its source at blocks.3.o") {
		t.Error(text)
	}
}
