package pattern

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A node is a part of a parsed pattern.
type node struct {
	kind     kind
	parts    []*node
	spans    []span // kindSet, joined
	min, max int    // kindRepeat; max is -1 for infinity
	mode     mode   // kindRepeat
	negated  bool   // kindAhead, kindBehind
	assert   assertion
}

type kind uint8

const (
	kindSequence kind = iota // of parts
	kindChoice               // the first of parts that leads to a match
	kindSet
	kindRepeat
	kindAtomic
	kindAhead
	kindBehind
	kindAssert
)

type mode uint8

const (
	greedy mode = iota
	lazy
	possessive
)

type assertion uint8

const (
	textStart assertion = iota
	textEnd
	lineStart
	lineEnd
	beforeLastLine // the end, or the line feed at the end
	wordEdge
	notWordEdge
)

// A parser parses one pattern.
type parser struct {
	text  string
	at    int
	fold  bool // (?i)
	dots  bool // (?m) of Ruby: . matches a line feed
	depth int
}

func (p *parser) fail(format string, args ...any) error {
	return fmt.Errorf("offset %d: %s", p.at, fmt.Sprintf(format, args...))
}

func (p *parser) more() bool { return p.at < len(p.text) }

// skip advances over prefix if it comes next.
func (p *parser) skip(prefix string) bool {
	if strings.HasPrefix(p.text[p.at:], prefix) {
		p.at += len(prefix)
		return true
	}
	return false
}

// char returns the next character, which exists, and advances.
func (p *parser) char() rune {
	r, n := utf8.DecodeRuneInString(p.text[p.at:])
	p.at += n
	return r
}

func (p *parser) parse() (*node, error) {
	if !utf8.ValidString(p.text) {
		return nil, p.fail("not UTF-8")
	}
	root, err := p.choice()
	if err == nil && p.more() {
		err = p.fail("a ) without its (")
	}
	return root, err
}

// choice parses alternatives up to a ) or the end. Options that it sets end with it.
func (p *parser) choice() (*node, error) {
	if p.depth++; p.depth > maxDepth+1 { // the pattern itself is one
		return nil, p.fail("more than %d nested groups", maxDepth)
	}
	fold, dots := p.fold, p.dots
	defer func() { p.depth, p.fold, p.dots = p.depth-1, fold, dots }()
	all := &node{kind: kindChoice}
	for {
		part, err := p.sequence()
		if err != nil {
			return nil, err
		}
		if all.parts = append(all.parts, part); !p.skip("|") {
			break
		}
	}
	if len(all.parts) == 1 {
		return all.parts[0], nil
	}
	return all, nil
}

func (p *parser) sequence() (*node, error) {
	all := &node{kind: kindSequence}
	for p.more() && p.text[p.at] != '|' && p.text[p.at] != ')' {
		part, err := p.item()
		if err != nil {
			return nil, err
		}
		if part == nil { // options
			continue
		}
		for {
			again, err := p.repeat(part)
			if err != nil {
				return nil, err
			}
			if again == part {
				break
			}
			part = again
		}
		all.parts = append(all.parts, part)
	}
	return all, nil
}

// repeat parses a quantifier of part. It returns part if there is none.
func (p *parser) repeat(part *node) (*node, error) {
	r := &node{kind: kindRepeat, parts: []*node{part}, max: -1}
	counted := false
	switch {
	case p.skip("*"):
	case p.skip("+"):
		r.min = 1
	case p.skip("?"):
		r.max = 1
	default:
		if counted = p.bounds(r); !counted {
			return part, nil
		}
	}
	if r.max > maxRepeat || r.min > maxRepeat || r.max >= 0 && r.min > r.max {
		return nil, p.fail("a repetition from %d to %d, want at most %d", r.min, r.max, maxRepeat)
	}
	if part.kind >= kindAhead {
		return nil, p.fail("a repeated assertion")
	}
	switch {
	case counted && r.min == r.max && strings.HasPrefix(p.text[p.at:], "?"):
		return nil, p.fail("{n}?")
	case p.skip("?"):
		r.mode = lazy
	case !counted && p.skip("+"): // after {n,m}, Ruby's + repeats that
		r.mode = possessive
	}
	return r, nil
}

