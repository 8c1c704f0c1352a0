// Package spell suggests corrections of mistyped names.
package spell

import (
	"fmt"
	"strings"
)

// Suggest returns ` (did you mean "x"?)` for the known name x nearest to word, or ""
// if no name is near.
func Suggest(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// Nearest returns the known name with the least edit distance to word; ties go to the
// first. If that would change more than a third of word, Nearest returns the first name
// that begins with word, or "".
func Nearest(word string, known []string) string {
	best, near := "", 1+max(1, len(word)/3)
	if len(word) > 256 {
		return ""
	}
	for _, k := range known {
		if d := distance(word, k); d < near {
			best, near = k, d
		}
	}
	for _, k := range known {
		if best == "" && len(word) > 1 && strings.HasPrefix(k, word) {
			best = k
		}
	}
	return best
}

// Slip returns the known name that word is, but for case, hyphens, underscores and at most one
// edit, or "". It is for words of which most are right although they are not known.
func Slip(word string, known []string) string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	best, near := "", 2
	for _, k := range known {
		if len(word) > len(k)+4 {
			continue // a hostile word must not cost much
		}
		if d := distance(plain(word), plain(k)); d < near {
			best, near = k, d
		}
	}
	return best
}

// distance returns the number of insertions, deletions and replacements of a byte, and
// swaps of adjacent bytes, that turn a into b (optimal string alignment).
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		prev[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			replaced := prev[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], prev2[j-1]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
