package tokenizer

import (
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/tokenizer/class"
	"thimble/internal/tokenizer/pattern"
)

// A behavior decides which pieces a split makes of the matches and of the text between them
// (Hugging Face, SplitDelimiterBehavior).
type behavior string

const (
	isolated     behavior = "isolated"      // each match is a piece
	removed      behavior = "removed"       // matches are dropped
	contiguous   behavior = "contiguous"    // adjacent matches are one piece
	withPrevious behavior = "with-previous" // a match ends the piece before it
	withNext     behavior = "with-next"     // a match begins the piece after it
)

// behaviors maps the names in a tokenizer.json.
var behaviors = map[string]behavior{
	"Isolated": isolated, "Removed": removed, "Contiguous": contiguous, "MergedWithPrevious": withPrevious, "MergedWithNext": withNext,
}

// inverse begins a step in which the text between matches takes the place of the matches.
const inverse = "not-"

// sets lists the matchers that are not patterns, by what follows the behavior and a space.
// They use other tables of characters than Oniguruma.
var sets = map[string]matcher{
	"punctuation": func(s string, found func(start, end int)) { eachIn(s, class.Punctuation, found) },
	"space":       func(s string, found func(start, end int)) { eachIn(s, class.Space, found) },
	"words":       eachWord,
}

// A matcher calls found with the offsets of each match in s, in order.
type matcher func(s string, found func(start, end int))

// eachIn finds each character of a class.
func eachIn(s string, set class.Set, found func(start, end int)) {
	for at := 0; at < len(s); {
		c, n := class.First(s[at:])
		if c&set != 0 {
			found(at, at+n)
		}
		at += n
	}
}

// eachWord finds \w+|[^\w\s]+ of Rust's regex crate.
func eachWord(s string, found func(start, end int)) {
	for at := 0; at < len(s); {
		c, n := class.First(s[at:])
		if c&(class.Word|class.Space) != class.Space {
			n = class.Run(s[at:], class.Word|class.Space, c&(class.Word|class.Space))
			if c&class.Word != 0 {
				n = class.Run(s[at:], class.Word, class.Word)
			}
			found(at, at+n)
		}
		at += n
	}
}

// newSplit returns the split of a step such as isolated:\p{N} or not-removed words. ok is
// false if the step is none.
func newSplit(step Step) (split func(s string, piece func(string)), ok bool, err error) {
	name, inverted := strings.CutPrefix(string(step), inverse)
	at := strings.IndexAny(name, ": ")
	if at < 0 {
		return nil, false, nil
	}
	how, what := behavior(name[:at]), name[at+1:]
	if how != isolated && how != removed && how != contiguous && how != withPrevious && how != withNext {
		return nil, false, nil
	}
	find := sets[what]
	if name[at] == ':' {
		re, err := pattern.Compile(what)
		if err != nil {
			return nil, true, defect.Unsupported("tokenizer", "pattern %s (%s)", defect.Printable(what), err)
		}
		find = re.All
	}
	if find == nil {
		return nil, false, nil
	}
	return func(s string, piece func(string)) { how.split(s, find, inverted, piece) }, true, nil
}

// A part is a match or the text between two.
type part struct {
	start, end int
	match      bool
}

// split calls piece with each piece of s that is not empty.
func (b behavior) split(s string, find matcher, inverted bool, piece func(string)) {
	if b == isolated || b == removed { // without a list
		done := 0
		emit := func(start, end int, match bool) {
			if start < end && (b == isolated || match == inverted) {
				piece(s[start:end])
			}
		}
		find(s, func(start, end int) {
			emit(done, start, false)
			emit(start, end, true)
			done = end
		})
		emit(done, len(s), false)
		return
	}
	var parts []part
	done := 0
	find(s, func(start, end int) {
		if done < start {
			parts = append(parts, part{done, start, inverted})
		}
		parts = append(parts, part{start, end, !inverted})
		done = end
	})
	if done < len(s) {
		parts = append(parts, part{done, len(s), inverted})
	}
	for _, p := range b.joined(parts) {
		if p.start < p.end {
			piece(s[p.start:p.end])
		}
	}
}

// joined joins parts as b says.
func (b behavior) joined(parts []part) []part {
	if b == withNext {
		slices.Reverse(parts)
	}
	var out []part
	before := false // whether the preceding part was a match
	for _, p := range parts {
		join := p.match && !before
		if b == contiguous {
			join = p.match == before
		}
		if before = p.match; join && len(out) > 0 {
			last := &out[len(out)-1]
			last.start, last.end = min(last.start, p.start), max(last.end, p.end)
		} else {
			out = append(out, p)
		}
	}
	if b == withNext {
		slices.Reverse(out)
	}
	return out
}
