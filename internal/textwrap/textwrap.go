// Package textwrap breaks text into lines of a fixed width, and shortens it.
package textwrap

import "strings"

// Write appends text to b in lines of up to width columns, with a newline after the
// last. The first line starts at column first, up to which the caller has already
// written; the others are indented by indent columns. White space only separates words.
// A word longer than a line gets its own line.
func Write(b *strings.Builder, text string, first, indent, width int) {
	column, start := first, first
	for _, word := range strings.Fields(text) {
		switch {
		case column > start && column+1+Columns(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column, start = indent, indent
		case column > start:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += Columns(word)
	}
	b.WriteString("\n")
}
