package modulepattern

import (
	"fmt"
	"regexp/syntax"
	"unicode/utf8"
)

// maxWork is the most steps of all matches of a file's patterns. A step takes nanoseconds. Package
// regexp does not count them, and there can be many: a quarter of a second for one name.
const maxWork = 1 << 28

var errWork = fmt.Errorf("matching of patterns in more than %d steps", maxWork)

// A Pattern is a compiled pattern. Patterns of one file must not match at the same time.
type Pattern struct {
	program *syntax.Prog
	file    *Compiler

	// The threads of a match: instructions that the part of the name so far leads to.
	pending, reading []uint32
	reached          []uint32 // by instruction: the last round in which a thread was there
	round            uint32
}

// Match reports whether p matches name or a beginning of it, as re.match of Python does. It returns
// an error if the patterns of the file have taken too many steps. All threads advance together
// (Thompson 1968), so a name takes at most its length times the program.
func (p *Pattern) Match(name string) (bool, error) {
	p.pending = append(p.pending[:0], uint32(p.program.Start))
	previous := rune(-1)
	for len(p.pending) > 0 {
		next, size := rune(-1), 0 // at the end
		if name != "" {
			next, size = utf8.DecodeRuneInString(name)
		}
		if p.follow(syntax.EmptyOpContext(previous, next)) {
			return true, nil
		}
		if p.file.work > maxWork {
			return false, errWork
		}
		if size == 0 {
			return false, nil
		}
		for _, pc := range p.reading {
			if i := &p.program.Inst[pc]; i.MatchRune(next) {
				p.pending = append(p.pending, i.Out)
			}
		}
		previous, name = next, name[size:]
	}
	return false, nil
}

// follow moves the pending threads to instructions that read a character, at a place in the name.
// It reports whether one of them has matched.
func (p *Pattern) follow(place syntax.EmptyOp) (matched bool) {
	p.round++
	p.reading = p.reading[:0]
	for len(p.pending) > 0 {
		last := len(p.pending) - 1
		pc := p.pending[last]
		p.pending = p.pending[:last]
		p.file.work++
		if p.reached[pc] == p.round {
			continue
		}
		p.reached[pc] = p.round
		switch i := &p.program.Inst[pc]; i.Op {
		case syntax.InstMatch:
			return true
		case syntax.InstAlt, syntax.InstAltMatch:
			p.pending = append(p.pending, i.Arg, i.Out)
		case syntax.InstCapture, syntax.InstNop:
			p.pending = append(p.pending, i.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(i.Arg)&^place == 0 {
				p.pending = append(p.pending, i.Out)
			}
		case syntax.InstFail:
		default:
			p.reading = append(p.reading, pc)
		}
	}
	return false
}
