package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// A cutter returns the length of the first piece of s, which is not empty. Repeated
// calls find all pieces of a text, because no pattern looks back.
type cutter func(s string) int

var cutters = map[Step]cutter{
	StepDigit:  cutDigit,
	StepDigits: cutDigits,
	StepGPT2:   cutGPT2,
	StepLlama3: func(s string) int { return cutLlama3(s, 3) },
	StepQwen2:  func(s string) int { return cutLlama3(s, 1) },

	StepWords:      cutWord,
	StepAfterSpace: cutAfterSpace,
}

// changers are the steps that change a piece; first reports whether the piece starts the
// text.
var changers = map[Step]func(s string, first bool) string{
	StepSpace:     func(s string, _ bool) string { return withPrefix(s, " ") },
	StepEscape:    func(s string, _ bool) string { return strings.ReplaceAll(s, " ", mark) },
	StepMark:      func(s string, _ bool) string { return withPrefix(s, mark) },
	StepMarkFirst: markFirst,
}

// withPrefix returns s, with prefix added unless s already begins with it.
func withPrefix(s, prefix string) string {
	if strings.HasPrefix(s, prefix) {
		return s
	}
	return prefix + s
}

func markFirst(s string, first bool) string {
	if !first {
		return s
	}
	return withPrefix(s, mark)
}

// valid reports whether s is a known step.
func (s Step) valid() bool {
	return cutters[s] != nil || changers[s] != nil
}

// A class is a set of character properties that patterns and normalization use.
type class uint8

const (
	letter class = 1 << iota // \p{L} in Oniguruma
	number                   // \p{N} in Oniguruma
	space                    // \s, the property White_Space
	digit                    // char::is_numeric in Rust: category N in a newer Unicode version
	word                     // \w in Rust's regex crate
	active                   // decomposes or is reordered, in the Unicode version of the normalization forms
)

// bmp holds the classes of the characters below 0x10000.
var bmp = func() *[1 << 16]class {
	t := new([1 << 16]class)
	for _, r := range classRanges {
		for c := r.lo; c <= r.hi && c < 1<<16; c++ {
			t[c] = r.class
		}
	}
	return t
}()

// classOf returns the class and the length of the first character of s, or 0, 0 if s is
// empty. An invalid byte counts as a character without properties.
func classOf(s string) (class, int) {
	if s == "" {
		return 0, 0
	}
	if c := s[0]; c < utf8.RuneSelf {
		return bmp[c], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	return classOfRune(r), n
}

func classOfRune(r rune) class {
	if r < 1<<16 {
		return bmp[r]
	}
	lo, hi := 0, len(classRanges)
	for lo < hi {
		if mid := (lo + hi) / 2; classRanges[mid].hi < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(classRanges) && classRanges[lo].lo <= r {
		return classRanges[lo].class
	}
	return 0
}

// run returns the length of the longest prefix of s in which the properties in mask of
// every character are exactly want.
func run(s string, mask, want class) int {
	i := 0
	for {
		c, n := classOf(s[i:])
		if n == 0 || c&mask != want {
			return i
		}
		i += n
	}
}

func cutDigit(s string) int {
	if c, n := classOf(s); c&digit != 0 {
		return n
	}
	return run(s, digit, 0)
}

func cutDigits(s string) int {
	c, _ := classOf(s)
	return run(s, digit, c&digit)
}

// patternMask selects the properties that the patterns distinguish: letters, numbers,
// white space, and none of these.
const patternMask = letter | number | space

func cutGPT2(s string) int {
	if n := contraction(s, false); n > 0 {
		return n
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	c, n := classOf(s[i:])
	if n == 0 || c&space != 0 {
		return cutSpace(s, run(s, space, space))
	}
	return i + run(s[i:], patternMask, c&patternMask)
}

// cutLlama3 tries the alternatives of the pattern in order. digits is the largest number
// of digits in a piece.
func cutLlama3(s string, digits int) int {
	if n := contraction(s, true); n > 0 {
		return n
	}
	c, n := classOf(s)
	switch {
	case c&letter != 0:
		return run(s, letter, letter)
	case c&number != 0:
		for i := 0; ; i += n {
			if c, n = classOf(s[i:]); c&number == 0 || digits == 0 {
				return i
			}
			digits--
		}
	case s[0] != '\r' && s[0] != '\n':
		if letters := run(s[n:], letter, letter); letters > 0 {
			return n + letters
		}
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	if others := run(s[i:], patternMask, 0); others > 0 {
		for i += others; i < len(s) && isNewline(s[i]); i++ {
		}
		return i
	}
	all := run(s, space, space)
	for i := all; i > 0; i-- {
		if isNewline(s[i-1]) {
			return i
		}
	}
	return cutSpace(s, all)
}

func isNewline(c byte) bool { return c == '\r' || c == '\n' }

// cutSpace implements \s+(?!\S)|\s+ for s, which begins with n bytes of white space. It
// leaves the last space to the next piece, unless s ends there or has only one space.
func cutSpace(s string, n int) int {
	if n == len(s) {
		return n
	}
	if _, last := utf8.DecodeLastRuneInString(s[:n]); last < n {
		return n - last
	}
	return n
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the start of s, or
// 0. If fold is set it ignores case, where U+017F also counts as an s.
func contraction(s string, fold bool) int {
	if s[0] != '\'' || len(s) < 2 {
		return 0
	}
	lower := func(c byte) byte {
		if fold && c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}
	switch a := lower(s[1]); a {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		want := byte('e')
		if a == 'l' {
			want = 'l'
		}
		if len(s) > 2 && lower(s[2]) == want {
			return 3
		}
	case 0xc5:
		if fold && len(s) > 2 && s[2] == 0xbf {
			return 3
		}
	}
	return 0
}

// mark is U+2581, which represents a space.
const mark = "\u2581"

// cutWord cuts before each mark.
func cutWord(s string) int {
	at := 0
	if strings.HasPrefix(s, mark) {
		at = len(mark)
	}
	if n := strings.Index(s[at:], mark); n >= 0 {
		return at + n
	}
	return len(s)
}

// cutAfterSpace cuts after each space.
func cutAfterSpace(s string) int {
	if n := strings.IndexByte(s, ' '); n >= 0 {
		return n + 1
	}
	return len(s)
}

// cutMarked cuts before a run of marks, unless the character before it is in except.
func cutMarked(s string, except map[rune]bool) int {
	for at := 0; ; {
		for strings.HasPrefix(s[at:], mark) {
			at += len(mark)
		}
		n := strings.Index(s[at:], mark)
		if n < 0 {
			return len(s)
		}
		at += n
		if len(except) == 0 {
			return at
		}
		if r, _ := utf8.DecodeLastRuneInString(s[:at]); !except[r] {
			return at
		}
	}
}
