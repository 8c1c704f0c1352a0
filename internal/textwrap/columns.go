package textwrap

import (
	"strings"
	"unicode"
)

// TerminalWidth is the default width of a terminal, in columns.
const TerminalWidth = 80

// wide lists the characters that take two columns of a terminal: the ranges of Unicode's
// EastAsianWidth.txt that are W or F, rounded to blocks.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0xa4cf, 1}, {0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1}},
	R32: []unicode.Range32{{0x16fe0, 0x1b2ff, 1}, {0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

// Columns returns how many columns of a terminal text takes.
func Columns(text string) (n int) {
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

func columnsOf(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf): // drawn over the character before, or not at all
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// Pad returns text followed by spaces up to the given number of columns.
func Pad(text string, columns int) string {
	return text + strings.Repeat(" ", max(columns-Columns(text), 0))
}
