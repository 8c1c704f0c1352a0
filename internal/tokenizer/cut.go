package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/tokenizer/class"
	"thimble/internal/tokenizer/spelling"
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
	StepLetters:   func(s string, _ bool) string { return spelling.Letters(s) },
}

// newStages returns the stages of steps. After StepLetters, the pieces are turned back.
func newStages(steps []Step) ([]stage, error) {
	var stages []stage
	for _, s := range steps {
		st := stage{cut: cutters[s], change: changers[s]}
		if st.cut == nil && st.change == nil {
			split, ok, err := newSplit(s)
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, defect.Unsupported("tokenizer", "pre-tokenizer step %q", defect.Printable(string(s)))
			}
			st.split = split
		}
		stages = append(stages, st)
	}
	if slices.Contains(steps, StepLetters) {
		stages = append(stages, stage{change: func(s string, _ bool) string {
			b, _ := spelling.AppendBytes(nil, s)
			return string(b)
		}})
	}
	return stages, nil
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

func cutDigit(s string) int {
	if c, n := class.First(s); c&class.Digit != 0 {
		return n
	}
	return class.Run(s, class.Digit, 0)
}

func cutDigits(s string) int {
	c, _ := class.First(s)
	return class.Run(s, class.Digit, c&class.Digit)
}

// patternMask selects the properties that the patterns distinguish: letters, numbers,
// white space, and none of these.
const patternMask = class.Letter | class.Number | class.Space

func cutGPT2(s string) int {
	if n := contraction(s, false); n > 0 {
		return n
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	c, n := class.First(s[i:])
	if n == 0 || c&class.Space != 0 {
		return cutSpace(s, class.Run(s, class.Space, class.Space))
	}
	return i + class.Run(s[i:], patternMask, c&patternMask)
}

// cutLlama3 tries the alternatives of the pattern in order. digits is the largest number
// of digits in a piece.
func cutLlama3(s string, digits int) int {
	if n := contraction(s, true); n > 0 {
		return n
	}
	c, n := class.First(s)
	switch {
	case c&class.Letter != 0:
		return class.Run(s, class.Letter, class.Letter)
	case c&class.Number != 0:
		for i := 0; ; i += n {
			if c, n = class.First(s[i:]); c&class.Number == 0 || digits == 0 {
				return i
			}
			digits--
		}
	case s[0] != '\r' && s[0] != '\n':
		if letters := class.Run(s[n:], class.Letter, class.Letter); letters > 0 {
			return n + letters
		}
	}
	i := 0
	if s[0] == ' ' {
		i = 1
	}
	if others := class.Run(s[i:], patternMask, 0); others > 0 {
		for i += others; i < len(s) && isNewline(s[i]); i++ {
		}
		return i
	}
	all := class.Run(s, class.Space, class.Space)
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

const mark = spelling.Mark

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
