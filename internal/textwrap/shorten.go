package textwrap

import "slices"

// First returns text, or its beginning in up to kept columns and "..." if it takes more
// than most.
func First(text string, most, kept int) string {
	if Columns(text) <= most {
		return text
	}
	r := []rune(text)
	return string(r[:fitting(r, kept)]) + "..."
}

// Last returns text, or "..." and its end in up to kept columns if it takes more than
// most.
func Last(text string, most, kept int) string {
	if Columns(text) <= most {
		return text
	}
	r := []rune(text)
	slices.Reverse(r)
	r = r[:fitting(r, kept)]
	slices.Reverse(r)
	return "..." + string(r)
}

// fitting returns how many of the first characters fit in the given columns.
func fitting(r []rune, columns int) int {
	for i, c := range r {
		if columns -= columnsOf(c); columns < 0 {
			return i
		}
	}
	return len(r)
}
