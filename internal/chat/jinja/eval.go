package jinja

import (
	"errors"
	"fmt"
	"strings"

	"thimble/internal/chat/python"
)

func (r *run) eval(e expression, s *scope) (python.Value, error) {
	if err := r.Enter(); err != nil {
		return nil, err
	}
	v, err := e.eval(r, s)
	r.Leave()
	return v, err
}

func (r *run) evalAll(list []expression, s *scope) ([]python.Value, error) {
	values := make([]python.Value, len(list))
	for i, e := range list {
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, r.Charge(len(list) * python.SizeOfItem)
}

func (n *constant) eval(*run, *scope) (python.Value, error) { return n.v, nil }

func (n *variable) eval(r *run, s *scope) (python.Value, error) {
	r.line = n.line
	return r.lookup(n.name, s), nil
}

func (n *listOf) eval(r *run, s *scope) (python.Value, error) {
	items, err := r.evalAll(n.items, s)
	return &python.List{Items: items}, err
}

func (n *tupleOf) eval(r *run, s *scope) (python.Value, error) {
	items, err := r.evalAll(n.items, s)
	return &python.Tuple{Items: items}, err
}

func (n *dictOf) eval(r *run, s *scope) (python.Value, error) {
	d := python.NewDict()
	for i := range n.keys {
		k, err := r.eval(n.keys[i], s)
		if err != nil {
			return nil, err
		}
		v, err := r.eval(n.values[i], s)
		if err != nil {
			return nil, err
		}
		if err := d.Put(k, v); err != nil {
			return nil, err
		}
	}
	return d, r.Charge(2 * len(n.keys) * python.SizeOfItem)
}

func (n *getattr) eval(r *run, s *scope) (python.Value, error) {
	of, err := r.eval(n.of, s)
	if err != nil {
		return nil, err
	}
	r.line = n.line
	return r.Getattr(of, n.name)
}

func (n *getitem) eval(r *run, s *scope) (python.Value, error) {
	of, err := r.eval(n.of, s)
	if err != nil {
		return nil, err
	}
	key, err := r.eval(n.key, s)
	if err != nil {
		return nil, err
	}
	r.line = n.line
	return r.Getitem(of, key)
}

func (n *slice) eval(r *run, s *scope) (python.Value, error) {
	of, err := r.eval(n.of, s)
	if err != nil {
		return nil, err
	}
	var bounds [3]*int64
	for i, e := range []expression{n.from, n.to, n.step} {
		if e == nil {
			continue
		}
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		if v == nil {
			continue
		}
		bound, ok := python.Index(v)
		if !ok {
			return nil, errors.New("slice indices must be integers or None")
		}
		bounds[i] = &bound
	}
	r.line = n.line
	return r.Slice(of, bounds[0], bounds[1], bounds[2])
}

func (n *call) eval(r *run, s *scope) (python.Value, error) {
	of, err := r.eval(n.of, s)
	if err != nil {
		return nil, err
	}
	args, err := r.arguments(&n.args, s)
	if err != nil {
		return nil, err
	}
	r.line = n.line
	return r.call(of, args)
}

func (r *run) call(of python.Value, args python.Arguments) (python.Value, error) {
	switch f := of.(type) {
	case *python.Builtin:
		return f.Call(&r.Run, args)
	case *macro:
		return f.call(r, args)
	case *loop:
		return f.recurse(r, args)
	case *python.Func:
		if len(args.Kw) > 0 {
			return nil, fmt.Errorf("%s takes no keyword arguments", f.Name)
		}
		return f.Call(args.Pos)
	case *python.Undefined:
		return nil, f.Fail()
	}
	return nil, fmt.Errorf("'%s' object is not callable", python.TypeName(of))
}

func (r *run) arguments(a *callArguments, s *scope) (args python.Arguments, err error) {
	if len(a.pos) > 0 {
		if args.Pos, err = r.evalAll(a.pos, s); err != nil {
			return args, err
		}
	}
	for i, e := range a.kw {
		v, err := r.eval(e, s)
		if err != nil {
			return args, err
		}
		if err := args.Add(a.names[i], v); err != nil {
			return args, err
		}
	}
	if a.more != nil {
		v, err := r.eval(a.more, s)
		if err != nil {
			return args, err
		}
		items, err := r.Items(v)
		if err != nil {
			return args, err
		}
		args.Pos = append(args.Pos, items...)
	}
	if a.moreK != nil {
		v, err := r.eval(a.moreK, s)
		if err != nil {
			return args, err
		}
		d, ok := v.(*python.Dict)
		if !ok {
			return args, errors.New("argument after ** must be a mapping")
		}
		for i, k := range d.Keys {
			name, ok := k.(string)
			if !ok {
				return args, errors.New("keywords must be strings")
			}
			if err := args.Add(name, d.Values[i]); err != nil {
				return args, err
			}
		}
	}
	return args, r.Charge((len(args.Pos) + len(args.Kw)) * python.SizeOfItem)
}

// applied returns what a filter or a test is applied to, and its arguments.
func (r *run) applied(n *application, s *scope) (v python.Value, args python.Arguments, err error) {
	if v, err = r.eval(n.of, s); err == nil {
		args, err = r.arguments(&n.args, s)
	}
	r.line = n.line
	return v, args, err
}

func (n *filter) eval(r *run, s *scope) (python.Value, error) {
	v, args, err := r.applied((*application)(n), s)
	if err != nil {
		return nil, err
	}
	return r.filter(n.name, v, args)
}

func (r *run) filter(name string, v python.Value, args python.Arguments) (python.Value, error) {
	f := filters[name]
	if f == nil {
		return nil, fmt.Errorf("filter %s is not supported", python.Shortened(name))
	}
	return f(r, v, args)
}

func (n *test) eval(r *run, s *scope) (python.Value, error) {
	v, args, err := r.applied((*application)(n), s)
	if err != nil {
		return nil, err
	}
	return r.test(n.name, v, args)
}

func (r *run) test(name string, v python.Value, args python.Arguments) (bool, error) {
	f := tests[name]
	if f == nil {
		return false, fmt.Errorf("test %s is not supported", python.Shortened(name))
	}
	return f(r, v, args)
}

func (n *choice) eval(r *run, s *scope) (python.Value, error) {
	v, err := r.eval(n.condition, s)
	switch {
	case err != nil:
		return nil, err
	case python.Truth(v):
		return r.eval(n.yes, s)
	case n.no != nil:
		return r.eval(n.no, s)
	}
	return &python.Undefined{Why: "the inline if-expression evaluated to false and no else section was defined"}, nil
}

func (n *and) eval(r *run, s *scope) (python.Value, error) {
	v, err := r.eval(n.a, s)
	if err != nil || !python.Truth(v) {
		return v, err
	}
	return r.eval(n.b, s)
}

func (n *or) eval(r *run, s *scope) (python.Value, error) {
	v, err := r.eval(n.a, s)
	if err != nil || python.Truth(v) {
		return v, err
	}
	return r.eval(n.b, s)
}

func (n *not) eval(r *run, s *scope) (python.Value, error) {
	v, err := r.eval(n.of, s)
	return !python.Truth(v), err
}

func (n *unary) eval(r *run, s *scope) (python.Value, error) {
	v, err := r.eval(n.of, s)
	if err != nil {
		return nil, err
	}
	r.line = n.line
	if u, ok := v.(*python.Undefined); ok {
		return nil, u.Fail()
	}
	if !python.IsNumber(v) {
		return nil, fmt.Errorf("bad operand type for unary %s: '%s'", n.op, python.TypeName(v))
	}
	if f, ok := v.(float64); ok {
		if n.op == "-" {
			return -f, nil
		}
		return f, nil
	}
	return python.Arithmetic(n.op, int64(0), v)
}

func (n *concat) eval(r *run, s *scope) (python.Value, error) {
	parts := make([]string, len(n.items))
	total := 0
	for i, e := range n.items {
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		if parts[i], err = r.Str(v); err != nil {
			return nil, err
		}
		total += len(parts[i])
	}
	if err := r.CheckText(total); err != nil {
		return nil, err
	}
	return strings.Join(parts, ""), nil
}

func (n *comparison) eval(r *run, s *scope) (python.Value, error) {
	a, err := r.eval(n.first, s)
	if err != nil {
		return nil, err
	}
	for i, op := range n.ops {
		b, err := r.eval(n.rest[i], s)
		if err != nil {
			return nil, err
		}
		r.line = n.line
		holds, err := r.Compare(op, a, b)
		if err != nil || !holds {
			return false, err
		}
		a = b
	}
	return true, nil
}

func (n *binary) eval(r *run, s *scope) (python.Value, error) {
	a, err := r.eval(n.a, s)
	if err != nil {
		return nil, err
	}
	b, err := r.eval(n.b, s)
	if err != nil {
		return nil, err
	}
	r.line = n.line
	return r.Binary(n.op, a, b)
}
