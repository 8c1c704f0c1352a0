// Package modulepattern compiles the regular expressions with which configs choose modules by
// their names. A few bytes, such as (?:x?){999}, can stand for a program of thousands of times
// their size, so the programs are measured before they are made.
package modulepattern

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

const (
	maxPattern = 1 << 10 // bytes of one pattern
	maxProgram = 1 << 18 // instructions of all patterns of a file

	// fixed is the size of an empty pattern, in instructions of 40 bytes.
	fixed = 16
)

// A Compiler compiles the patterns of one file. Its zero value is ready.
type Compiler struct {
	size int // of the programs so far
}

// Compile is regexp.Compile for a pattern of a stranger: it refuses one that is too long, and one
// that makes the programs of the file too large.
func (c *Compiler) Compile(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("a pattern of %d bytes, want at most %d", len(pattern), maxPattern)
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if c.size += fixed + size(re); c.size > maxProgram {
		return nil, fmt.Errorf("patterns of more than %d instructions in all", maxProgram)
	}
	return regexp.Compile(pattern)
}

// size returns the most instructions that the program of re has.
func size(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n += len(re.Rune) / 8 // its ranges are stored with it
	}
	for _, sub := range re.Sub {
		n += 1 + size(sub)
	}
	if re.Op == syntax.OpRepeat { // a copy for each time, and a branch
		n *= max(re.Min+1, re.Max)
	}
	return n
}
