package defect

import (
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain name.safetensors": "plain name.safetensors", "a\nb": `"a\nb"`, "café": "café", "\xff": `"\xff"`,
		`C:\models\new`: `C:\models\new`, `\"`: `"\\\""`, "C:\\a\nb": `"C:\\a\nb"`, `\x1b`: `\x1b`, "\\\x1b": `"\\\x1b"`,
	} {
		if got := Printable(in); got != want {
			t.Errorf("Printable(%q) = %s, want %s", in, got, want)
		}
	}
	if got := Printable(strings.Repeat("x", 1000)); len(got) > 200 {
		t.Errorf("Printable of a long name has %d bytes", len(got))
	}
}
