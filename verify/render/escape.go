package render

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"thimble/internal/textwrap"
)

// A segment is part of a text: printable characters, or the escaped form of one
// that would not show or would act.
type segment struct {
	Text    string
	Escaped bool
}

// escapeUnprintable makes every character of a model's text visible: controls,
// marks of direction, characters without width, and bytes that are not UTF-8.
func escapeUnprintable(text string) (all []segment) {
	from := 0
	add := func(to int) {
		if to > from {
			all = append(all, segment{text[from:to], false})
		}
	}
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !strconv.IsGraphic(r) || r == utf8.RuneError && n == 1 {
			add(i)
			quoted := strconv.QuoteToGraphic(text[i : i+n])
			all = append(all, segment{quoted[1 : len(quoted)-1], true})
			from = i + n
		}
		i += n
	}
	add(len(text))
	return all
}

// printable is text with its unprintable characters escaped.
func printable(text string) string {
	var b strings.Builder
	for _, s := range escapeUnprintable(text) {
		b.WriteString(s.Text)
	}
	return b.String()
}

// tokenText is a token's text in quotes, or its id if it has none.
func tokenText(text string, id int) string {
	if text == "" {
		return strconv.Itoa(id)
	}
	return strconv.QuoteToGraphic(text)
}

// quoted is text in quotes, short enough for a line.
func quoted(text string) string { return textwrap.First(strconv.QuoteToGraphic(text), 64, 61) }

// quotedEnd is quoted for a text whose end matters more.
func quotedEnd(text string) string { return textwrap.Last(strconv.QuoteToGraphic(text), 64, 61) }
