// Package class gives the properties of characters that pre-tokenizers and normalizers of
// Hugging Face tokenizers use.
package class

import "unicode/utf8"

// A Set is a set of character properties.
type Set uint16

const (
	Letter      Set = 1 << iota // \p{L} in Oniguruma
	Number                      // \p{N} in Oniguruma
	Space                       // \s, the property White_Space
	Digit                       // char::is_numeric in Rust: category N in a newer Unicode version
	Word                        // \w in Rust's regex crate
	Active                      // decomposes or is reordered, in the Unicode version of the normalization forms
	Punctuation                 // ASCII punctuation and category P, as Punctuation of Hugging Face has them
	Accent                      // combining marks, which StripAccents removes
	Control                     // what BertNormalizer removes to clean a text
	Nonspacing                  // marks without a width, which it removes to strip accents
)

// bmp holds the classes of the characters below 0x10000.
var bmp = func() *[1 << 16]Set {
	t := new([1 << 16]Set)
	for _, r := range ranges {
		for c := r.lo; c <= r.hi && c < 1<<16; c++ {
			t[c] = r.class
		}
	}
	return t
}()

// First returns the class and the length of the first character of s, or 0, 0 if s is
// empty. An invalid byte counts as a character without properties.
func First(s string) (Set, int) {
	if s == "" {
		return 0, 0
	}
	if c := s[0]; c < utf8.RuneSelf {
		return bmp[c], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	return Of(r), n
}

// Of returns the class of a character.
func Of(r rune) Set {
	if r < 1<<16 {
		return bmp[r]
	}
	lo, hi := 0, len(ranges)
	for lo < hi {
		if mid := (lo + hi) / 2; ranges[mid].hi < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(ranges) && ranges[lo].lo <= r {
		return ranges[lo].class
	}
	return 0
}

// Run returns the length of the longest prefix of s in which the properties in mask of
// every character are exactly want.
func Run(s string, mask, want Set) int {
	i := 0
	for {
		c, n := First(s[i:])
		if n == 0 || c&mask != want {
			return i
		}
		i += n
	}
}
