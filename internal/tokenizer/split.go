package tokenizer

import (
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/tokenizer/class"
	"thimble/internal/tokenizer/pattern"
)

// A Behavior decides which pieces a split makes of the matches and of the text between them
// (Hugging Face, SplitDelimiterBehavior).
type Behavior string

const (
	Isolated     Behavior = "isolated"      // each match is a piece
	Removed      Behavior = "removed"       // matches are dropped
	Contiguous   Behavior = "contiguous"    // adjacent matches are one piece
	WithPrevious Behavior = "with-previous" // a match ends the piece before it
	WithNext     Behavior = "with-next"     // a match begins the piece after it
)

// A Split is a step that cuts a text at the matches of a pattern or at some characters.
type Split struct {
	Behavior Behavior
	Invert   bool   // the text between matches takes the place of the matches
	Pattern  string // of package pattern; without effect if there is a Set
	Set      Set
}

// A Set is what a Split finds without a pattern. Its tables of characters are others than
// Oniguruma's.
type Set string

const (
	Punctuation Set = "punctuation" // one character
	Spaces      Set = "space"       // one character
	Words       Set = "words"       // \w+|[^\w\s]+
)

var sets = map[Set]matcher{
	Punctuation: func(s string, found func(start, end int)) { eachIn(s, class.Punctuation, found) },
	Spaces:      func(s string, found func(start, end int)) { eachIn(s, class.Space, found) },
	Words:       eachWord,
}

const inverse = "not-" // begins a step with Invert

// Step returns s as a container stores it.
func (s Split) Step() Step {
	text := string(s.Behavior) + ":" + s.Pattern
	if s.Set != "" {
		text = string(s.Behavior) + " " + string(s.Set)
	}
	if s.Invert {
		text = inverse + text
	}
	return Step(text)
}

// Split returns the Split that s is, if it is one.
func (s Step) Split() (split Split, ok bool) {
	name, inverted := strings.CutPrefix(string(s), inverse)
	at := strings.IndexAny(name, ": ")
	if at < 0 {
		return Split{}, false
	}
	split = Split{Behavior: Behavior(name[:at]), Invert: inverted}
	switch split.Behavior {
	case Isolated, Removed, Contiguous, WithPrevious, WithNext:
	default:
		return Split{}, false
	}
	if name[at] == ':' {
		split.Pattern = name[at+1:]
		return split, true
	}
	split.Set = Set(name[at+1:])
	return split, sets[split.Set] != nil
}

// Check returns an error if the pattern of s cannot be matched.
func (s Split) Check() error {
	_, err := s.matcher()
	return err
}

func (s Split) matcher() (matcher, error) {
	if s.Set != "" {
		return sets[s.Set], nil
	}
	re, err := pattern.Compile(s.Pattern)
	if err != nil {
		return nil, defect.Unsupported("tokenizer", "pattern %s (%s)", defect.Printable(s.Pattern), err)
	}
	return re.All, nil
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

// newSplit returns the function of a step such as isolated:\p{N} or not-removed words. ok is
// false if the step is none.
func newSplit(step Step) (split func(s string, piece func(string)), ok bool, err error) {
	s, ok := step.Split()
	if !ok {
		return nil, false, nil
	}
	find, err := s.matcher()
	if err != nil {
		return nil, true, err
	}
	return func(text string, piece func(string)) { s.Behavior.split(text, find, s.Invert, piece) }, true, nil
}

// A part is a match or the text between two.
type part struct {
	start, end int
	match      bool
}

// split calls piece with each piece of s that is not empty.
func (b Behavior) split(s string, find matcher, inverted bool, piece func(string)) {
	if b == Isolated || b == Removed { // without a list
		done := 0
		emit := func(start, end int, match bool) {
			if start < end && (b == Isolated || match == inverted) {
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
func (b Behavior) joined(parts []part) []part {
	if b == WithNext {
		slices.Reverse(parts)
	}
	var out []part
	before := false // whether the preceding part was a match
	for _, p := range parts {
		join := p.match && !before
		if b == Contiguous {
			join = p.match == before
		}
		if before = p.match; join && len(out) > 0 {
			last := &out[len(out)-1]
			last.start, last.end = min(last.start, p.start), max(last.end, p.end)
		} else {
			out = append(out, p)
		}
	}
	if b == WithNext {
		slices.Reverse(out)
	}
	return out
}
