package class

import (
	"testing"
	"unicode/utf8"
)

func TestClasses(t *testing.T) {
	last := rune(-1)
	want := make(map[rune]Set)
	for _, r := range ranges {
		if r.lo <= last || r.hi < r.lo || r.class == 0 {
			t.Fatalf("range %x-%x is out of order or has no class", r.lo, r.hi)
		}
		last = r.hi
		for c := r.lo; c <= r.hi; c++ {
			want[c] = r.class
		}
	}
	for c := rune(0); c <= utf8.MaxRune; c++ {
		if got := Of(c); got != want[c] {
			t.Fatalf("%U: class %d, want %d", c, got, want[c])
		}
	}
	for _, c := range []struct {
		r    rune
		want Set
	}{
		{'a', Letter | Word}, {'7', Number | Digit | Word}, {'_', Word | Punctuation}, {' ', Space}, {'\v', Space | Control}, {0x85, Space | Control}, {0xa0, Space | Active},
		{0x200b, Control}, {0x200d, Word | Control}, {0x301, Word | Active | Accent | Nonspacing}, {0xbd, Number | Digit | Active}, {0x3007, Number | Digit | Word},
		{0x1c89, Letter | Word}, // Unicode 16, newer than Go's tables
		{0x11de0, Digit},        // Unicode 17, which only Rust's char supports
	} {
		if got := Of(c.r); got != c.want {
			t.Errorf("%U: class %d, want %d", c.r, got, c.want)
		}
	}
}
