// Package modulepattern matches the regular expressions with which configs choose modules by their
// names. A few bytes, such as (?:x?){999}, can stand for a program of thousands of times their size,
// a few others, such as (?i)[B-\x{1e942}], take milliseconds to parse, and thousands of patterns may
// meet thousands of names. So each of these has a limit.
package modulepattern

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
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
	work int // steps of all matches so far
}

// Compile compiles a pattern of a stranger, in the syntax of package regexp. It refuses one that is
// too long, and one that makes the programs of the file too large.
func (c *Compiler) Compile(pattern string) (*Pattern, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("a pattern of %d bytes, want at most %d", len(pattern), maxPattern)
	}
	if c.size += fixed + parsing(pattern); c.size > maxProgram {
		return nil, errLarge
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if c.size += size(re); c.size > maxProgram {
		return nil, errLarge
	}
	program, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	return &Pattern{program: program, file: c, reached: make([]uint32, len(program.Inst))}, nil
}

var errLarge = fmt.Errorf("patterns of more than %d instructions in all", maxProgram)

// ignoresCase finds the flag by which a pattern ignores case, and some patterns that only look so.
var ignoresCase = regexp.MustCompile(`\(\?[a-zA-Z]*i`)

// parsing returns the instructions whose work is that of parsing classes: a class of Unicode has
// hundreds of ranges, and a range is read character by character where case is ignored.
func parsing(pattern string) int {
	n := 256 * (strings.Count(pattern, `\p`) + strings.Count(pattern, `\P`))
	if ignoresCase.MatchString(pattern) {
		n += 4096 * strings.Count(pattern, "-")
	}
	return n
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
