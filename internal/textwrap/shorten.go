package textwrap

// First returns text, or its first kept characters and "..." if it has more than
// most.
func First(text string, most, kept int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:kept]) + "..."
	}
	return text
}

// Last returns text, or "..." and its last kept characters if it has more than
// most.
func Last(text string, most, kept int) string {
	if r := []rune(text); len(r) > most {
		return "..." + string(r[len(r)-kept:])
	}
	return text
}
