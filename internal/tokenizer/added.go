package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"thimble/internal/tokenizer/class"
)

// A finder finds added tokens in a text. It takes the leftmost token, the longest if
// several begin there, and continues after it.
type finder struct {
	tokens []Added // sorted by content
	first  [256]bool
}

// newFinder returns a finder for the added tokens whose Normalized equals normalized. It
// applies change to their contents, unless change is nil.
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

// longest returns the longest token that is a prefix of s, or nil. Each iteration narrows
// the sorted tokens down to those that share one more byte with s.
func (f *finder) longest(s string) (best *Added) {
	tokens := f.tokens
	for i := 0; len(tokens) > 0; i++ {
		if len(tokens[0].Content) == i { // the shortest token sorts first
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

// split splits s at the added tokens. In order, it calls token with the id of each added
// token, and text with each part between them that is not empty; start reports whether
// the part starts s.
func (f *finder) split(s string, text func(part string, start bool), token func(id uint32)) {
	if len(f.tokens) == 0 {
		if s != "" {
			text(s, true)
		}
		return
	}
	done := 0     // everything before it has been passed on
	stripped := 0 // end of the white space stripped last
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
				stripped = end + class.Run(s[end:], class.Space, class.Space)
			}
			end = stripped
		}
		if done < start {
			text(s[done:start], done == 0)
		}
		if start < end { // otherwise an earlier token has stripped all of this one
			token(a.ID)
		}
		done = end // as in Hugging Face, this can move back into white space already stripped
	}
	if done < len(s) {
		text(s[done:], done == 0)
	}
}

func beginsWithWord(s string) bool {
	c, _ := class.First(s)
	return c&class.Word != 0
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && class.Of(r)&class.Word != 0
}

// trimmed returns the length of s without the white space at its end.
func trimmed(s string) int {
	for {
		r, n := utf8.DecodeLastRuneInString(s)
		if n == 0 || class.Of(r)&class.Space == 0 {
			return len(s)
		}
		s = s[:len(s)-n]
	}
}
