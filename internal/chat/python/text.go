package python

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

func runes(s string) int64 { return int64(utf8.RuneCountInString(s)) }

// FirstRune returns the length of the first character of a text that is not empty.
func FirstRune(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

// offset returns where the character with an index starts.
func offset(s string, i int64) int {
	at := 0
	for ; i > 0 && at < len(s); i-- {
		at += FirstRune(s[at:])
	}
	return at
}

// IsSpace is Python's str.isspace of a character.
func IsSpace(c rune) bool { return unicode.IsSpace(c) || 0x1c <= c && c <= 0x1f }

// TrimSpace is Python's str.strip.
func TrimSpace(s string) string { return strings.TrimFunc(s, IsSpace) }

func isCased(c rune) bool { return isUpper(c) || isLower(c) || unicode.IsTitle(c) }

func isUpper(c rune) bool { return unicode.IsUpper(c) || unicode.Is(unicode.Other_Uppercase, c) }

func isLower(c rune) bool { return unicode.IsLower(c) || unicode.Is(unicode.Other_Lowercase, c) }

// otherDigits are the digits of Python's str.isdigit that are not decimal.
var otherDigits = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0xb2, 0xb3, 1}, {0xb9, 0xb9, 1}, {0x1369, 0x1371, 1}, {0x19da, 0x19da, 1}, {0x2070, 0x2070, 1}, {0x2074, 0x2079, 1},
		{0x2080, 0x2089, 1}, {0x2460, 0x2468, 1}, {0x2474, 0x247c, 1}, {0x2488, 0x2490, 1}, {0x24ea, 0x24ea, 1}, {0x24f5, 0x24fd, 1},
		{0x24ff, 0x24ff, 1}, {0x2776, 0x277e, 1}, {0x2780, 0x2788, 1}, {0x278a, 0x2792, 1},
	},
	R32:         []unicode.Range32{{0x10a40, 0x10a43, 1}, {0x10e60, 0x10e68, 1}, {0x11052, 0x1105a, 1}, {0x1f100, 0x1f10a, 1}},
	LatinOffset: 2,
}

func isDigit(c rune) bool { return unicode.IsDigit(c) || unicode.Is(otherDigits, c) }

// Upper is Python's str.upper.
func Upper(s string) string { return mapped(s, unicode.ToUpper, upperCases) }

func titleOf(s string) string { return mapped(s, unicode.ToTitle, titleCases) }

func mapped(s string, one func(rune) rune, several map[rune]string) string {
	var b strings.Builder
	for _, c := range s {
		if text, ok := several[c]; ok && c >= 0x80 {
			b.WriteString(text)
		} else {
			b.WriteRune(one(c))
		}
	}
	return b.String()
}

// Lower is Python's str.lower. before is the text before s, which the form of a sigma
// depends on.
func Lower(before, s string) string {
	var b strings.Builder
	for i, c := range s {
		switch {
		case c == 'Σ':
			b.WriteRune(lowerSigma(before, s[:i], s[i+len("Σ"):]))
		case c == 'İ':
			b.WriteString("i\u0307")
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

// lowerSigma returns the final sigma at the end of a word. start and before are what precedes
// it.
func lowerSigma(start, before, after string) rune {
	before = strings.TrimRightFunc(before, isCaseIgnorable)
	if before == "" {
		before = strings.TrimRightFunc(start, isCaseIgnorable)
	}
	after = strings.TrimLeftFunc(after, isCaseIgnorable)
	last, _ := utf8.DecodeLastRuneInString(before)
	next, _ := utf8.DecodeRuneInString(after)
	if before != "" && isCased(last) && (after == "" || !isCased(next)) {
		return 'ς'
	}
	return 'σ'
}

func isCaseIgnorable(c rune) bool {
	return unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) ||
		strings.ContainsRune("'.:\u00b7\u0387\u055f\u05f4\u2018\u2019\u2024\u2027\ufe13\ufe52\ufe55\uff07\uff0e\uff1a", c)
}

// Capitalize is Python's str.capitalize.
func Capitalize(s string) string {
	if s == "" {
		return ""
	}
	n := FirstRune(s)
	return titleOf(s[:n]) + Lower(s[:n], s[n:])
}

// title is Python's str.title.
func title(s string) string {
	var b strings.Builder
	cased := false
	for i, c := range s {
		one := s[i : i+FirstRune(s[i:])]
		switch {
		case c == 'Σ' && cased:
			b.WriteRune(lowerSigma("", s[:i], s[i+len(one):]))
		case cased:
			b.WriteString(Lower("", one))
		default:
			b.WriteString(titleOf(one))
		}
		cased = isCased(c)
	}
	return b.String()
}

func swapCase(s string) string {
	var b strings.Builder
	for i, c := range s {
		one := s[i : i+FirstRune(s[i:])]
		switch {
		case isUpper(c):
			b.WriteString(Lower(s[:i], one))
		case isLower(c):
			b.WriteString(Upper(one))
		default:
			b.WriteString(one)
		}
	}
	return b.String()
}

// SplitLines is Python's str.splitlines.
func SplitLines(s string, keep bool) []string {
	var lines []string
	for s != "" {
		at := strings.IndexFunc(s, func(c rune) bool {
			return '\n' <= c && c <= '\r' || 0x1c <= c && c <= 0x1e || c == 0x85 || c == 0x2028 || c == 0x2029
		})
		if at < 0 {
			return append(lines, s)
		}
		next := at + FirstRune(s[at:])
		if strings.HasPrefix(s[at:], "\r\n") {
			next++
		}
		if keep {
			at = next
		}
		lines = append(lines, s[:at])
		s = s[next:]
	}
	return lines
}

// MaxEscape is the most bytes that one becomes in EscapeHTML.
const MaxEscape = 5

// EscapeHTML is markupsafe's escape.
func EscapeHTML(s string) string {
	return strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;").Replace(s)
}
