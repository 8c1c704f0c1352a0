package jinja

import (
	"fmt"
	"slices"

	"thimble/internal/chat/python"
)

// A parser makes statements of tokens, as Jinja2's parser does (parser.py).
type parser struct {
	tokens  []token
	at      int
	depth   int
	loops   int          // around the tag, within its macro
	macros  []*macroCode // around the tag
	soft    bool         // the tag is directly in an if; see useOf
	unknown []*use

	frame      *frame // of the tag
	frames     []*frame
	conditions int // around the tag, in its frame
}

const (
	maxNesting = 200 // of tags and brackets in each other
)

func (p *parser) now() token { return p.tokens[p.at] }

func (p *parser) look() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) take() token {
	t := p.tokens[p.at]
	if p.at < len(p.tokens)-1 {
		p.at++
	}
	return t
}

func (t token) is(k kind, text string) bool { return t.kind == k && t.text == text }

// skip takes a token if it comes next.
func (p *parser) skip(k kind, text string) bool {
	if p.now().is(k, text) {
		p.take()
		return true
	}
	return false
}

func (p *parser) expect(k kind, text string) error {
	if t := p.now(); t.kind != k || text != "" && t.text != text {
		if text == "" {
			text = kindNames[k]
		}
		return p.errorf("want %s, found %s", text, t)
	}
	p.take()
	return nil
}

var kindNames = map[kind]string{end: "the end", data: "text", printStart: "{{", printEnd: "}}", tagStart: "{%", tagEnd: "%}", name: "a name"}

func (t token) String() string {
	if s := kindNames[t.kind]; s != "" && t.kind != name {
		return s
	}
	return fmt.Sprintf("%q", python.Shortened(t.text))
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.now().line, fmt.Sprintf(format, args...))
}

func (p *parser) enter() error {
	if p.depth++; p.depth > maxNesting {
		return p.errorf("nests deeper than %d", maxNesting)
	}
	return nil
}

// statements reads up to a tag with one of the names, which it does not take.
func (p *parser) statements(until ...string) ([]statement, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var body []statement
	for {
		switch t := p.now(); t.kind {
		case end:
			if len(until) > 0 {
				return nil, p.errorf("the template ends before a tag %s", until[len(until)-1])
			}
			return body, nil
		case data:
			p.take()
			body = append(body, &output{t.text})
		case printStart:
			p.take()
			v, err := p.tuple(tupleRules{})
			if err != nil {
				return nil, err
			}
			if err := p.expect(printEnd, ""); err != nil {
				return nil, err
			}
			body = append(body, &printing{v})
		default: // tagStart
			p.take()
			if t := p.now(); t.kind == name && slices.Contains(until, t.text) {
				return body, nil
			}
			s, err := p.tag()
			if err != nil {
				return nil, err
			}
			if err := p.expect(tagEnd, ""); err != nil {
				return nil, err
			}
			body = append(body, s...)
		}
	}
}

// body reads the end of a tag and what follows up to a tag with one of the names. It
// takes that name and returns it.
func (p *parser) body(until ...string) ([]statement, string, error) {
	p.skip(special, ":")
	if err := p.expect(tagEnd, ""); err != nil {
		return nil, "", err
	}
	body, err := p.statements(until...)
	if err != nil {
		return nil, "", err
	}
	return body, p.take().text, nil
}

// inner reads a body that is a scope of its own. params are names that it begins with.
func (p *parser) inner(params []string, until ...string) (b innerBody, last string, err error) {
	defer p.begin(params...)()
	b.frame = p.frame
	soft := p.soft
	p.soft = false
	b.statements, last, err = p.body(until...)
	p.soft = soft
	return b, last, err
}

// function reads the body of a macro, which break and continue cannot leave.
func (p *parser) function(m *macroCode, until string) (err error) {
	loops := p.loops
	p.loops = 0
	p.macros = append(p.macros, m)
	m.body, _, err = p.inner(m.params, until)
	p.macros = p.macros[:len(p.macros)-1]
	p.loops = loops
	return err
}

// target reads what a value is assigned to.
func (p *parser) target(rules tupleRules) (target, error) {
	if err := p.enter(); err != nil {
		return target{}, err
	}
	defer func() { p.depth-- }()
	line := p.now().line
	var items []target
	isTuple := false
	for !p.tupleEnds(rules) {
		item, err := p.oneTarget(rules)
		if err != nil {
			return target{}, err
		}
		items = append(items, item)
		if !p.skip(special, ",") {
			break
		}
		isTuple = true
	}
	switch {
	case isTuple:
		return target{items: items, isTuple: true, line: line}, nil
	case len(items) == 1:
		return items[0], nil
	}
	return target{}, p.errorf("want a name, found %s", p.now())
}

func (p *parser) oneTarget(rules tupleRules) (target, error) {
	t := p.now()
	if p.skip(special, "(") {
		rules.until = ""
		inner, err := p.target(rules)
		if err == nil {
			err = p.expect(special, ")")
		}
		return inner, err
	}
	if err := p.expect(name, ""); err != nil {
		return target{}, err
	}
	if rules.attributes && p.skip(special, ".") {
		attribute := p.now().text
		return target{name: t.text, attribute: attribute, line: t.line}, p.expect(name, "")
	}
	if isConstant(t.text) {
		return target{}, p.errorf("cannot assign to %s", t.text)
	}
	return target{name: t.text, line: t.line}, nil
}

func isConstant(s string) bool {
	switch s {
	case "true", "false", "none", "True", "False", "None":
		return true
	}
	return false
}
