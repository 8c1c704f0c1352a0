package jinja

import (
	"slices"

	"thimble/internal/chat/python"
)

// tags read the rest of a tag after its name.
var tags map[string]func(p *parser) (statement, error)

func init() { // tags refers to itself by way of statements
	tags = map[string]func(p *parser) (statement, error){
		"for": (*parser).forTag, "if": (*parser).ifTag, "set": (*parser).setTag, "with": (*parser).withTag,
		"macro": (*parser).macroTag, "call": (*parser).callTag, "filter": (*parser).filterTag,
		"generation": (*parser).generationTag,
		"break":      func(p *parser) (statement, error) { return p.jumpTag(breakLoop) },
		"continue":   func(p *parser) (statement, error) { return p.jumpTag(continueLoop) },
	}
}

func (p *parser) tag() ([]statement, error) {
	t := p.now()
	if t.kind != name {
		return nil, p.errorf("want the name of a tag, found %s", t)
	}
	if t.text == "print" {
		p.take()
		return p.printTag()
	}
	read := tags[t.text]
	if read == nil {
		return nil, p.errorf("tag %s is not supported", python.Shortened(t.text))
	}
	p.take()
	s, err := read(p)
	return []statement{s}, err
}

func (p *parser) printTag() (list []statement, err error) {
	for p.now().kind != tagEnd {
		if len(list) > 0 {
			if err := p.expect(special, ","); err != nil {
				return nil, err
			}
		}
		v, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		list = append(list, &printing{v})
	}
	return list, nil
}

func (p *parser) jumpTag(s signal) (statement, error) {
	if p.loops == 0 {
		return nil, p.errorf("break and continue are allowed in a loop only")
	}
	return jump(s), nil
}

func (p *parser) ifTag() (statement, error) {
	soft := p.soft
	p.soft = true
	defer func() { p.soft = soft }()
	n := &condition{}
	conditions := p.conditions
	defer func() { p.conditions = conditions }()
	for {
		test, err := p.tuple(tupleRules{noChoice: true})
		if err != nil {
			return nil, err
		}
		p.conditions = conditions + 1
		body, next, err := p.body("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		n.tests, n.bodies = append(n.tests, test), append(n.bodies, body)
		switch next {
		case "else":
			n.no, _, err = p.body("endif")
			return n, err
		case "endif":
			return n, nil
		}
	}
}

func (p *parser) forTag() (statement, error) {
	n := &forLoop{line: p.now().line}
	var err error
	if n.target, err = p.target(tupleRules{until: "in"}); err != nil {
		return nil, err
	}
	if err := p.expect(name, "in"); err != nil {
		return nil, err
	}
	if n.of, err = p.tuple(tupleRules{noChoice: true, until: "recursive"}); err != nil {
		return nil, err
	}
	if p.skip(name, "if") {
		end := p.begin(n.target.names()...)
		n.test, err = p.expression(true)
		end()
		if err != nil {
			return nil, err
		}
	}
	n.recursive = p.skip(name, "recursive")
	p.loops++
	body, next, err := p.inner(append(n.target.names(), "loop"), "else", "endfor")
	p.loops--
	if err != nil {
		return nil, err
	}
	n.body = body
	if next == "else" {
		n.no, _, err = p.inner(nil, "endfor")
	}
	return n, err
}

func (p *parser) setTag() (statement, error) {
	t, err := p.target(tupleRules{attributes: true})
	if err != nil {
		return nil, err
	}
	if p.skip(special, "=") {
		v, err := p.tuple(tupleRules{})
		p.stores(t)
		return &assign{t, v}, err
	}
	p.stores(t)
	n := &assignBlock{target: t}
	if p.now().is(special, "|") {
		f, err := p.filters(nil)
		if err != nil {
			return nil, err
		}
		n.filter, _ = f.(*filter)
	}
	n.body, _, err = p.inner(nil, "endset")
	return n, err
}

func (p *parser) withTag() (statement, error) {
	n := &with{}
	for p.now().kind != tagEnd {
		if len(n.targets) > 0 {
			if err := p.expect(special, ","); err != nil {
				return nil, err
			}
		}
		t, err := p.target(tupleRules{})
		if err != nil {
			return nil, err
		}
		if err := p.expect(special, "="); err != nil {
			return nil, err
		}
		v, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		n.targets, n.values = append(n.targets, t), append(n.values, v)
	}
	var names []string
	for _, t := range n.targets {
		names = append(names, t.names()...)
	}
	var err error
	n.body, _, err = p.inner(names, "endwith")
	return n, err
}

func (p *parser) filterTag() (statement, error) {
	f, err := p.filter(nil)
	if err != nil {
		return nil, err
	}
	all, err := p.filters(f)
	if err != nil {
		return nil, err
	}
	n := &filterBlock{filter: all.(*filter)}
	n.body, _, err = p.inner(nil, "endfilter")
	return n, err
}

func (p *parser) macroTag() (statement, error) {
	t := p.now()
	m := &macroCode{name: t.text}
	if err := p.expect(name, ""); err != nil {
		return nil, err
	}
	if isConstant(t.text) {
		return nil, p.errorf("%s cannot be the name of a macro", t.text)
	}
	p.stores(target{name: t.text})
	if err := p.signature(m); err != nil {
		return nil, err
	}
	return &define{m}, p.function(m, "endmacro")
}

func (p *parser) callTag() (statement, error) {
	m := &macroCode{name: "caller"}
	if p.now().is(special, "(") {
		if err := p.signature(m); err != nil {
			return nil, err
		}
	}
	v, err := p.expression(true)
	if err != nil {
		return nil, err
	}
	c, ok := v.(*call)
	if !ok {
		return nil, p.errorf("want a call of a macro")
	}
	return &block{c, m}, p.function(m, "endcall")
}

// generationTag reads what transformers adds to Jinja2, to mark what the assistant says.
func (p *parser) generationTag() (statement, error) {
	m := &macroCode{name: "caller"} // as transformers makes of it
	err := p.function(m, "endgeneration")
	return &generation{m.body}, err
}

// signature reads the parameters of a macro.
func (p *parser) signature(m *macroCode) error {
	if err := p.expect(special, "("); err != nil {
		return err
	}
	// A default belongs to the macro: it may name caller.
	p.macros = append(p.macros, m)
	defer func() { p.macros = p.macros[:len(p.macros)-1] }()
	defer p.begin()()
	for !p.skip(special, ")") {
		if len(m.params) > 0 {
			if err := p.expect(special, ","); err != nil {
				return err
			}
		}
		t := p.now()
		if err := p.expect(name, ""); err != nil {
			return err
		}
		if isConstant(t.text) || slices.Contains(m.params, t.text) {
			return p.errorf("%s cannot be a parameter", python.Shortened(t.text))
		}
		if m.params = append(m.params, t.text); len(m.params) > python.MaxParams {
			return p.errorf("more than %d parameters are not supported", python.MaxParams)
		}
		if p.skip(special, "=") {
			v, err := p.expression(true)
			if err != nil {
				return err
			}
			m.defaults = append(m.defaults, v)
		} else if len(m.defaults) > 0 {
			return p.errorf("a parameter without a default follows one with a default")
		}
	}
	return nil
}
