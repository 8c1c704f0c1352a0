package strictjson

import "strings"

// Enclosed returns the length of the text up to the first bracket that closes the outermost
// one, or 0 if none does. opening and closing are the brackets that count, such as "{[" and
// "}]"; those in strings do not. It does not check that the text is JSON.
func Enclosed(text, opening, closing string) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.IndexByte(opening, c) >= 0:
			depth++
		case strings.IndexByte(closing, c) >= 0:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}
