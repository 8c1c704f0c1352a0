package pattern

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// escapes maps letters after a backslash to one character.
var escapes = map[byte]rune{'n': '\n', 't': '\t', 'r': '\r', 'f': '\f', 'v': '\v', 'a': '\a', 'e': 0x1b}

// shorthands maps letters after a backslash to a property. Their capitals stand for all
// other characters.
var shorthands = map[byte]string{'s': "space", 'd': "digit", 'w': "word"}

// escape parses a backslash and what follows it.
func (p *parser) escape() ([]span, error) {
	p.at++
	if !p.more() {
		return nil, p.fail("a \\ at the end")
	}
	c := p.text[p.at]
	if r, ok := escapes[c]; ok {
		p.at++
		return []span{{int(r), int(r)}}, nil
	}
	if name, ok := shorthands[c|0x20]; ok {
		p.at++
		spans, _ := property(name)
		if c&0x20 == 0 {
			spans = except(spans)
		}
		return spans, nil
	}
	hex := []span{{'0', '9'}, {'A', 'F'}, {'a', 'f'}}
	switch {
	case c == 'h':
		p.at++
		return hex, nil
	case c == 'H':
		p.at++
		return except(hex), nil
	case c == 'p' || c == 'P':
		return p.named()
	case c == 'x' || c == 'u':
		return p.coded()
	case c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
		return nil, p.fail("\\%c", c)
	}
	r := int(p.char())
	return []span{{r, r}}, nil
}

// named parses p{Name}, P{Name} or p{^Name}.
func (p *parser) named() ([]span, error) {
	negated := p.text[p.at] == 'P'
	p.at++
	end := strings.IndexByte(p.text[p.at:], '}')
	if end < 0 || !p.skip("{") {
		return nil, p.fail("a property without a name")
	}
	name := p.text[p.at : p.at+end-1]
	if rest, ok := strings.CutPrefix(name, "^"); ok {
		name, negated = rest, !negated
	}
	spans, ok := property(name)
	if !ok {
		return nil, p.fail("property %q", name)
	}
	p.at += end
	if negated {
		return except(spans), nil
	}
	return spans, nil
}

// coded parses xHH, x{HHHHHH} or uHHHH.
func (p *parser) coded() ([]span, error) {
	digits, skip := "", 0
	rest := p.text[p.at+1:]
	end := strings.IndexByte(rest, '}')
	switch {
	case p.text[p.at] == 'u' && len(rest) >= 4:
		digits, skip = rest[:4], 4
	case strings.HasPrefix(rest, "{") && end > 0:
		digits, skip = rest[1:end], end+1
	case p.text[p.at] == 'x' && len(rest) >= 2:
		digits, skip = rest[:2], 2
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || n > utf8.MaxRune || p.text[p.at] == 'x' && digits == rest[:min(2, len(rest))] && n >= utf8.RuneSelf {
		return nil, p.fail("%q is not a character", digits)
	}
	p.at += 1 + skip
	return []span{{int(n), int(n)}}, nil
}

// class parses [...], which may contain classes and intersections.
func (p *parser) class() ([]span, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("more than %d nested classes", maxDepth)
	}
	defer func() { p.depth-- }()
	p.at++
	negated := p.skip("^")
	var spans []span
	var whole []span // the intersection so far
	crossed, first := false, true
	for ; ; first = false {
		switch {
		case !p.more():
			return nil, p.fail("a [ without its ]")
		case p.text[p.at] == ']' && (!first || !strings.Contains(p.text[p.at+1:], "]")):
			p.at++
			if spans = joined(spans); crossed {
				spans = both(whole, spans)
			}
			if p.fold {
				spans = folded(spans)
			}
			if negated {
				spans = except(spans)
			}
			return spans, nil
		case p.skip("&&"):
			if spans = joined(spans); crossed {
				spans = both(whole, spans)
			}
			whole, spans, crossed = spans, nil, true
			continue
		}
		part, err := p.members()
		if err != nil {
			return nil, err
		}
		spans = append(spans, part...)
	}
}

// members parses one member of a class or a range.
func (p *parser) members() ([]span, error) {
	part, single, err := p.member()
	if err != nil || !single || !p.more() || p.text[p.at] != '-' || p.at+1 == len(p.text) || p.text[p.at+1] == ']' {
		return part, err
	}
	p.at++
	end, singleEnd, err := p.member()
	switch {
	case err != nil:
		return nil, err
	case !singleEnd: // the hyphen is a member
		return append(append(part, span{'-', '-'}), end...), nil
	case end[0].lo < part[0].lo:
		return nil, p.fail("an empty range")
	}
	return []span{{part[0].lo, end[0].lo}}, nil
}

// member parses one member of a class. single reports whether it is a character, which can
// begin a range.
func (p *parser) member() (spans []span, single bool, err error) {
	if !p.more() {
		return nil, false, p.fail("a [ without its ]")
	}
	switch {
	case p.skip("[:"):
		end := strings.Index(p.text[p.at:], ":]")
		if end < 0 {
			return nil, false, p.fail("a [: without its :]")
		}
		name, negated := strings.CutPrefix(p.text[p.at:p.at+end], "^")
		spans, ok := property(name)
		if !ok {
			return nil, false, p.fail("class %q", name)
		}
		p.at += end + 2
		if negated {
			spans = except(spans)
		}
		return spans, false, nil
	case p.text[p.at] == '[':
		spans, err = p.class()
		return slices.Clone(spans), false, err
	case strings.HasPrefix(p.text[p.at:], `\b`):
		p.at += 2
		return []span{{'\b', '\b'}}, true, nil
	case p.text[p.at] == '\\':
		c := byte(0)
		if p.at+1 < len(p.text) {
			c = p.text[p.at+1]
		}
		spans, err = p.escape()
		return spans, len(spans) == 1 && spans[0].lo == spans[0].hi && c != 'p' && c != 'P', err
	}
	r := int(p.char())
	return []span{{r, r}}, true, nil
}
