package jinja

import (
	"fmt"
	"strings"
)

// tupleRules say where a tuple without parentheses ends, and what it may hold.
type tupleRules struct {
	until      string // a name
	noChoice   bool   // x if y else z is not part of it
	attributes bool   // of namespaces, as targets
	empty      bool   // () is one
}

func (p *parser) tupleEnds(rules tupleRules) bool {
	t := p.now()
	return t.kind == printEnd || t.kind == tagEnd || t.is(special, ")") || rules.until != "" && t.is(name, rules.until)
}

// Tuple reads an expression, or a tuple of several with commas.
func (p *parser) tuple(rules tupleRules) (expression, error) {
	var items []expression
	isTuple := false
	for !p.tupleEnds(rules) {
		v, err := p.expression(!rules.noChoice)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
		if !p.skip(special, ",") {
			break
		}
		isTuple = true
	}
	switch {
	case isTuple || len(items) == 0 && rules.empty:
		return &tupleOf{items}, nil
	case len(items) == 0:
		return nil, p.errorf("want an expression, found %s", p.now())
	}
	return items[0], nil
}

func (p *parser) expression(withChoice bool) (expression, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	if !withChoice {
		return p.or()
	}
	from := len(p.unknown)
	v, err := p.or()
	for err == nil && p.skip(name, "if") {
		n := &choice{yes: v}
		if n.condition, err = p.or(); err != nil {
			return nil, err
		}
		if p.skip(name, "else") {
			if n.no, err = p.expression(true); err != nil {
				return nil, err
			}
		}
		for _, u := range p.unknown[from:] {
			u.soft = true
		}
		from = len(p.unknown)
		v = n
	}
	return v, err
}

func (p *parser) or() (expression, error) {
	a, err := p.and()
	for err == nil && p.skip(name, "or") {
		var b expression
		b, err = p.and()
		a = &or{a, b}
	}
	return a, err
}

func (p *parser) and() (expression, error) {
	a, err := p.not()
	for err == nil && p.skip(name, "and") {
		var b expression
		b, err = p.not()
		a = &and{a, b}
	}
	return a, err
}

func (p *parser) not() (expression, error) {
	if !p.skip(name, "not") {
		return p.compare()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	v, err := p.not()
	return &not{v}, err
}

// compareOp takes a comparison operator, if one is next.
func (p *parser) compareOp() string {
	t := p.now()
	switch {
	case t.kind == special:
		switch t.text {
		case "==", "!=", "<", "<=", ">", ">=":
			return p.take().text
		}
	case t.is(name, "in"):
		return p.take().text
	case t.is(name, "not") && p.look().is(name, "in"):
		p.take()
		p.take()
		return "not in"
	}
	return ""
}

func (p *parser) compare() (expression, error) {
	n := &comparison{line: p.now().line}
	var err error
	n.first, err = p.sum()
	for err == nil {
		op := p.compareOp()
		if op == "" {
			break
		}
		var v expression
		v, err = p.sum()
		n.ops, n.rest = append(n.ops, op), append(n.rest, v)
	}
	if err != nil || len(n.ops) == 0 {
		return n.first, err
	}
	return n, nil
}

// operators reads operands with left-associative operators between them.
func (p *parser) operators(operand func() (expression, error), ops ...string) (expression, error) {
	a, err := operand()
	for err == nil {
		t := p.now()
		found := false
		for _, op := range ops {
			found = found || t.is(special, op)
		}
		if !found {
			break
		}
		p.take()
		var b expression
		b, err = operand()
		a = &binary{t.text, a, b, t.line}
	}
	return a, err
}

func (p *parser) sum() (expression, error) { return p.operators(p.concat, "+", "-") }

func (p *parser) concat() (expression, error) {
	v, err := p.product()
	if err != nil || !p.now().is(special, "~") {
		return v, err
	}
	n := &concat{[]expression{v}}
	for p.skip(special, "~") {
		if v, err = p.product(); err != nil {
			return nil, err
		}
		n.items = append(n.items, v)
	}
	return n, nil
}

func (p *parser) product() (expression, error) { return p.operators(p.power, "*", "/", "//", "%") }

func (p *parser) power() (expression, error) {
	return p.operators(func() (expression, error) { return p.unary(true) }, "**")
}

func (p *parser) unary(withFilter bool) (expression, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	t := p.now()
	var v expression
	var err error
	if t.is(special, "-") || t.is(special, "+") {
		p.take()
		v, err = p.unary(false)
		v = &unary{t.text, v, t.line}
	} else {
		v, err = p.primary()
	}
	if err == nil {
		v, err = p.postfix(v)
	}
	if err == nil && withFilter {
		v, err = p.filterOrTest(v)
	}
	return v, err
}

func (p *parser) primary() (expression, error) {
	t := p.take()
	switch t.kind {
	case name:
		switch t.text {
		case "true", "True", "false", "False":
			return &constant{t.text[0] == 't' || t.text[0] == 'T'}, nil
		case "none", "None":
			return &constant{nil}, nil
		}
		return p.variable(t)
	case text:
		if p.now().kind != text {
			return &constant{t.text}, nil
		}
		var b strings.Builder
		b.WriteString(t.text)
		for p.now().kind == text {
			b.WriteString(p.take().text)
		}
		return &constant{b.String()}, nil
	case number:
		return &constant{t.value}, nil
	case special:
		switch t.text {
		case "(":
			v, err := p.tuple(tupleRules{empty: true})
			if err == nil {
				err = p.expect(special, ")")
			}
			return v, err
		case "[":
			items, err := p.list("]")
			return &listOf{items}, err
		case "{":
			return p.dict()
		}
	}
	p.at = max(0, p.at-1)
	return nil, p.errorf("unexpected %s", t)
}

// variable notes which special names a macro uses, as that is part of how it can be called.
func (p *parser) variable(t token) (expression, error) {
	for _, m := range p.macros {
		switch t.text {
		case "caller":
			m.usesCaller = true
		case "kwargs":
			m.usesKwargs = true
		case "varargs":
			m.usesVarargs = true
		}
	}
	switch t.text {
	case "self", "lipsum", "cycler", "joiner":
		return nil, fmt.Errorf("line %d: %s is not supported", t.line, t.text)
	}
	p.frame.use(t.text, false)
	return &variable{t.text, t.line}, nil
}

// list reads expressions with commas up to a bracket.
func (p *parser) list(close string) (items []expression, err error) {
	for !p.skip(special, close) {
		if len(items) > 0 {
			if err := p.expect(special, ","); err != nil {
				return nil, err
			}
			if p.skip(special, close) {
				break
			}
		}
		v, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		items = append(items, v)
	}
	return items, nil
}

func (p *parser) dict() (expression, error) {
	n := &dictOf{}
	for !p.skip(special, "}") {
		if len(n.keys) > 0 {
			if err := p.expect(special, ","); err != nil {
				return nil, err
			}
			if p.skip(special, "}") {
				break
			}
		}
		key, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		if err := p.expect(special, ":"); err != nil {
			return nil, err
		}
		v, err := p.expression(true)
		if err != nil {
			return nil, err
		}
		n.keys, n.values = append(n.keys, key), append(n.values, v)
	}
	return n, nil
}
