package jinja

import (
	"errors"
	"fmt"

	"thimble/internal/chat/python"
)

func (r *run) body(body []statement, s *scope) (signal, error) {
	if err := r.Enter(); err != nil {
		return proceed, err
	}
	defer r.Leave()
	for _, st := range body {
		if err := r.Step(1); err != nil {
			return proceed, err
		}
		if signal, err := st.exec(r, s); err != nil || signal != proceed {
			return signal, err
		}
	}
	return proceed, nil
}

// inner runs a body in its own scope, which has what the body begins with.
func (r *run) inner(b innerBody, s *scope) (signal, error) {
	if b.frame != nil {
		for _, name := range b.frame.hidden {
			if s.find(name) < 0 {
				s.set(name, python.Missing)
			}
		}
	}
	return r.body(b.statements, s)
}

func (n *output) exec(r *run, _ *scope) (signal, error) { return proceed, r.write(n.text) }

// print writes a value as text.
func (r *run) print(v python.Value) error {
	written, err := r.Str(v)
	if err != nil {
		return err
	}
	return r.write(written)
}

func (n *printing) exec(r *run, s *scope) (signal, error) {
	v, err := r.eval(n.of, s)
	if err != nil {
		return proceed, err
	}
	return proceed, r.print(v)
}

func (n *condition) exec(r *run, s *scope) (signal, error) {
	for i, test := range n.tests {
		v, err := r.eval(test, s)
		if err != nil {
			return proceed, err
		}
		if python.Truth(v) {
			return r.body(n.bodies[i], s)
		}
	}
	return r.body(n.no, s)
}

func (n *assign) exec(r *run, s *scope) (signal, error) {
	v, err := r.eval(n.v, s)
	if err != nil {
		return proceed, err
	}
	return proceed, r.assign(&n.target, v, s)
}

func (r *run) assign(t *target, v python.Value, s *scope) error {
	switch {
	case t.isTuple:
		items, err := r.Items(v)
		if err != nil {
			return err
		}
		if len(items) != len(t.items) {
			return fmt.Errorf("%d values for %d names", len(items), len(t.items))
		}
		for i := range items {
			if err := r.assign(&t.items[i], items[i], s); err != nil {
				return err
			}
		}
		return nil
	case t.attribute != "":
		r.line = t.line
		ns, ok := r.lookup(t.name, s).(*python.Namespace)
		if !ok {
			return errors.New("cannot assign attribute on non-namespace object")
		}
		return ns.Set(t.attribute, v)
	}
	s.set(t.name, v)
	return nil
}

func (n *assignBlock) exec(r *run, s *scope) (signal, error) {
	written, err := r.capture(n.body, newScope(s))
	if err != nil {
		return proceed, err
	}
	var v python.Value = written
	if n.filter != nil {
		if v, err = r.filterBlock(n.filter, v, s); err != nil {
			return proceed, err
		}
	}
	return proceed, r.assign(&n.target, v, s)
}

// filterBlock applies the filters of a block, of which the first has no operand.
func (r *run) filterBlock(f *filter, v python.Value, s *scope) (python.Value, error) {
	if f.of != nil {
		inner, err := r.filterBlock(f.of.(*filter), v, s)
		if err != nil {
			return nil, err
		}
		v = inner
	}
	r.line = f.line
	args, err := r.arguments(&f.args, s)
	if err != nil {
		return nil, err
	}
	return r.filter(f.name, v, args)
}

func (n *filterBlock) exec(r *run, s *scope) (signal, error) {
	written, err := r.capture(n.body, newScope(s))
	if err != nil {
		return proceed, err
	}
	v, err := r.filterBlock(n.filter, written, s)
	if err != nil {
		return proceed, err
	}
	if written, err = r.Str(v); err != nil {
		return proceed, err
	}
	return proceed, r.write(written)
}

func (n *with) exec(r *run, s *scope) (signal, error) {
	inner := newScope(s)
	values := make([]python.Value, len(n.values))
	for i := range n.values {
		var err error
		if values[i], err = r.eval(n.values[i], s); err != nil {
			return proceed, err
		}
	}
	for i := range n.targets {
		if err := r.assign(&n.targets[i], values[i], inner); err != nil {
			return proceed, err
		}
	}
	return r.inner(n.body, inner)
}

