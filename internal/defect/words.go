package defect

import (
	"fmt"
	"strings"
)

// Some lists the first of names, made printable, and says how many more there are.
func Some(names []string) string {
	const most = 8
	shown := make([]string, 0, most)
	for _, name := range names[:min(most, len(names))] {
		shown = append(shown, Printable(name))
	}
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(shown, ", "), more)
	}
	return strings.Join(shown, ", ")
}

// Counted returns "1 tensor", "2 tensors".
func Counted(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}
