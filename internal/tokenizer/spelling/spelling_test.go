package spelling

import (
	"slices"
	"testing"
)

// The alphabet is the one of GPT-2.
func TestAlphabet(t *testing.T) {
	runes := make([]rune, 256)
	for b := range runes {
		runes[b] = []rune(Letters(string([]byte{byte(b)})))[0]
	}
	for _, c := range []struct {
		b    byte
		want rune
	}{{'!', '!'}, {'~', '~'}, {' ', 'Ġ'}, {'\n', 'Ċ'}, {0, 'Ā'}, {0x7f, 'ġ'}, {0xa0, 'ł'}, {0xad, 'Ń'}, {0xff, 'ÿ'}} {
		if runes[c.b] != c.want {
			t.Errorf("byte %#x is %c, want %c", c.b, runes[c.b], c.want)
		}
	}
	if sorted := slices.Sorted(slices.Values(runes)); len(slices.Compact(sorted)) != 256 || sorted[0] != '!' {
		t.Error("the alphabet does not have 256 characters")
	}
	if b, plain := AppendBytes([]byte("x"), "é€"); plain || string(b) != "xé€" {
		t.Errorf("AppendBytes of a character outside the alphabet = %q, %v", b, plain)
	}
}
