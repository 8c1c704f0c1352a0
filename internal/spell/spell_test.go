package spell

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	known := []string{"convert", "quantize", "verify", "inspect", "run"}
	for _, c := range []struct{ word, want string }{
		{"quantise", "quantize"}, {"vreify", "verify"}, {"convrt", "convert"}, {"rnu", "run"},
		{"inspectt", "inspect"}, {"xyzzy", ""}, {"", ""}, {"deploy", ""}, {"quan", "quantize"}, {"q", ""},
	} {
		if got := Nearest(c.word, known); got != c.want {
			t.Errorf("Nearest(%q) = %q, want %q", c.word, got, c.want)
		}
	}
	if got := Suggest("verfy", known); got != ` (did you mean "verify"?)` {
		t.Errorf("Suggest = %q", got)
	}
}

func TestSlip(t *testing.T) {
	known := []string{"max_tokens", "temperature", "top_k", "top_p", "stop"}
	for _, c := range []struct{ word, want string }{
		{"max_token", "max_tokens"}, {"maxTokens", "max_tokens"}, {"temprature", "temperature"}, {"top-p", "top_p"}, {"topP", "top_p"}, {"stops", "stop"},
		{"min_tokens", ""}, {"typical_p", ""}, {"store", ""}, {"", ""}, {strings.Repeat("s", 1000), ""},
	} {
		if got := Slip(c.word, known); got != c.want {
			t.Errorf("Slip(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}
