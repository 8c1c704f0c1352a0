package textwrap

import "testing"

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text        string
		most, kept  int
		first, last string
	}{
		{"", 3, 2, "", ""},
		{"abc", 3, 2, "abc", "abc"},
		{"abcd", 3, 2, "ab...", "...cd"},
		{"äöüß", 3, 3, "äöü...", "...öüß"},
	} {
		if got := First(c.text, c.most, c.kept); got != c.first {
			t.Errorf("First(%q, %d, %d) is %q, want %q", c.text, c.most, c.kept, got, c.first)
		}
		if got := Last(c.text, c.most, c.kept); got != c.last {
			t.Errorf("Last(%q, %d, %d) is %q, want %q", c.text, c.most, c.kept, got, c.last)
		}
	}
}
