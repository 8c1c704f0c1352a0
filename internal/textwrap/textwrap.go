// Package textwrap breaks text into lines of a fixed width, and shortens it.
package textwrap

import "strings"

// Write appends text to b in lines of up to width columns, and a newline after
// the last. The first line starts at column first, where the caller has already
// written; the others start at column indent. White space in text separates
// words and is otherwise dropped; a word longer than a line gets one of its own.
func Write(b *strings.Builder, text string, first, indent, width int) {
	at, start := first, first
	for _, word := range strings.Fields(text) {
		switch {
		case at > start && at+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at, start = indent, indent
		case at > start:
			b.WriteString(" ")
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	b.WriteString("\n")
}
