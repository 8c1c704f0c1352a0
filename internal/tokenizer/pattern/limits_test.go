package pattern

import (
	"fmt"
	"strings"
	"testing"
)

// Each limit of docs/SECURITY.md is where it says: the largest value passes, and the next is refused
// with a text that names the limit.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name    string
		limit   int
		pattern func(n int) string
		want    string
	}{
		{"bytes", maxPattern, func(n int) string { return "[" + strings.Repeat("a", n-2) + "]" }, "want at most 8192"},
		{"groups", maxDepth, func(n int) string { return strings.Repeat("(?:", n) + "a" + strings.Repeat(")", n) }, "more than 64 nested groups"},
		{"repetition", maxRepeat, func(n int) string { return fmt.Sprintf("a{%d}", n) }, "want at most 1024"},
		{"classes", maxSets, func(n int) string {
			var b strings.Builder
			for i := range n {
				fmt.Fprintf(&b, `[\x{%x}b-c]`, 0x400+2*i)
			}
			return b.String()
		}, "more than 256 classes"},
		{"memos", maxMemos, func(n int) string { return strings.Repeat("(?:a|b)", n) }, "more than 128 alternatives"},
	} {
		if _, err := Compile(c.pattern(c.limit)); err != nil {
			t.Errorf("%s: the limit itself is refused: %v", c.name, err)
		}
		if _, err := Compile(c.pattern(c.limit + 1)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: more than the limit gives %v, want ... %s", c.name, err, c.want)
		}
	}
	for pattern, ok := range map[string]bool{"(?:[ab][cd][ef]){1024}": true, "(?:[ab][cd][ef][gh][ij]){1024}": false} {
		if _, err := Compile(pattern); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), fmt.Sprintf("more than %d instructions", maxProgram)) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
