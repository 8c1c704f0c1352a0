package words

import (
	"math"
	"strings"
	"testing"

	"thimble/internal/qtensor"
)

// Every name leads to a scheme that exists, a name for the same thing to one of the same
// size, and another name to an error that gives both sizes. No name occurs twice.
func TestWords(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range words {
		s, err := qtensor.ParseScheme(w.scheme)
		if err != nil {
			t.Fatal(err)
		}
		bits := s.BitsPerWeight(Columns)
		if w.same != (w.differ == "") {
			t.Errorf("%s: the difference is %q, same is %v", w.names, w.differ, w.same)
		}
		if away := math.Abs(bits - w.bits); w.same && away > 0 || away > 0.8 {
			t.Errorf("%s: %s takes %g bits, want about %g", w.names, w.scheme, bits, w.bits)
		}
		for _, name := range strings.Fields(w.names) {
			if seen[name] {
				t.Errorf("%s occurs twice", name)
			}
			seen[name] = true
			got, err := Scheme(strings.ToUpper(name))
			switch {
			case w.same && (err != nil || got != s):
				t.Errorf("%s is %v, %v; want %v", name, got, err, s)
			case !w.same && (err == nil || !strings.Contains(err.Error(), "the nearest scheme here is "+w.scheme+" (")):
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for text, want := range map[string]string{
		"int4": `scheme "int4" does not say how many weights share a scale; the usual one is int4/g32 (4.5 bits per weight with its scales), the smallest int4/row (4)`,
		"int9": "not valid, want", "q4_9": "not valid, want", "": "not valid, want",
	} {
		if _, err := Scheme(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
