package strictjson

import "testing"

func TestEnclosed(t *testing.T) {
	for _, c := range []struct {
		text, opening, closing string
		want                   int
	}{
		{`{"a":[1]} b`, "{", "}", 9},
		{`[{"a":"]}\""}], 2`, "{[", "}]", 14},
		{`{"a":[1}]`, "{", "}", 8},
		{`{"a":"}`, "{", "}", 0},
		{`}{}`, "{", "}", 0},
		{``, "{", "}", 0},
	} {
		if got := Enclosed(c.text, c.opening, c.closing); got != c.want {
			t.Errorf("%s: %d, want %d", c.text, got, c.want)
		}
	}
}
