// Package spell finds the name that a mistyped one was meant to be.
package spell

import (
	"fmt"
	"strings"
)

// Suggest returns `, did you mean "x"?` for the known name nearest to word, or
// nothing when none is near.
func Suggest(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ""
}

// Nearest returns the known name with the least edit distance to word, the
// first of equals. When more than a third of it would have to change, it is the
// first name that word begins, or "".
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

// distance is the number of bytes to insert, delete, replace or swap with
// their neighbour (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			change := last[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