// bounds parses {n}, {n,}, {,m} or {n,m} into r. Anything else is text.
func (p *parser) bounds(r *node) bool {
	rest := p.text[p.at:]
	end := strings.IndexByte(rest, '}')
	if end < 2 || rest[0] != '{' {
		return false
	}
	low, high, two := strings.Cut(rest[1:end], ",")
	number := func(s string, empty int) (int, bool) {
		if s == "" {
			return empty, two
		}
		n, err := strconv.ParseUint(s, 10, 24)
		return int(n), err == nil
	}
	var ok, ok2 bool
	if r.min, ok = number(low, 0); !ok {
		return false
	}
	if r.max, ok2 = r.min, true; two {
		r.max, ok2 = number(high, -1)
	}
	if !ok2 || two && low == "" && high == "" {
		return false
	}
	p.at += end + 1
	return true
}

// item parses one character, class, group or assertion, or options, for which it returns nil.
func (p *parser) item() (*node, error) {
	switch c := p.text[p.at]; c {
	case '(':
		return p.group()
	case '[':
		spans, err := p.class()
		return p.setOf(spans), err
	case '.':
		p.at++
		if p.dots {
			return &node{kind: kindSet, spans: except(nil)}, nil
		}
		return &node{kind: kindSet, spans: except([]span{{'\n', '\n'}})}, nil
	case '^', '$':
		p.at++
		return &node{kind: kindAssert, assert: map[byte]assertion{'^': lineStart, '$': lineEnd}[c]}, nil
	case '*', '+', '?':
		return nil, p.fail("%c repeats nothing", c)
	case '\\':
		if p.at+1 < len(p.text) {
			if a, ok := asserts[p.text[p.at+1]]; ok {
				p.at += 2
				return &node{kind: kindAssert, assert: a}, nil
			}
		}
		spans, err := p.escape()
		return p.setOf(spans), err
	}
	r := int(p.char())
	return p.setOf([]span{{r, r}}), nil
}

var asserts = map[byte]assertion{'A': textStart, 'z': textEnd, 'Z': beforeLastLine, 'b': wordEdge, 'B': notWordEdge}

func (p *parser) setOf(spans []span) *node {
	if p.fold {
		spans = folded(spans)
	}
	return &node{kind: kindSet, spans: spans}
}

// groups lists the forms of groups, except those that only group.
var groups = []struct {
	open    string
	kind    kind
	negated bool
}{{"(?=", kindAhead, false}, {"(?!", kindAhead, true}, {"(?<=", kindBehind, false}, {"(?<!", kindBehind, true}, {"(?>", kindAtomic, false}}

func (p *parser) group() (*node, error) {
	for _, g := range groups {
		if p.skip(g.open) {
			part, err := p.closed()
			return &node{kind: g.kind, negated: g.negated, parts: []*node{part}}, err
		}
	}
	if p.skip("(?:") {
		return p.closed()
	}
	if p.skip("(?#") {
		for p.more() && !p.skip(")") {
			p.char()
		}
		return nil, nil
	}
	if p.skip("(?<") {
		end := strings.IndexByte(p.text[p.at:], '>')
		if end < 1 {
			return nil, p.fail("a group without a name")
		}
		p.at += end + 1
		return p.closed()
	}
	if !p.skip("(?") {
		p.at++
		return p.closed()
	}
	return p.options()
}

// closed parses the rest of a group.
func (p *parser) closed() (*node, error) {
	part, err := p.choice()
	if err == nil && !p.skip(")") {
		err = p.fail("a ( without its )")
	}
	return part, err
}

// options parses the rest of (?i:...) or (?i).
func (p *parser) options() (*node, error) {
	fold, dots, on := p.fold, p.dots, true
	for p.more() {
		switch c := p.char(); c {
		case 'i':
			fold = on
		case 'm':
			dots = on
		case '-':
			on = false
		case ')': // until the end of the enclosing group, with its alternatives
			p.fold, p.dots = fold, dots
			return nil, nil
		case ':':
			outer, outerDots := p.fold, p.dots
			p.fold, p.dots = fold, dots
			part, err := p.closed()
			p.fold, p.dots = outer, outerDots
			return part, err
		default:
			return nil, p.fail("option or group %q", c)
		}
	}
	return nil, p.fail("a ( without its )")
}
