package textwrap

import (
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	for _, c := range []struct {
		text                 string
		first, indent, width int
		want                 string
	}{
		{"", 0, 2, 10, "\n"},
		{"one", 0, 0, 10, "one\n"},
		{"one two three", 0, 0, 7, "one two\nthree\n"},
		{"one two three", 0, 2, 7, "one two\n  three\n"},
		{"one two three", 4, 2, 7, "one\n  two\n  three\n"},
		{"  one \n two\t", 0, 0, 80, "one two\n"},
		{"immeasurable a b", 0, 2, 6, "immeasurable\n  a b\n"},
		{"a immeasurable b", 0, 2, 6, "a\n  immeasurable\n  b\n"},
	} {
		var b strings.Builder
		if Write(&b, c.text, c.first, c.indent, c.width); b.String() != c.want {
			t.Errorf("Write(%q, %d, %d, %d) wrote %q, want %q", c.text, c.first, c.indent, c.width, b.String(), c.want)
		}
	}
}
