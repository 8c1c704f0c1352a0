package table

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	table := New("file", "MB", "")
	table.Add("a|b", "10.5", "x")
	table.Add("größer", "2.25", "")
	var text, markdown strings.Builder
	table.Text(&text)
	table.Markdown(&markdown)
	if want := "  file      MB\n  a|b     10.5  x\n  größer  2.25\n"; text.String() != want {
		t.Errorf("text is\n%swant\n%s", text.String(), want)
	}
	if want := "| file | MB |  |\n|---|---:|---:|\n| a\\|b | 10.5 | x |\n| größer | 2.25 |  |\n"; markdown.String() != want {
		t.Errorf("Markdown is\n%swant\n%s", markdown.String(), want)
	}
}
