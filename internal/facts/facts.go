// Package facts tells whether two things were made from the same inputs.
package facts

import (
	"fmt"
	"strings"

	"thimble/internal/defect"
)

// Facts identify the inputs that something was made from: names and values, in order. A
// value may have several lines.
type Facts [][2]string

// Differ returns a description of the first fact that differs in now, "" if there is none.
func (f Facts) Differ(now Facts) string {
	for i := range max(len(f), len(now)) {
		var a, b [2]string
		if i < len(f) {
			a = f[i]
		}
		if i < len(now) {
			b = now[i]
		}
		switch {
		case a == b:
		case a[0] == b[0]:
			x, y := firstDifference(a[1], b[1])
			return fmt.Sprintf("%s: was %s, is %s", defect.Printable(a[0]), x, y)
		case now.has(a[0]) || a[0] == "":
			return fmt.Sprintf("%s: was absent, is %s", defect.Printable(b[0]), shown(b[1]))
		default:
			return fmt.Sprintf("%s: was %s, is absent", defect.Printable(a[0]), shown(a[1]))
		}
	}
	return ""
}

func (f Facts) has(name string) bool {
	for _, fact := range f {
		if fact[0] == name {
			return true
		}
	}
	return false
}

// firstDifference returns the first differing line of two values.
func firstDifference(a, b string) (x, y string) {
	for a != "" && b != "" {
		x, a, _ = strings.Cut(a, "\n")
		y, b, _ = strings.Cut(b, "\n")
		if x != y {
			return shown(x), shown(y)
		}
	}
	return shown(a), shown(b)
}

// shown returns the first line of a value.
func shown(value string) string {
	if value == "" {
		return "nothing"
	}
	line, _, _ := strings.Cut(value, "\n")
	return defect.Printable(line)
}
