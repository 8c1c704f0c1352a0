package defect

import (
	"errors"
	"io"
	"io/fs"
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

func TestUnreadable(t *testing.T) {
	for err, want := range map[error]string{
		fs.ErrNotExist:   "--text a: no such file",
		fs.ErrPermission: "--text a: permission denied; ask its owner for the right to read it (chmod a+r)",
		io.EOF:           "--text a: EOF",
	} {
		if got := Unreadable("--text", "a", &fs.PathError{Op: "open", Path: "a", Err: err}); got.Error() != want || !errors.Is(got, err) {
			t.Errorf("%v, want %s", got, want)
		}
	}
}
