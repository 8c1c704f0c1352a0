package tokenizer

import "testing"

// Any precompiled_charsmap that is accepted replaces prefixes of any text.
func FuzzCharsmap(f *testing.F) {
	f.Add([]byte{}, "a")
	f.Add([]byte{4, 0, 0, 0, 0, 0, 0, 0, 0}, "a")
	f.Add([]byte{8, 0, 0, 0, 0, 4, 0, 0, 0xff, 0xff, 0xff, 0xff, 'x', 0}, "ab\u00e9")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		m, err := newCharsmap(b)
		if err != nil || m == nil {
			return
		}
		if n, replacement := m.longest(text); n > len(text) || len(replacement) > maxGrowth {
			t.Errorf("%d of %d bytes become %d", n, len(text), len(replacement))
		}
	})
}
