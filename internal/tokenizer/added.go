package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// A finder finds added tokens in text: the leftmost, and of those that begin
// there the longest, then on from its end.
type finder struct {
	tokens []Added // by content
	first  [256]bool
}

// newFinder takes the tokens that are marked so. They are looked for as change
// leaves them; nil leaves them as they are.
func newFinder(added []Added, normalized bool, change normalizer) *finder {
	f := new(finder)
	for _, a := range added {
		if a.Normalized != normalized {
			continue
		}
		if change != nil {
			a.Content = change(a.Content)
		}
		if a.Content != "" {
			f.tokens = append(f.tokens, a)
			f.first[a.Content[0]] = true
		}
	}
	slices.SortStableFunc(f.tokens, func(a, b Added) int { return strings.Compare(a.Content, b.Content) })
	f.tokens = slices.CompactFunc(f.tokens, func(a, b Added) bool { return a.Content == b.Content })
	return f
}

// longest returns the longest token that s begins with, or nil. It narrows the
// sorted tokens down to those that share one more byte with s each turn.
func (f *finder) longest(s string) (best *Added) {
	tokens := f.tokens
	for i := 0; len(tokens) > 0; i++ {
		if len(tokens[0].Content) == i { // a prefix sorts first
			best, tokens = &tokens[0], tokens[1:]
		}
		if i == len(s) {
			break
		}
		byteIs := func(t Added, c int) int { return int(t.Content[i]) - c }
		lo, _ := slices.BinarySearchFunc(tokens, int(s[i]), byteIs)
		hi, _ := slices.BinarySearchFunc(tokens, int(s[i])+1, byteIs)
		tokens = tokens[lo:hi]
	}
	return best
}

// split cuts s at the added tokens and passes on what is between them, none of
// it empty, and whether it is the start of s, and their ids.
func (f *finder) split(s string, text func(part string, start bool), token func(id uint32)) {
	if len(f.tokens) == 0 {
		if s != "" {
			text(s, true)
		}
		return
	}
	done := 0     // what is before is passed on
	stripped := 0 // where the white space found last ends
	for i := 0; i < len(s); {
		var a *Added
		if f.first[s[i]] {
			a = f.longest(s[i:])
		}
		if a == nil {
			i++
			continue
		}
		start, end := i, i+len(a.Content)
		i = end
		if a.SingleWord && (endsInWord(s[:start]) || beginsWithWord(s[end:])) {
			continue
		}
		if a.LStrip {
			start = done + trimmed(s[done:max(done, start)])
		}
		if a.RStrip {
			if stripped < end {
				stripped = end + run(s[end:], space, space)
			}
			end = stripped
		}
		if done < start {
			text(s[done:start], done == 0)
		}
		if start < end { // else an earlier token stripped all of it
			token(a.ID)
		}
		done = end // may go back, into white space that was stripped, as in Hugging Face
	}
	if done < len(s) {
		text(s[done:], done == 0)
	}
}

func beginsWithWord(s string) bool {
	c, _ := classOf(s)
	return c&word != 0
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && classOfRune(r)&word != 0
}

// trimmed returns the length of s without the white space at its end.
func trimmed(s string) int {
	for {
		r, n := utf8.DecodeLastRuneInString(s)
		if n == 0 || classOfRune(r)&space == 0 {
			return len(s)
		}
		s = s[:len(s)-n]
	}
}
