package jinja

import (
	"errors"
	"fmt"
	"slices"

	"thimble/internal/chat/python"
)

// failing is a generator that fails where it is used.
func failing(err error) *python.Iterator {
	return &python.Iterator{Next: func() (python.Value, bool, error) { return nil, false, err }}
}

// reversed is Python's reversed.
func (r *run) reversed(v python.Value) (*python.Iterator, error) {
	switch v.(type) {
	case *python.Iterator, *loop:
		return nil, fmt.Errorf("'%s' object is not reversible", python.TypeName(v))
	}
	items, err := r.Items(v)
	if err != nil {
		return nil, fmt.Errorf("'%s' object is not reversible", python.TypeName(v))
	}
	i := len(items)
	return &python.Iterator{Next: func() (python.Value, bool, error) {
		if i == 0 {
			return nil, false, nil
		}
		i--
		return items[i], true, nil
	}}, nil
}

func reverseFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	if _, err := a.Bind("reverse", 0); err != nil {
		return nil, err
	}
	if _, ok := python.TextOf(v); ok {
		back := int64(-1)
		return r.Slice(v, nil, nil, &back)
	}
	if it, err := r.reversed(v); err == nil {
		return it, nil
	}
	items, err := r.Items(v)
	if err != nil {
		return nil, errors.New("argument must be iterable")
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	return &python.List{Items: items}, nil
}

func uniqueFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("unique", 0, "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	get, err := r.getter(given(args[1], nil), python.Missing)
	if err != nil {
		return nil, err
	}
	it, err := r.Iterate(v)
	if err != nil {
		return failing(err), nil
	}
	seen := map[any]bool{}
	return &python.Iterator{Next: func() (python.Value, bool, error) {
		if err := r.Enter(); err != nil {
			return nil, false, err
		}
		defer r.Leave()
		for {
			item, more, err := it.Next()
			if err != nil || !more {
				return nil, false, err
			}
			key, err := get(item)
			if err != nil {
				return nil, false, err
			}
			if !python.Truth(given(args[0], false)) {
				key = fold(key)
			}
			hash, err := python.HashOf(key)
			if err != nil {
				return nil, false, err
			}
			if err := r.Charge(python.SizeOfItem); err != nil {
				return nil, false, err
			}
			if !seen[hash] {
				seen[hash] = true
				return item, true, nil
			}
		}
	}}, nil
}

func batchFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("batch", 1, "linecount", "fill_with")
	if err != nil {
		return nil, err
	}
	n, ok := python.SmallInt(args[0])
	if !ok || n < 1 {
		return nil, errors.New("batch of such a size is not supported")
	}
	items, err := r.Items(v)
	if err != nil {
		return failing(err), nil
	}
	var batches []python.Value
	for batch := range slices.Chunk(items, int(n)) {
		fill := given(args[1], nil)
		if missing := n - int64(len(batch)); fill != nil && missing > 0 {
			more, err := r.RepeatItems([]python.Value{fill}, missing)
			if err != nil {
				return nil, err
			}
			batch = append(batch[:len(batch):len(batch)], more...)
		}
		batches = append(batches, &python.List{Items: batch})
	}
	return python.Over(batches), r.Charge(len(items) * python.SizeOfItem)
}

func sliceFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	args, err := a.Bind("slice", 1, "slices", "fill_with")
	if err != nil {
		return nil, err
	}
	n, ok := python.SmallInt(args[0])
	if !ok || n < 1 || n > python.MaxRange {
		return nil, errors.New("slice into such a number of lists is not supported")
	}
	items, err := r.Items(v)
	if err != nil {
		return failing(err), nil
	}
	each, extra := len(items)/int(n), len(items)%int(n)
	var list []python.Value
	from := 0
	for i := range int(n) {
		to := from + each
		if i < extra {
			to++
		}
		part := items[from:to:to]
		if fill := given(args[1], nil); fill != nil && i >= extra {
			part = append(part, fill)
		}
		list = append(list, &python.List{Items: part})
		from = to
	}
	return python.Over(list), r.Charge((len(items) + 2*int(n)) * python.SizeOfItem)
}

func mapFilter(r *run, v python.Value, a python.Arguments) (python.Value, error) {
	var f func(python.Value) (python.Value, error)
	attribute, named := a.TakeKeyword("attribute")
	switch {
	case named && len(a.Pos) == 0:
		otherwise, _ := a.TakeKeyword("default")
		if len(a.Kw) > 0 {
			return failing(fmt.Errorf("map: unexpected keyword argument '%s'", a.Kw[0].Name)), nil
		}
		get, err := r.getter(attribute, otherwise)
		if err != nil {
			return nil, err
		}
		f = get
	case named:
		return nil, errors.New("map with a filter and an attribute is not supported")
	case len(a.Pos) == 0:
		f = func(python.Value) (python.Value, error) { return nil, errors.New("map requires a filter argument") }
	default:
		name, _ := python.TextOf(a.Pos[0])
		f = func(v python.Value) (python.Value, error) {
			return r.filter(name, v, python.Arguments{Pos: a.Pos[1:], Kw: a.Kw})
		}
	}
	return r.lazily(v, func(item python.Value) (python.Value, bool, error) {
		v, err := f(item)
		return v, true, err
	}), nil
}

// lazily is a generator of what f keeps of each item.
func (r *run) lazily(v python.Value, f func(python.Value) (python.Value, bool, error)) *python.Iterator {
	if !python.Truth(v) {
		return python.Over(nil)
	}
	it, err := r.Iterate(v)
	if err != nil {
		return failing(err)
	}
	return &python.Iterator{Next: func() (python.Value, bool, error) {
		if err := r.Enter(); err != nil { // a generator can be one of a generator of a generator ...
			return nil, false, err
		}
		defer r.Leave()
		for {
			item, more, err := it.Next()
			if err != nil || !more {
				return nil, false, err
			}
			if err := r.Step(1); err != nil {
				return nil, false, err
			}
			if v, keep, err := f(item); err != nil || keep {
				return v, true, err
			}
		}
	}}
}

// choose is select, reject, selectattr and rejectattr.
func choose(wanted, byAttribute bool) filterFunc {
	return func(r *run, v python.Value, a python.Arguments) (python.Value, error) {
		get := func(v python.Value) (python.Value, error) { return v, nil }
		pos := a.Pos
		if byAttribute {
			if len(pos) == 0 {
				return failing(errors.New("missing parameter for attribute name")), nil
			}
			var err error
			if get, err = r.getter(pos[0], python.Missing); err != nil {
				return nil, err
			}
			pos = pos[1:]
		}
		holds := func(v python.Value) (bool, error) { return python.Truth(v), nil }
		if len(pos) > 0 {
			name, _ := python.TextOf(pos[0])
			holds = func(v python.Value) (bool, error) { return r.test(name, v, python.Arguments{Pos: pos[1:], Kw: a.Kw}) }
		}
		return r.lazily(v, func(item python.Value) (python.Value, bool, error) {
			of, err := get(item)
			if err != nil {
				return nil, false, err
			}
			is, err := holds(of)
			return item, is == wanted, err
		}), nil
	}
}
