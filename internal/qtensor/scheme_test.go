package qtensor

import (
	"strings"
	"testing"
)

// String of a parsed scheme parses as the same scheme, and an error is one line.
func FuzzParseScheme(f *testing.F) {
	for _, text := range []string{"f32", "bf16", "int4/g32", "int8/row/asym", "int5/g64/sym", "int5/g16/s4", "int5/row/s4", "int4/g64/nl", "int9/g32", "int4/g0", "int4/g65544", "int-4/g32", "int4/g32/", "int4/g+8", "\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseScheme(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("the error is not one line: %q", err)
			}
			return
		}
		if err := s.Check(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if again, err := ParseScheme(s.String()); err != nil || again != s {
			t.Errorf("%q parses as %v, which parses as %v, %v", text, s, again, err)
		}
		if _, _, _, err := s.Sizes(3, 100); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
