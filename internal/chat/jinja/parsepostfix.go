package jinja

import (
	"fmt"

	"thimble/internal/chat/python"
)

func (p *parser) postfix(v expression) (expression, error) {
	for {
		var err error
		switch t := p.now(); {
		case t.is(special, "."):
			v, err = p.attribute(v)
		case t.is(special, "["):
			v, err = p.subscript(v)
		case t.is(special, "("):
			v, err = p.call(v)
		default:
			return v, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) attribute(of expression) (expression, error) {
	line := p.take().line
	switch t := p.take(); {
	case t.kind == name:
		return &getattr{of, t.text, line}, nil
	case t.kind == number:
		if _, isFloat := t.value.(float64); !isFloat {
			return &getitem{of, &constant{t.value}, line}, nil
		}
	}
	return nil, fmt.Errorf("line %d: want a name after the dot", line)
}

func (p *parser) subscript(of expression) (expression, error) {
	line := p.take().line
	var parts []expression
	colons := 0
	var v expression
	var err error
	for {
		switch t := p.now(); {
		case t.is(special, ":") && colons < 2:
			p.take()
			parts, v = append(parts, v), nil
			colons++
			continue
		case t.is(special, "]"):
			p.take()
			if colons == 0 {
				if v == nil {
					return nil, p.errorf("want a key in brackets")
				}
				return &getitem{of, v, line}, nil
			}
			parts = append(parts, v, nil)
			return &slice{of, parts[0], parts[1], parts[2], line}, nil
		case v != nil:
			return nil, p.errorf("unexpected %s in brackets", t)
		}
		if v, err = p.expression(true); err != nil {
			return nil, err
		}
	}
}

func (p *parser) call(of expression) (expression, error) {
	line := p.now().line
	args, err := p.arguments()
	return &call{of, args, line}, err
}

func (p *parser) arguments() (a callArguments, err error) {
	if err := p.expect(special, "("); err != nil {
		return a, err
	}
	for first := true; !p.skip(special, ")"); first = false {
		if !first {
			if err := p.expect(special, ","); err != nil {
				return a, err
			}
			if p.skip(special, ")") {
				break
			}
		}
		if err := p.argument(&a); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (p *parser) argument(a *callArguments) (err error) {
	misplaced := a.moreK != nil
	switch {
	case p.skip(special, "*"):
		misplaced = misplaced || a.more != nil
		a.more, err = p.expression(true)
	case p.skip(special, "**"):
		a.moreK, err = p.expression(true)
	case p.now().kind == name && p.look().is(special, "="):
		a.names = append(a.names, p.take().text)
		p.take()
		var v expression
		v, err = p.expression(true)
		a.kw = append(a.kw, v)
	default:
		misplaced = misplaced || a.more != nil || len(a.kw) > 0
		var v expression
		v, err = p.expression(true)
		a.pos = append(a.pos, v)
	}
	if err == nil && misplaced {
		return p.errorf("the arguments of the call are in a wrong order")
	}
	return err
}

func (p *parser) filterOrTest(v expression) (expression, error) {
	for {
		var err error
		switch t := p.now(); {
		case t.is(special, "|"):
			p.take()
			v, err = p.filter(v)
		case t.is(name, "is"):
			v, err = p.test(v)
		case t.is(special, "("):
			v, err = p.call(v)
		default:
			return v, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// filters reads filters, each after a bar. v is nil for those of a block.
func (p *parser) filters(v expression) (expression, error) {
	for p.skip(special, "|") {
		var err error
		if v, err = p.filter(v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (p *parser) dottedName() (string, error) {
	s := p.now().text
	err := p.expect(name, "")
	for err == nil && p.skip(special, ".") {
		s += "." + p.now().text
		err = p.expect(name, "")
	}
	return s, err
}

func (p *parser) filter(of expression) (expression, error) {
	n := &filter{of: of, line: p.now().line}
	var err error
	if n.name, err = p.dottedName(); err != nil {
		return nil, err
	}
	if p.now().is(special, "(") {
		if n.args, err = p.arguments(); err != nil {
			return nil, err
		}
	}
	return n, p.useOf("filter", n.name, n.line, filters[n.name] != nil, otherFilters)
}

func (p *parser) test(of expression) (expression, error) {
	n := &test{of: of, line: p.take().line}
	negated := p.skip(name, "not")
	var err error
	if n.name, err = p.dottedName(); err != nil {
		return nil, err
	}
	t := p.now()
	switch {
	case t.is(special, "("):
		n.args, err = p.arguments()
	case t.is(name, "is"):
		return nil, p.errorf("tests with is cannot be chained")
	case t.kind == text || t.kind == number || t.is(special, "[") || t.is(special, "{") || t.kind == name && t.text != "else" && t.text != "or" && t.text != "and":
		var v expression
		if v, err = p.primary(); err == nil {
			v, err = p.postfix(v)
		}
		n.args.pos = []expression{v}
	}
	if err == nil {
		err = p.useOf("test", n.name, n.line, tests[n.name] != nil, otherTests)
	}
	if negated {
		return &not{n}, err
	}
	return n, err
}

// A use is a name of a filter or test that Jinja2 does not know.
type use struct {
	soft bool // it fails only where it is reached
	err  error
}

// useOf refuses what we do not know. A name that Jinja2 does not know either fails there
// and here where it is reached, if it depends on a condition: templates for other programs
// use names that those programs add. known says whether we know it; others are the names
// that only Jinja2 knows.
func (p *parser) useOf(what, named string, line int, known bool, others string) error {
	if known {
		return nil
	}
	err := fmt.Errorf("line %d: %s %s is not supported", line, what, python.Shortened(named))
	if python.IsWord(others, named) {
		return err
	}
	p.unknown = append(p.unknown, &use{p.soft, err})
	return nil
}
