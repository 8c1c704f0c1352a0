package convert

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/internal/model"
)

// kin opens a checkpoint of fixtures/architectures.
func kin(name string, set ...string) (*model.Model, error) {
	return Open(filepath.Join("..", "fixtures", "architectures", name), Options{Set: set})
}

// The length for which a rotary embedding is computed chooses between its factors, and the
// texts that the model is for.
func TestRopeLength(t *testing.T) {
	for _, c := range []struct {
		name, set string
		context   int
		last      float64 // divisor of the last frequency, or the base
		note      bool
	}{
		{"rope-longrope", "", 16, 1.7, true},
		{"rope-longrope", "rope_length=16", 16, 1.7, true},
		{"rope-longrope", "rope_length=17", 64, 4.2, false},
		{"rope-longrope", "rope_length=99", 99, 4.2, false},
		{"rope-dynamic", "", 12, 10000, true},
		{"rope-dynamic", "rope_length=24", 24, 10000 * 6.3496042078727974, false}, // 4^(8/6)
	} {
		var set []string
		if c.set != "" {
			set = []string{c.set}
		}
		m, err := kin(c.name, set...)
		if err != nil {
			t.Errorf("%s %s: %v", c.name, c.set, err)
			continue
		}
		last := m.Spec.Rope.Base
		if f := m.Spec.Rope.Factors; f != nil {
			last = f[len(f)-1]
		}
		note := slices.ContainsFunc(m.Notes, func(n string) bool { return strings.Contains(n, "--set rope_length=") })
		if m.Spec.Context != c.context || last/c.last < 1-1e-12 || last/c.last > 1+1e-12 || note != c.note {
			t.Errorf("%s %s: context %d, %v, notes %q", c.name, c.set, m.Spec.Context, last, m.Notes)
		}
		m.Close()
	}
	if _, err := kin("smollm3", "rope_length=9"); err == nil || !strings.Contains(err.Error(), "smollm3 has no such key") {
		t.Errorf("a rope_length without a use: %v", err)
	}
}

// The text model of a model of images is taken, and keys that the user sets are its own.
func TestImageModels(t *testing.T) {
	m, err := kin("gemma3", "sliding_window=5")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	notes := strings.Join(m.Notes, "\n")
	if m.Provenance.Architecture != "gemma3_text" || m.Spec.Attention[0].Window != 5 ||
		!strings.Contains(notes, "vision_config left out") || !strings.Contains(notes, "of the images' part of gemma3: left out") {
		t.Errorf("%s, window %d, notes %s", m.Provenance.Architecture, m.Spec.Attention[0].Window, notes)
	}
	for _, c := range []struct{ set, want string }{
		{"text_config=3", "text_config: want an object, found 3"},
		{`text_config={"model_type":"t5"}`, `model_type "t5" is not supported`},
	} {
		if _, err := kin("gemma3", c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.set, err)
		}
	}
}

// A matrix that holds several of the model's must have their rows.
func TestFused(t *testing.T) {
	m, err := kin("phi3")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	q, k := m.Tensors["blocks.1.q"], m.Tensors["blocks.1.k"]
	if q.Rows != 32 || k.Rows != 16 || &q.Codes[len(q.Codes)-1] == &k.Codes[0] || cap(q.Codes) < len(q.Codes)+len(k.Codes) {
		t.Errorf("q has %d rows, k %d", q.Rows, k.Rows)
	}
	for _, c := range []struct{ set, want string }{
		{"num_key_value_heads=4", "model.layers.0.self_attn.qkv_proj.weight: shape is [64 32], config.json requires [96 32]"},
		{"--drop=model.layers.1.self_attn.qkv_proj.weight", "model.layers.1.self_attn.qkv_proj.weight: tensor is missing, want shape [64 32]"},
	} {
		if _, err := kin("phi3", c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.set, err)
		}
	}
}
