package spell

import "testing"

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
