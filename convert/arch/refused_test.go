package arch

import (
	"strings"
	"testing"
)

// A refusal names what a type needs, if that is known, and the types with a similar name.
func TestUnread(t *testing.T) {
	for modelType, want := range map[string][]string{
		"falcon_mamba":   {"it needs state space layers (Mamba), which Thimble does not compute; Thimble reads ", " types, with similar names falcon"},
		"qwen4_exp":      {"it needs linear attention that differs from Qwen3.5's gated delta rule, which", "qwen3_5, qwen3_5_moe, qwen3_5_moe_text, qwen3_5_text, qwen3_moe, qwen3_next"},
		"zz\x1b":         {"what it computes is not known here; none of the ", " types that Thimble reads has a similar name"},
		"phi-msft":       {"what it computes is not known here; Thimble reads ", "with similar names phi, phi3"},
		"longcat_flash":  {"it needs multi-head latent attention with"},
		"bert":           {"it needs encoders, or attention in both directions"},
		"gemma4_unified": {"what it computes is not known here"},
	} {
		got := unread(modelType)
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%q: %s, want %q", modelType, got, part)
			}
		}
	}
	for modelType := range needs {
		if _, ok := architectures[modelType]; ok {
			t.Errorf("%s is read, and is listed as one that is not", modelType)
		}
	}
}
