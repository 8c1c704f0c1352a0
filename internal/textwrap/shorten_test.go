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
		{"日本語", 6, 5, "日本語", "日本語"},
		{"日本語", 5, 5, "日本...", "...本語"},
	} {
		if got := First(c.text, c.most, c.kept); got != c.first {
			t.Errorf("First(%q, %d, %d) is %q, want %q", c.text, c.most, c.kept, got, c.first)
		}
		if got := Last(c.text, c.most, c.kept); got != c.last {
			t.Errorf("Last(%q, %d, %d) is %q, want %q", c.text, c.most, c.kept, got, c.last)
		}
	}
}

func TestColumns(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
	}{{"", 0}, {"abc", 3}, {"größer", 6}, {"日本", 4}, {"한국", 4}, {"e\u0301", 1}, {"👍a", 3}, {"…▁█", 3}, {"ｗ", 2}} {
		if got := Columns(c.text); got != c.want {
			t.Errorf("%q takes %d columns, want %d", c.text, got, c.want)
		}
		if got := Columns(Pad(c.text, 9)); got != 9 {
			t.Errorf("%q padded to 9 takes %d columns", c.text, got)
		}
	}
}
