// Package table writes tables of names and numbers as aligned text or Markdown.
package table

import (
	"strings"

	"thimble/internal/textwrap"
)

// A Table has names in its first column and numbers in the others.
type Table struct {
	Head []string // column headings
	Rows [][]string
}

// New returns an empty table with the given column headings.
func New(head ...string) *Table { return &Table{Head: head} }

// Add appends a row, with one cell for each column.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Text writes t with the first column aligned left and the others aligned right,
// indented by two spaces.
func (t *Table) Text(b *strings.Builder) {
	widths := make([]int, len(t.Head))
	lines := append([][]string{t.Head}, t.Rows...)
	for _, cells := range lines {
		for i, cell := range cells {
			widths[i] = max(widths[i], textwrap.Columns(cell))
		}
	}
	for _, cells := range lines {
		var line strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-textwrap.Columns(cell))
			if i == 0 {
				line.WriteString("  " + cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// Markdown writes t as a table in GitHub Flavored Markdown.
func (t *Table) Markdown(b *strings.Builder) {
	line := func(cells []string) {
		for _, cell := range cells {
			b.WriteString("| " + strings.ReplaceAll(cell, "|", "\\|") + " ")
		}
		b.WriteString("|\n")
	}
	line(t.Head)
	b.WriteString("|---" + strings.Repeat("|---:", len(t.Head)-1) + "|\n")
	for _, cells := range t.Rows {
		line(cells)
	}
}
