// Package pattern matches the regular expressions with which pre-tokenizers cut text, in the
// syntax and with the priorities of Oniguruma (doc/RE, Ruby's syntax), as in Hugging Face
// tokenizers.
//
// It supports classes with Unicode properties and set operations, alternation, greedy, lazy
// and possessive repetition, atomic groups, look-ahead, look-behind of a fixed length, and
// case-insensitive groups. It refuses what needs the text of a group, such as \1.
//
// A search backtracks, and counts its steps. When they exceed a multiple of the length of the
// text, it records which states fail, so that no text and no pattern takes more than
// O(pattern * text) time.
package pattern

import (
	"fmt"
	"sync"
)

const (
	maxPattern = 8 << 10 // bytes
	maxProgram = 4 << 10 // instructions
	maxSets    = 256     // different classes of one pattern
	maxMemos   = 128     // instructions whose failed states are recorded, 4 bytes each by byte of text
	maxDepth   = 64      // nested groups
	maxRepeat  = 1 << 10 // upper bound of a repetition, except infinity
)

// A Regexp is a compiled pattern. It is safe for concurrent use.
type Regexp struct {
	pattern  string
	program  []instruction
	sets     []*set
	memos    int // instructions with a row of failed states
	machines sync.Pool
}

// Compile compiles a pattern. Its errors name what is wrong or unsupported and its offset.
func Compile(pattern string) (*Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("a pattern of %d bytes, want at most %d", len(pattern), maxPattern)
	}
	p := &parser{text: pattern}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	c := &compiler{sets: map[string]int32{}}
	c.node(root)
	c.emit(instruction{op: opMatch})
	if c.err != nil {
		return nil, c.err
	}
	re := &Regexp{pattern: pattern, program: c.program, sets: c.list, memos: int(c.memos)}
	re.machines.New = func() any { return &machine{re: re, runs: make([]span, len(re.program))} }
	return re, nil
}

// String returns the pattern.
func (re *Regexp) String() string { return re.pattern }

// All calls found with the offsets of each match in s, from left to right. Matches do not
// overlap; an empty one does not follow another match directly, as in Hugging Face.
func (re *Regexp) All(s string, found func(start, end int)) {
	m := re.machines.Get().(*machine)
	defer re.machines.Put(m)
	m.load(s)
	last := -1 // end of the preceding match
	for at := 0; at <= len(s); {
		start, end := m.find(at)
		if start < 0 {
			return
		}
		if start == end && end == last {
			at += width(s, at)
			continue
		}
		found(start, end)
		at, last = end, end
	}
}