func (n *define) exec(r *run, s *scope) (signal, error) {
	s.set(n.macro.name, &macro{n.macro, s})
	return proceed, nil
}

func (n *block) exec(r *run, s *scope) (signal, error) {
	of, err := r.eval(n.call.of, s)
	if err != nil {
		return proceed, err
	}
	args, err := r.arguments(&n.call.args, s)
	if err != nil {
		return proceed, err
	}
	args.Kw = append(args.Kw, python.Keyword{Name: "caller", Value: &macro{n.caller, s}})
	r.line = n.call.line
	v, err := r.call(of, args)
	if err != nil {
		return proceed, err
	}
	return proceed, r.print(v)
}

// The body of generation is a macro that is called at once: what it sets stays inside.
func (n *generation) exec(r *run, s *scope) (signal, error) {
	return r.inner(n.body, newScope(s))
}

func (j jump) exec(*run, *scope) (signal, error) { return signal(j), nil }

// A macro is a macroCode with the variables around it.
type macro struct {
	*macroCode
	around *scope
}

// Call is Macro.__call__ of Jinja2's runtime.py.
func (m *macro) call(r *run, args python.Arguments) (python.Value, error) {
	s := newScope(m.around)
	pos := args.Pos
	hasCaller := false
	for i, name := range m.params {
		v := python.Missing
		if i < len(pos) {
			v = pos[i]
		} else if kw, ok := args.TakeKeyword(name); ok {
			v = kw
		}
		hasCaller = hasCaller || name == "caller"
		s.set(name, v)
	}
	if m.usesCaller && !hasCaller {
		caller, ok := args.TakeKeyword("caller")
		if !ok || caller == nil {
			caller = &python.Undefined{Why: "No caller defined"}
		}
		s.set("caller", caller)
	}
	if m.usesKwargs && s.find("kwargs") < 0 {
		kwargs := python.NewDict()
		for _, kw := range args.Kw {
			kwargs.Set(kw.Name, kw.Value)
		}
		s.set("kwargs", kwargs)
	} else if len(args.Kw) > 0 {
		return nil, fmt.Errorf("macro '%s' takes no keyword argument '%s'", m.name, args.Kw[0].Name)
	}
	if m.usesVarargs && s.find("varargs") < 0 {
		s.set("varargs", &python.Tuple{Items: pos[min(len(pos), len(m.params)):]})
	} else if len(pos) > len(m.params) {
		return nil, fmt.Errorf("macro '%s' takes not more than %d argument(s)", m.name, len(m.params))
	}
	if err := m.defaultsInto(r, s); err != nil {
		return nil, err
	}
	if err := r.Charge(len(s.own) * python.SizeOfItem); err != nil {
		return nil, err
	}
	return r.capture(m.body, s)
}

// defaultsInto evaluates the defaults of parameters that are not given.
func (m *macro) defaultsInto(r *run, s *scope) error {
	for i, name := range m.params {
		if s.own[i].v != python.Missing {
			continue
		}
		s.own[i].v = &python.Undefined{Why: fmt.Sprintf("parameter '%s' was not provided", name)}
		if d := i - (len(m.params) - len(m.defaults)); d >= 0 {
			v, err := r.eval(m.defaults[d], s)
			if err != nil {
				return err
			}
			s.own[i].v = v
		}
	}
	return nil
}

func (m *macro) TypeName() string { return "Macro" }

func (m *macro) Repr() (string, error) { return fmt.Sprintf("<Macro '%s'>", m.name), nil }

func (m *macro) Len() (int64, error) { return 0, errors.New("object of type 'Macro' has no len()") }

// Attribute knows none of a Macro's attributes, which are what its definition says.
func (m *macro) Attribute(name string) (python.Value, bool, error) {
	switch name {
	case "name", "arguments", "catch_kwargs", "catch_varargs", "caller", "explicit_caller":
		return nil, false, fmt.Errorf("the attribute %s of a macro is not supported", name)
	}
	return nil, false, nil
}
